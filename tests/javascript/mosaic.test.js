import assert from "node:assert/strict";
import { test } from "node:test";

import { follow, layOut, moveBorder, paint, pixelOf, spread } from "../../tissuumaps_sic/plugin/SIC_page/mosaic.js";
import { ofMosaic, outline } from "../../tissuumaps_sic/plugin/SIC_page/outlines.js";

// Three patches of 2 x 2 cells, of which the second is to the right of the first, and the third below the second.
const lattice = { corner: [100, 40], size: [10, 20], side: 2, middle: [0, 1, 2, 3], fine: true,
  places: Uint32Array.of(0, 0, 1, 0, 1, 1), glass: Uint8Array.of(0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) };

test("a picture has a pixel for each cell where it lies, and none for glass", () => {
  const mosaic = layOut(lattice, true), picture = new Uint32Array(16).fill(7);
  assert.deepEqual([mosaic.columns, mosaic.rows, mosaic.size], [4, 4, [10, 20]]);
  paint(picture, mosaic, Uint8Array.from({ length: 12 }, (_, cell) => cell), Uint32Array.from({ length: 12 }, (_, code) => code + 1));
  assert.deepEqual([...picture], [
    1, 2, 5, 0,
    3, 4, 7, 8,
    0, 0, 9, 10,
    0, 0, 11, 12]);
});

test("the picture of patches has a pixel for each of them, glass or not", () => {
  const mosaic = layOut(lattice, false), picture = new Uint32Array(4);
  assert.deepEqual([mosaic.columns, mosaic.rows, mosaic.size, mosaic.glass], [2, 2, [20, 40], null]);
  paint(picture, mosaic, Uint8Array.of(0, 1, 2), Uint32Array.of(4, 5, 6));
  assert.deepEqual([...picture], [4, 5, 0, 6]);
});

test("patches that are few and far between have no picture", () => {
  assert.equal(layOut({ ...lattice, places: Uint32Array.of(0, 0, 100000, 0, 0, 100000) }, true), null);
});

test("cells have what their patch has", () => {
  assert.deepEqual(spread(Uint8Array.of(3, 5), 2), Uint8Array.of(3, 3, 3, 3, 5, 5, 5, 5));
  assert.deepEqual(spread(Uint16Array.of(300), 1), Uint16Array.of(300));
});

test("cells stay until new ones come, but where their patch has another label", () => {
  const cells = { of: null, labels: Uint8Array.of(0, 1, 1, 0, 1, 0, 0, 0), own: null, positive: null, rest: null };
  const next = follow(cells, Uint8Array.of(0, 0), Uint8Array.of(0, 2), 2);
  assert.deepEqual(next.labels, Uint8Array.of(0, 1, 1, 0, 2, 2, 2, 2));
  assert.deepEqual(cells.labels, Uint8Array.of(0, 1, 1, 0, 1, 0, 0, 0));
});

test("a border moves cells by their score, and those of seeds not", () => {
  const cells = { positive: Uint8Array.of(29, 30, 31, 99, 0, 99, 99, 99), rest: new Uint8Array(8).fill(2) };
  const moved = moveBorder(cells, { side: 2, middle: [0, 3] }, new Map([[1, 0]]), 0.3);
  assert.deepEqual(moved, Uint8Array.of(2, 1, 1, 1, 0, 1, 1, 0));
  assert.deepEqual(moveBorder(cells, { side: 2, middle: [] }, new Map(), 0.29), Uint8Array.of(1, 1, 1, 1, 2, 1, 1, 1));
});

test("a pixel is red, green, blue and opaque in the order of bytes that a canvas has", () => {
  assert.deepEqual([...new Uint8Array(Uint32Array.of(pixelOf("#0180ff")).buffer)], [1, 128, 255, 255]);
});

test("outlines of cells close around each class and leave glass out", () => {
  const found = outline(ofMosaic(layOut(lattice, true), 2), Uint8Array.of(0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1));
  assert.deepEqual(found.map(({ label }) => label).sort(), [0, 1]);
  for (const { lines } of found) {
    const ends = new Map();
    for (let at = 0; at < lines.length; at += 2) {
      const [x, y] = [lines[at] / 2, lines[at + 1] / 2];
      assert.ok(x > 100 && x < 140 && y > 40 && y < 120);
      assert.ok(!(x > 130 && y < 60), "in the glass");
      const end = `${x.toFixed(3)} ${y.toFixed(3)}`;
      ends.set(end, (ends.get(end) ?? 0) + 1);
    }
    assert.ok([...ends.values()].every((n) => n % 2 === 0), `${[...ends]}`);
  }
});
