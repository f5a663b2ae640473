import assert from "node:assert/strict";
import { test } from "node:test";

import { cover, resize, SIZES } from "../../tissuumaps_sic/plugin/SIC_page/brush.js";
import { nextPlace } from "../../tissuumaps_sic/plugin/SIC_page/cards.js";
import { inView, isClose, resolution, shareSeen } from "../../tissuumaps_sic/plugin/SIC_page/coverage.js";
import { makeGrid } from "../../tissuumaps_sic/plugin/SIC_page/grid.js";
import { light, separate } from "../../tissuumaps_sic/plugin/SIC_page/wand.js";

const SIDE = 20;
const grid = makeGrid({
  x: Float64Array.from({ length: SIDE * SIDE }, (_, row) => 100 * (row % SIDE)),
  y: Float64Array.from({ length: SIDE * SIDE }, (_, row) => 100 * Math.floor(row / SIDE)),
});
const at = (column, line) => line * SIDE + column;

test("a brush covers the patches whose centres it passes over, whatever its steps", () => {
  assert.deepEqual(cover(grid, [{ x: 510, y: 490 }], 1), [at(5, 5)]);
  const disc = cover(grid, [{ x: 500, y: 500 }], 3);
  assert.equal(disc.length, 9);
  const line = [{ x: 300, y: 500 }, { x: 1500, y: 500 }], radius = 250;
  const expected = [...grid.x.keys()].filter((row) => {
    const near = Math.min(Math.max(grid.x[row], 300), 1500);
    return Math.hypot(grid.x[row] - near, grid.y[row] - 500) <= radius;
  });
  const covered = new Set(cover(grid, line, 5));
  // Between two spots of it the rim dips a little.
  assert.ok(expected.filter((row) => Math.abs(grid.y[row] - 500) < 240).every((row) => covered.has(row)));
  assert.ok([...covered].every((row) => expected.includes(row)));
});

test("sizes go up and down within bounds", () => {
  assert.equal(resize(1, -1), 1);
  assert.equal(resize(1, 1), SIZES[1]);
  assert.equal(resize(SIZES.at(-1), 1), SIZES.at(-1));
});

test("similarities are parted where the two groups are", () => {
  assert.equal(separate(Float32Array.from([0.1, 0.9, 0.2, 0.95, 0.15])), Math.fround(0.9));
  assert.equal(separate(Float32Array.from([0.5])), 0.5);
  assert.equal(separate(new Float32Array(0)), 0);
});

test("the wand lights what is alike within its reach, and widens", () => {
  const rows = Uint32Array.from(grid.x.keys());
  const similarities = Float32Array.from(rows, (row) => (row % SIDE < 10 ? 0.9 : 0.1));
  const alike = { patch: at(8, 8), rows, similarities, least: separate(similarities) };
  const few = light(alike, grid, 0), more = light(alike, grid, 700);
  assert.ok(few.includes(at(8, 8)));
  assert.ok(few.every((row) => more.includes(row)) && more.length > few.length);
  assert.ok(more.every((row) => row % SIDE < 10));
  // What was pressed is lit even where it is like nothing.
  assert.deepEqual(light({ ...alike, similarities: new Float32Array(rows.length), least: 1 }, grid, 500), [at(8, 8)]);
});

test("a view counts as close at 10x or nearer, and its patches are those in it", () => {
  const view = { left: 150, top: 50, right: 450, bottom: 250, scale: 2 };
  assert.deepEqual(inView(grid, view), [at(2, 1), at(3, 1), at(4, 1), at(2, 2), at(3, 2), at(4, 2)]);
  assert.ok(isClose(view, 0.5));
  assert.ok(!isClose({ ...view, scale: 2.5 }, 0.5));
  assert.equal(resolution(50, grid), 0.5);
  assert.equal(resolution(null, grid), 0.64);
});

test("the share that was seen is of tissue, not of glass", () => {
  assert.equal(shareSeen(Uint8Array.of(1, 0, 1), Float32Array.of(0.5, 0.5, 0)), 0.5);
  assert.equal(shareSeen(new Uint8Array(2), new Float32Array(2)), 0);
});

test("the next card is the next patch that nothing was said of", () => {
  const deck = { kind: "suggested", rows: [4, 7, 9], place: 0 };
  assert.equal(nextPlace(deck, () => false), 1);
  assert.equal(nextPlace(deck, (row) => row === 7), 2);
  assert.equal(nextPlace(deck, () => true), -1);
});
