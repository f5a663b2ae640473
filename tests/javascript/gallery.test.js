import assert from "node:assert/strict";
import { test } from "node:test";

import { boxOf, makePictures, mostAlike, pick, rowsOf, sortBy, stepTo, touch, unite } from "../../tissuumaps_sic/plugin/SIC_page/arranging.js";
import { groupBySlide, pageAt } from "../../tissuumaps_sic/plugin/SIC_page/elsewhere.js";
import { reset, update } from "../../tissuumaps_sic/plugin/SIC_page/state.js";

test("rows of a class come by a value, of equal ones the first first", () => {
  const labels = Uint8Array.from([1, 0, 1, 1, 2, 1]), values = Float32Array.from([0.5, 0, 0.9, 0.5, 0, 0.1]);
  const rows = rowsOf(labels, 1);
  assert.deepEqual([...rows], [0, 2, 3, 5]);
  assert.deepEqual([...sortBy(rows, values, false)], [5, 0, 3, 2]);
  assert.deepEqual([...sortBy(rows, values, true)], [2, 0, 3, 5]);
  assert.deepEqual([...rows], [0, 2, 3, 5]);
  assert.deepEqual([...rowsOf(labels, 7)], []);
});

test("what is most like a patch lies neither over it nor over what was chosen before", () => {
  const grid = { x: [0, 32, 128, 256, 288, 600], y: [0, 0, 0, 0, 0, 0] };
  const likeness = Float32Array.from([1, 0.99, 0.9, 0.8, 0.85, 0.7]), field = { width: 256, height: 256 };
  assert.deepEqual(mostAlike(0, likeness, grid, field, 30), [2, 4, 5]); // by half over it is not too much; 3 lies over 4
  assert.deepEqual(mostAlike(0, likeness, grid, field, 2), [2, 4]);
  assert.deepEqual(mostAlike(0, likeness, grid, { width: 16, height: 16 }, 3), [1, 2, 4]);
});

test("a click picks one, Shift a range from the last one, Ctrl one more or less", () => {
  const shown = [9, 4, 7, 1, 8];
  assert.deepEqual(pick([4, 7], shown, 1, 4, {}), [1]);
  assert.deepEqual(pick([4], shown, 1, 4, { isRange: true }), [4, 7, 1]);
  assert.deepEqual(pick([1], shown, 9, 1, { isRange: true }), [9, 4, 7, 1]);
  assert.deepEqual(pick([], shown, 7, null, { isRange: true }), [7]);
  assert.deepEqual(pick([8], shown, 4, 9, { isRange: true, isMore: true }), [8, 9, 4]);
  assert.deepEqual(pick([8], shown, 4, 8, { isMore: true }), [8, 4]);
  assert.deepEqual(pick([8, 4], shown, 8, 4, { isMore: true }), [4]);
  assert.deepEqual(unite([1, 2], [2, 3]), [1, 2, 3]);
});

test("a band touches what it covers a part of, in whatever direction it is drawn", () => {
  const band = boxOf({ x: 90, y: 40 }, { x: 10, y: 10 });
  assert.deepEqual(band, { left: 10, top: 10, right: 90, bottom: 40 });
  assert.ok(touch(band, { left: 80, top: 30, right: 200, bottom: 200 }));
  assert.ok(!touch(band, { left: 91, top: 30, right: 200, bottom: 200 }));
  assert.ok(!touch(band, { left: 20, top: 41, right: 30, bottom: 50 }));
});

test("arrows step within the lines and stop at the ends", () => {
  assert.equal(stepTo("ArrowDown", 1, 10, 4), 5);
  assert.equal(stepTo("ArrowDown", 8, 10, 4), 9);
  assert.equal(stepTo("ArrowLeft", 0, 10, 4), 0);
  assert.equal(stepTo("End", 0, 10, 4), 9);
  assert.equal(stepTo("Home", 9, 10, 4), 0);
  assert.equal(stepTo("x", 9, 10, 4), null);
});

const settle = () => new Promise((done) => { setTimeout(done); });

test("pictures are made a few at once, given up out of sight, and the last ones kept", async () => {
  const pictures = makePictures(2, 4), begun = [], ends = new Map();
  const see = (key) => pictures.see(key, () => ({ key }), () => {
    begun.push(key);
    return new Promise((done, fail) => { ends.set(key, [done, fail]); });
  });
  const first = see("a");
  see("b");
  see("c");
  see("d");
  assert.deepEqual(begun, ["a", "b"]);
  pictures.leave("c"); // before it was begun
  ends.get("a")[0]();
  await settle();
  assert.deepEqual(begun, ["a", "b", "d"]);
  assert.equal(see("a"), first); // kept
  assert.equal(pictures.known("a"), first);
  assert.equal(pictures.known("c"), undefined);
  for (const key of ["b", "d"]) ends.get(key)[0]();
  await settle();
  for (let i = 0; i < 50; i++) {
    see(`more ${i}`);
    ends.get(`more ${i}`)[0]();
    await settle();
    assert.ok(pictures.size() <= 4);
  }
  // One that could not be made is tried again when it is seen next.
  see("e");
  ends.get("e")[1](new Error("gone"));
  await settle();
  assert.equal(pictures.known("e"), undefined);
  pictures.clear();
  assert.equal(pictures.size(), 0);
});

test("what was found elsewhere is seeded slide by slide, and its address tells patch and session", () => {
  const found = ["b", "a", "b"].map((h5ad, patch) => ({ h5ad, patch, page: `/${h5ad}.tmap?path=x` }));
  assert.deepEqual([...groupBySlide(found, [0, 1, 2])], [["b", [0, 2]], ["a", [1]]]);
  reset();
  update({ session: "Anna & Bo" });
  const { hash, search } = new URL(pageAt(found[2]), "http://localhost");
  assert.equal(search, "?path=x");
  assert.equal(new URLSearchParams(hash.slice(1)).get("sic-patch"), "2");
  assert.equal(new URLSearchParams(hash.slice(1)).get("sic-session"), "Anna & Bo");
});
