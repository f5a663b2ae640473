/** The border: from which score on a patch is of class 1. */

import { applyView, drawLabels, run } from "./actions.js";
import { askScores } from "./fetched.js";
import { STOPPED } from "./progress.js";
import { app, changed, seededLabels } from "./state.js";

let drawn = Promise.resolve();
let wanted = null;

/** Show what another border would give, while its slider is moved; `run` then keeps it. */
export function previewBorder(border) {
  app.border = border;
  if (wanted !== null) { wanted = border; return; }
  wanted = border;
  drawn = drawn.then(async () => {
    await askScores();
    const moved = borderedLabels(wanted);
    wanted = null;
    app.view = "labels";
    await drawLabels(moved);
    applyView();
  }).catch((error) => {
    wanted = null;
    if (error.status !== STOPPED) app.error = error.message;
    changed();
  });
}

/** Labels where a patch is of class 1 from a score of `border` on; seeded patches keep theirs. */
function borderedLabels(border) {
  const { positive, rest } = app.scores, seeded = seededLabels();
  return app.labels.map((label, row) =>
    (seeded.has(row) ? label : positive[row] >= Math.fround(border) ? 1 : rest[row]));
}

/** Label again with a border, or (null) with none. */
export function setBorder(border) {
  app.border = border;
  drawn.then(run);
}
