import assert from "node:assert/strict";
import { test } from "node:test";

import { holds, makeGrid } from "../../tissuumaps_sic/plugin/SIC_page/grid.js";

/** Places in lines of five, 100 apart, from (50, 50) on. */
const places = Array.from({ length: 20 }, (_, i) => [50 + 100 * (i % 5), 50 + 100 * Math.floor(i / 5)]);

const gridOf = (of) => makeGrid({ x: Float64Array.from(of, ([x]) => x), y: Float64Array.from(of, ([, y]) => y) });

test("the spacing is that of the patches, rounded as they may be", () => {
  assert.equal(gridOf(places).spacing, 100);
  const rounded = gridOf(places.map(([x, y], i) => [x + (i % 2 ? 0.4 : 0), y]));
  assert.ok(Math.abs(rounded.spacing - 100) < 1);
});

test("one patch alone has a spacing, and is found", () => {
  const grid = gridOf([[10, 20]]);
  assert.equal(grid.spacing, 256);
  assert.equal(grid.at({ x: 10, y: 20 }), 0);
});

test("a place is of the patch whose square holds it", () => {
  const grid = gridOf(places);
  places.forEach(([x, y], row) => {
    for (const [dx, dy] of [[0, 0], [49, 49], [-49, 49], [-49, -49]]) assert.equal(grid.at({ x: x + dx, y: y + dy }), row);
  });
  for (const place of [{ x: -60, y: 50 }, { x: 560, y: 50 }, { x: 50, y: 1000 }]) assert.equal(grid.at(place), null);
});

test("patches that are few and far between are found as well", () => {
  const far = [[0, 0], [100, 0], [1e7, 1e7]];
  const grid = gridOf(far);
  far.forEach(([x, y], row) => assert.equal(grid.at({ x: x + 10, y: y - 10 }), row));
  assert.equal(grid.at({ x: 5e6, y: 5e6 }), null);
});

test("a region has the centres in its rings, but for those in its holes", () => {
  const square = (low, high) => [{ x: low, y: low }, { x: high, y: low }, { x: high, y: high }, { x: low, y: high }];
  const grid = gridOf(places), ring = square(0, 300), hole = square(100, 200);
  assert.deepEqual(grid.within([ring]), [0, 1, 2, 5, 6, 7, 10, 11, 12]);
  assert.deepEqual(grid.within([ring, hole]), [0, 1, 2, 5, 7, 10, 11, 12]);
  assert.deepEqual(grid.within([square(1000, 2000)]), []);
});

test("a brush has every patch that it passes over, once", () => {
  const grid = gridOf(places);
  assert.deepEqual(grid.under([{ x: 50, y: 60 }, { x: 440, y: 60 }, { x: 60, y: 40 }]).sort(), [0, 1, 2, 3, 4]);
  assert.deepEqual(grid.under([{ x: 250, y: 250 }]), [12]);
  assert.deepEqual(grid.under([{ x: -500, y: 0 }]), []);
});

test("a polygon that crosses itself holds what it goes around an odd number of times", () => {
  const bow = [{ x: 0, y: 0 }, { x: 10, y: 10 }, { x: 10, y: 0 }, { x: 0, y: 10 }];
  assert.ok(holds(bow, 1, 5));
  assert.ok(holds(bow, 9, 5));
  assert.ok(!holds(bow, 5, 1));
});
