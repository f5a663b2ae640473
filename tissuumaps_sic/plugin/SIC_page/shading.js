/** Views in other colours than those of classes: a number for each patch, and the colour of a number. */

import { AGREED, DISPUTED, shade } from "./ramp.js";
import { app } from "./state.js";

const VALUES = {
  confidence: () => app.scores?.own,
  tissue: () => app.map?.tissue,
  unlike: () => app.unlike?.rows,
  disputed: () => app.compared?.disputed,
};

export const isShaded = (view) => view in VALUES;

/** The number of each patch in the present view; undefined where that is of another kind, or not there yet. */
export const shadedBy = () => VALUES[app.view]?.();

export const shadeOf = (value) => (app.view === "disputed" ? (value ? DISPUTED : AGREED) : shade(value));
