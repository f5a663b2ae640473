/** Views in other colours than those of classes: a number for each patch, and the colour of a number. */

import { AGREED, DISPUTED, shade } from "./ramp.js";

/** @typedef {Pick<typeof import("./state.js").app, "view" | "scores" | "map" | "unlike" | "compared">} Shown */

/** @type {Record<string, (shown: Shown) => ArrayLike<number> | null | undefined>} */
const VALUES = {
  confidence: ({ scores }) => scores?.own,
  tissue: ({ map }) => map?.tissue,
  unlike: ({ unlike }) => unlike?.rows,
  disputed: ({ compared }) => compared?.disputed,
};

/** @param {string} view */
export const isShaded = (view) => view in VALUES;

/** The number of each patch in the present view; undefined where that is of another kind, or not there yet. @param {Shown} shown */
export const shadedBy = (shown) => VALUES[shown.view]?.(shown) ?? undefined;

/** The colour of a number in a view. @param {string} view @param {number} value */
export const shadeOf = (view, value) => (view === "disputed" ? (value ? DISPUTED : AGREED) : shade(value));
