/** The border: from which score on a patch is of class 1. */

/**
 * Labels where a patch is of class 1 from a score of `border` on; seeded patches keep theirs.
 * @param {Uint8Array} labels
 * @param {import("./server.js").Scores} scores
 * @param {Map<number, number>} seeded class by row
 * @param {number} border
 */
export function applyBorder(labels, { positive, rest }, seeded, border) {
  const least = Math.fround(border);
  return labels.map((label, row) => (seeded.has(row) ? label : positive[row] >= least ? 1 : rest[row]));
}
