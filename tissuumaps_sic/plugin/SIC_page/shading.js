/** Views in other colours than those of classes: a number for each patch, and the colour of a number. */

import { pairColor } from "./pairs.js";
import { AGREED, shade, strengthen } from "./ramp.js";

/** @typedef {Pick<typeof import("./state.js").app, "view" | "scores" | "map" | "unlike" | "compared">} Shown */

/** @type {Record<string, (shown: Shown) => ArrayLike<number> | null | undefined>} */
const VALUES = {
  confidence: ({ scores }) => scores?.own,
  tissue: ({ map }) => map?.tissue,
  unlike: ({ unlike }) => unlike?.rows,
  disputed: ({ compared }) => compared?.pairs.codes,
};

/** @param {string} view */
export const isShaded = (view) => view in VALUES;

/** The number of each patch in the present view; undefined where that is of another kind, or not there yet. @param {Shown} shown */
export const shadedBy = (shown) => VALUES[shown.view]?.(shown) ?? undefined;

/**
 * The colour of each patch in the present view, by its row; null where that is of another kind, or not there yet.
 * @param {Shown} shown
 * @param {Uint8Array | null} labels
 * @param {{ color: string }[]} classes that the labels mean
 * @returns {((row: number) => string) | null}
 */
export function shader(shown, labels, classes) {
  const values = shadedBy(shown);
  if (!values) return null;
  if (shown.view === "disputed") return (row) => (values[row] ? pairColor(values[row]) : AGREED);
  if (shown.view !== "confidence" || !labels) return (row) => shade(values[row]);
  // The score of the best of several classes is no lower than if all were the same.
  const least = 1 / Math.max(new Set(labels).size, 2);
  return (row) => strengthen(classes[labels[row]].color, (values[row] - least) / (1 - least));
}
