/** Lines inside each class's own border, so that two of them that meet lie side by side. */

/** @import { Grid } from "./grid.js" */

/** @typedef {{ label: number, lines: number[] }} Outline lines: x, y of both ends, one line after the other, in the grid's pixels */

const INSET = 0.06; // of a patch: how far from its edge its line lies
// Around a patch, clockwise from the left upper one; every second is beside it, the others lie across a corner.
const AROUND = [[-1, -1], [0, -1], [1, -1], [1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0]];

/**
 * Return the outline of each class that some patch has.
 * @param {Grid} grid
 * @param {ArrayLike<number>} labels one a patch
 * @returns {Outline[]}
 */
export function outline(grid, labels) {
  const { x, y, spacing } = grid, half = spacing / 2, inset = INSET * spacing;
  /** @type {Map<number, number[]>} */
  const found = new Map();
  for (let row = 0; row < x.length; row++) {
    const isSame = AROUND.map(([dx, dy]) => {
      const beside = grid.at({ x: x[row] + dx * spacing, y: y[row] + dy * spacing });
      return beside !== null && labels[beside] === labels[row];
    });
    for (let side = 1; side < 8; side += 2) {
      if (isSame[side]) continue;
      const lines = found.get(labels[row]) ?? [];
      found.set(labels[row], lines);
      const [dx, dy] = AROUND[side];
      // From the corner before to the one after; a line goes on straight, turns inwards, or outwards around a notch.
      for (const [corner, beside, along] of [[side - 1, (side + 6) % 8, -1], [(side + 1) % 8, (side + 2) % 8, 1]]) {
        const reach = half + (!isSame[beside] ? -inset : isSame[corner] ? inset : 0);
        lines.push(x[row] + dx * (half - inset) - dy * along * reach, y[row] + dy * (half - inset) + dx * along * reach);
      }
    }
  }
  return [...found].map(([label, lines]) => ({ label, lines }));
}
