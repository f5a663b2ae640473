/** Which patches a brush covers. */

/** @import { Grid, Place } from "./grid.js" */

export const SIZES = [1, 2, 3, 5, 8, 12, 20]; // across, in patches

/** The next size up or down. @param {number} size @param {number} by */
export const resize = (size, by) => SIZES[Math.min(Math.max(SIZES.indexOf(size) + by, 0), SIZES.length - 1)];

/**
 * The patches under a round brush of some size that is drawn along a line.
 * @param {Grid} grid
 * @param {Place[]} line
 * @param {number} size
 */
export function cover(grid, line, size) {
  if (size <= 1) return grid.under(line);
  const radius = (size * grid.spacing) / 2, across = Math.ceil(size / 2);
  /** @type {Set<number>} */
  const rows = new Set();
  for (const { x, y } of spots(line, radius / 2)) {
    for (let i = -across; i <= across; i++) {
      for (let j = -across; j <= across; j++) {
        const row = grid.at({ x: x + i * grid.spacing, y: y + j * grid.spacing });
        if (row !== null && Math.hypot(grid.x[row] - x, grid.y[row] - y) <= radius) rows.add(row);
      }
    }
  }
  return [...rows];
}

/** Places along a line, no farther apart than `step`. @param {Place[]} line @param {number} step */
function* spots(line, step) {
  for (let i = 0; i < line.length; i++) {
    const from = line[Math.max(i - 1, 0)], to = line[i];
    const n = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / step) || 1;
    for (let k = 1; k <= n; k++) yield { x: from.x + ((to.x - from.x) * k) / n, y: from.y + ((to.y - from.y) * k) / n };
  }
}
