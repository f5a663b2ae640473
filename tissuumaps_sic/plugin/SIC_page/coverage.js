/** What counts as looked at: patches in view at 10x or nearer. */

/** @import { Grid } from "./grid.js" */
/** @typedef {{ left: number, top: number, right: number, bottom: number, scale: number }} View in image pixels; scale: of them
 * to a pixel of the screen */

const TENFOLD = 1.05; // µm to a pixel of the screen, and a little for rounding
export const UNTOLD = 64; // µm from patch to patch, where the file does not tell

/** µm to an image pixel. @param {number | null} spacing of patches, µm @param {Pick<Grid, "spacing">} grid */
export const resolution = (spacing, grid) => (spacing ?? UNTOLD) / grid.spacing;

/** Whether a view shows the slide at 10x or nearer. @param {View} view @param {number} mpp */
export const isClose = (view, mpp) => view.scale * mpp <= TENFOLD;

/** The patches whose centres are in view. @param {Pick<Grid, "x" | "y">} grid @param {View} view */
export function inView({ x, y }, { left, top, right, bottom }) {
  const rows = [];
  for (let row = 0; row < x.length; row++) {
    if (x[row] >= left && x[row] <= right && y[row] >= top && y[row] <= bottom) rows.push(row);
  }
  return rows;
}

/** Share of the tissue that was seen. @param {Uint8Array} seen @param {Float32Array} tissue */
export function shareSeen(seen, tissue) {
  let part = 0, whole = 0;
  for (let row = 0; row < seen.length; row++) {
    whole += tissue[row];
    if (seen[row]) part += tissue[row];
  }
  return whole ? part / whole : 0;
}

/** How much tissue patches of each label have, in patches. @param {Uint8Array} labels @param {Float32Array} tissue @param {number} n labels there are */
export function tissueByLabel(labels, tissue, n) {
  const sums = new Float64Array(n);
  for (let row = 0; row < labels.length; row++) sums[labels[row]] += tissue[row];
  return sums;
}
