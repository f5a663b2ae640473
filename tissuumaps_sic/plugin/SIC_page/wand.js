/** Which patches the likeness wand lights up: those near one that are most like it. */

/** @import { Grid } from "./grid.js" */

const LEAST = 3; // patches that it reaches before it is dragged

/** @typedef {{ patch: number, rows: Uint32Array, similarities: Float32Array, least: number }} Alike around one patch; least: from
 * which similarity on another one counts as like it */

/**
 * Where similarities fall into two groups: the value that parts them best (Otsu's method).
 * @param {Float32Array} similarities
 */
export function separate(similarities) {
  const sorted = Float32Array.from(similarities).sort();
  let total = 0;
  for (const value of sorted) total += value;
  let below = 0, best = sorted[0] ?? 0, most = -1;
  for (let i = 1; i < sorted.length; i++) {
    below += sorted[i - 1];
    if (sorted[i] === sorted[i - 1]) continue;
    const gap = (total - below) / (sorted.length - i) - below / i, between = i * (sorted.length - i) * gap * gap;
    if (between > most) { most = between; best = sorted[i]; }
  }
  return best;
}

/**
 * The patches that are lit: within so many image pixels of the one that was pressed, and like it; it is always one.
 * @param {Alike} alike
 * @param {Pick<Grid, "x" | "y" | "spacing">} grid
 * @param {number} dragged how far the pointer is from where it was pressed, in image pixels
 */
export function light({ patch, rows, similarities, least }, grid, dragged) {
  const reach = Math.max(LEAST * grid.spacing, dragged);
  return Array.from(rows).filter((row, i) => row === patch || similarities[i] >= least
    && Math.hypot(grid.x[row] - grid.x[patch], grid.y[row] - grid.y[patch]) <= reach);
}
