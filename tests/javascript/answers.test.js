import assert from "node:assert/strict";
import { test } from "node:test";

import { pathOf } from "../../tissuumaps_sic/plugin/SIC_page/address.js";
import { applyBorder } from "../../tissuumaps_sic/plugin/SIC_page/border.js";
import { unpack } from "../../tissuumaps_sic/plugin/SIC_page/packing.js";

/** Bytes as the server sends them. */
function pack(header, ...arrays) {
  const text = new TextEncoder().encode(JSON.stringify(header)), length = new Uint8Array(Uint32Array.of(text.length).buffer);
  return new Blob([length, text, ...arrays]).arrayBuffer();
}

test("an answer's arrays follow each other, wherever the header ends", async () => {
  for (const name of ["", "a", "ab", "abc", "Gewebe “ä”"]) {
    const { header, take } = unpack(await pack({ name, n: 2 }, Float32Array.of(0.5, 2), Uint8Array.of(7), Float32Array.of(-1)));
    assert.deepEqual(header, { name, n: 2 });
    assert.deepEqual(take(Float32Array, 2), Float32Array.of(0.5, 2));
    assert.deepEqual(take(Uint8Array, 1), Uint8Array.of(7));
    assert.deepEqual(take(Float32Array, 1), Float32Array.of(-1));
  }
});

test("an answer that is cut short is an error, not a shorter array", async () => {
  const { take } = unpack(await pack({ n: 2 }, Uint8Array.of(1, 2, 3)));
  assert.throws(() => take(Float32Array, 1));
});

test("a patch is of class 1 from the border on, else of the best other class, and a seed of its own", () => {
  const scores = { own: new Float32Array(5), positive: Float32Array.of(0.1, 0.9, 0.95, 0.2, 1), rest: Uint8Array.of(0, 2, 0, 2, 0) };
  const labels = Uint8Array.of(0, 1, 1, 2, 1), seeded = new Map([[3, 2], [4, 1]]);
  assert.deepEqual(applyBorder(labels, scores, new Map(), 0.9), Uint8Array.of(0, 1, 1, 2, 1));
  assert.deepEqual(applyBorder(labels, scores, new Map(), 0.92), Uint8Array.of(0, 2, 1, 2, 1));
  assert.deepEqual(applyBorder(labels, scores, seeded, 1.1), Uint8Array.of(0, 2, 0, 2, 1));
  assert.deepEqual(labels, Uint8Array.of(0, 1, 1, 2, 1)); // as they were
});

test("an address names a path, percent-encoded or as it stands", () => {
  assert.equal(pathOf("S%20%231/slide.h5ad"), "S #1/slide.h5ad");
  assert.equal(pathOf("Gew%C3%A4chs.h5ad"), "Gewächs.h5ad");
  assert.equal(pathOf("100%.h5ad"), "100%.h5ad");
  assert.equal(pathOf("50%25 %41.h5ad"), "50% A.h5ad");
  assert.equal(pathOf("%ff.h5ad"), "%ff.h5ad");
});
