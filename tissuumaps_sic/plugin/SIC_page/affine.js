/** How a picture lies on the screen, moved, scaled and turned. */

/** @typedef {{ x: number, y: number }} Place */
/** @typedef {[number, number, number, number, number, number]} Affine as a canvas takes it: a, b, c, d, e, f */

/**
 * What brings pixels of a picture to the screen, from where three of its corners lie there.
 * @param {{ columns: number, rows: number }} picture
 * @param {Place} origin the left upper corner
 * @param {Place} right the right upper one
 * @param {Place} below the left lower one
 * @returns {Affine}
 */
export const toCorners = ({ columns, rows }, origin, right, below) => [
  (right.x - origin.x) / columns, (right.y - origin.y) / columns,
  (below.x - origin.x) / rows, (below.y - origin.y) / rows, origin.x, origin.y];

/** How many pixels of the screen a pixel of the picture is, along its rows. @param {Affine} affine */
export const scaleOf = ([a, b]) => Math.hypot(a, b);

/**
 * The pixels of a picture that may be seen on a screen; null where there are none.
 * @param {Affine} affine
 * @param {{ columns: number, rows: number }} picture
 * @param {number} width of the screen
 * @param {number} height
 */
export function seenOf([a, b, c, d, e, f], { columns, rows }, width, height) {
  const determinant = a * d - b * c;
  if (!determinant) return null;
  const corners = [[0, 0], [width, 0], [0, height], [width, height]].map(([x, y]) => [
    (d * (x - e) - c * (y - f)) / determinant, (a * (y - f) - b * (x - e)) / determinant]);
  const [across, down] = [0, 1].map((axis) => corners.map((corner) => corner[axis]));
  const left = Math.max(0, Math.floor(Math.min(...across))), right = Math.min(columns, Math.ceil(Math.max(...across)));
  const top = Math.max(0, Math.floor(Math.min(...down))), bottom = Math.min(rows, Math.ceil(Math.max(...down)));
  return right > left && bottom > top ? { left, top, width: right - left, height: bottom - top } : null;
}
