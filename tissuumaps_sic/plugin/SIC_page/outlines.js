/** Lines inside each class's own border, so that two of them that meet lie side by side. */

/** @import { Grid } from "./grid.js" */
/** @import { Mosaic } from "./mosaic.js" */

/**
 * @typedef {{ label: number, lines: number[] }} Outline lines: x, y of both ends, one line after the other, in the page's image pixels
 * @typedef {{ n: number, width: number, height: number, inset: number, x: (square: number) => number, y: (square: number) => number,
 *   beside: (square: number, dx: number, dy: number) => number | null }} Squares centres, sizes and who is beside whom; inset: how far a
 *   line lies from the edge, as a share of the square; a square that is not beside itself is none
 */

const INSET = 0.06; // of a patch
const MOST = 0.25; // of a square
// Around a square, clockwise from the left upper one; every second is beside it, the others lie across a corner.
const AROUND = [[-1, -1], [0, -1], [1, -1], [1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0]];

/** Patches that lie anywhere. @param {Grid} grid @returns {Squares} */
export const ofGrid = ({ x, y, spacing, at }) => ({ n: x.length, width: spacing, height: spacing, inset: INSET,
  x: (row) => x[row], y: (row) => y[row],
  beside: (row, dx, dy) => at({ x: x[row] + dx * spacing, y: y[row] + dy * spacing }) });

/** What a picture is of. @param {Mosaic} mosaic @param {number} factor image pixels of the page in one of level 0 @returns {Squares} */
export function ofMosaic({ columns, rows, corner, size, side, pixels, glass }, factor) {
  const squares = new Int32Array(columns * rows).fill(-1), [width, height] = size;
  for (let square = 0; square < pixels.length; square++) if (!glass?.[square]) squares[pixels[square]] = square;
  return { n: pixels.length, width: width * factor, height: height * factor, inset: Math.min(INSET * side, MOST),
    x: (square) => (corner[0] + (pixels[square] % columns + 0.5) * width) * factor,
    y: (square) => (corner[1] + (Math.floor(pixels[square] / columns) + 0.5) * height) * factor,
    beside: (square, dx, dy) => {
      const column = pixels[square] % columns + dx, row = Math.floor(pixels[square] / columns) + dy;
      const found = column < 0 || row < 0 || column >= columns || row >= rows ? -1 : squares[row * columns + column];
      return found < 0 ? null : found;
    } };
}

/**
 * Return the outline of each class that some square has.
 * @param {Squares} squares
 * @param {ArrayLike<number>} labels one a square
 * @returns {Outline[]}
 */
export function outline({ n, width, height, inset: share, x, y, beside }, labels) {
  /** @type {Map<number, number[]>} */
  const found = new Map();
  /** @param {number} square @param {number} place in what is around it */
  const isSame = (square, place) => {
    const other = beside(square, AROUND[place][0], AROUND[place][1]);
    return other !== null && labels[other] === labels[square];
  };
  for (let square = 0; square < n; square++) {
    if (beside(square, 0, 0) === null) continue;
    for (let side = 1; side < 8; side += 2) {
      if (isSame(square, side)) continue;
      const lines = found.get(labels[square]) ?? [];
      found.set(labels[square], lines);
      const [dx, dy] = AROUND[side];
      // From the corner before to the one after; a line goes on straight, turns inwards, or outwards around a notch.
      for (const [corner, next, along] of [[side - 1, (side + 6) % 8, -1], [(side + 1) % 8, (side + 2) % 8, 1]]) {
        const reach = 0.5 + (!isSame(square, next) ? -share : isSame(square, corner) ? share : 0);
        lines.push(x(square) + width * (dx * (0.5 - share) - dy * along * reach),
          y(square) + height * (dy * (0.5 - share) + dx * along * reach));
      }
    }
  }
  return [...found].map(([label, lines]) => ({ label, lines }));
}
