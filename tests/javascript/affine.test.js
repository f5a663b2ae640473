import assert from "node:assert/strict";
import { test } from "node:test";

import { scaleOf, seenOf, toCorners } from "../../tissuumaps_sic/plugin/SIC_page/affine.js";

const picture = { columns: 40, rows: 20 };

/** Where a pixel's corner lies on the screen, by what a canvas does. */
const apply = ([a, b, c, d, e, f], x, y) => [a * x + c * y + e, b * x + d * y + f];

/** Corners of the picture, drawn at two screen pixels each, turned around (300, 200) by an angle and moved there. */
function turned(degrees, zoom = 2) {
  const angle = degrees * Math.PI / 180;
  const at = (x, y) => ({ x: 300 + zoom * (x * Math.cos(angle) - y * Math.sin(angle)), y: 200 + zoom * (x * Math.sin(angle) + y * Math.cos(angle)) });
  return { at, affine: toCorners(picture, at(0, 0), at(picture.columns, 0), at(0, picture.rows)) };
}

test("every pixel of a picture lies where the slide does, however it is turned", () => {
  for (const degrees of [0, 30, 90, 135, 180, 270, 341]) {
    const { at, affine } = turned(degrees);
    for (const [x, y] of [[0, 0], [40, 20], [7, 13], [39, 1]]) {
      const [left, top] = apply(affine, x, y);
      assert.ok(Math.hypot(left - at(x, y).x, top - at(x, y).y) < 1e-9, `${degrees}`);
    }
    assert.ok(Math.abs(scaleOf(affine) - 2) < 1e-12);
  }
});

test("a picture may be mirrored and have pixels that are no squares", () => {
  const affine = toCorners(picture, { x: 90, y: 10 }, { x: 10, y: 10 }, { x: 90, y: 70 });
  assert.deepEqual(affine, [-2, 0, 0, 3, 90, 10]);
  assert.deepEqual(seenOf(affine, picture, 50, 40), { left: 20, top: 0, width: 20, height: 10 });
});

test("what is seen holds every pixel on the screen, and little else where nothing is turned", () => {
  assert.deepEqual(seenOf([2, 0, 0, 2, -10, -5], picture, 20, 10), { left: 5, top: 2, width: 10, height: 6 });
  assert.deepEqual(seenOf(turned(0).affine, picture, 1000, 1000), { left: 0, top: 0, width: 40, height: 20 });
  for (const degrees of [0, 30, 90, 135, 180, 270, 341]) {
    const { affine } = turned(degrees, 30), seen = seenOf(affine, picture, 640, 400);
    for (let x = 0; x < 40; x++) for (let y = 0; y < 20; y++) {
      const [left, top] = apply(affine, x + 0.5, y + 0.5);
      if (left < 0 || top < 0 || left > 640 || top > 400) continue;
      assert.ok(x >= seen.left && x < seen.left + seen.width && y >= seen.top && y < seen.top + seen.height);
    }
  }
});

test("nothing is seen of what lies beside the screen, or has no size", () => {
  assert.equal(seenOf([2, 0, 0, 2, 100, 0], picture, 100, 100), null);
  assert.equal(seenOf([2, 0, 0, 2, -80, 0], picture, 100, 100), null);
  assert.equal(seenOf([0, 0, 0, 0, 5, 5], picture, 100, 100), null);
});
