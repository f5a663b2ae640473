/** Why a patch is what it is: the seeds that it is most like, asked for where the pointer rests. */

import * as server from "./server.js";
import { app, isBlind, layer, memory, sessionRequest, subscribe, update } from "./state.js";
import * as viewer from "./viewer.js";

const HOVER = 150; // ms that the pointer rests before the server is asked
let rest = 0;
const own = memory(() => ({ asked: "" })); // the patch, and the revision, that the server was asked about

/** @param {number | null} row */
const question = (row) => `${row} ${app.state?.revision}`;

/** @param {PointerEvent} event */
export function onHover(event) {
  if (!event.buttons && app.state) update({ pointed: layer().grid.at(viewer.placeOf(event)) });
}

/** Nothing is pointed at beside the slide. */
export function onLeave() {
  update({ pointed: null });
}

/** Ask why, once the pointer rests on a patch; returns how to stop that. */
export function followPointer() {
  // Asked again of a patch that the pointer rests on when its seeds are others.
  const stop = subscribe(() => [app.pointed, app.state?.revision, app.busy === null], () => {
    clearTimeout(rest);
    const row = app.pointed;
    if (question(row) === own.asked || !(app.state?.seeds.patches.length || app.state?.borrowed.length)) return;
    rest = setTimeout(() => explain(row), HOVER);
  }, true);
  return () => {
    clearTimeout(rest);
    stop();
  };
}

/** Bring into sight why a patch is what it is. @param {number} row */
export async function showWhy(row) {
  update({ pointed: row });
  await explain(row);
  const box = document.getElementById("sic-why"), group = box?.closest("details");
  if (group) group.open = true;
  box?.scrollIntoView({ block: "center" });
}

/** @param {number | null} row */
async function explain(row) {
  if (app.busy || isBlind()) return;
  own.asked = question(row);
  if (row === null) return;
  try {
    const why = await server.why(sessionRequest({ embedding: app.embedding, patch: row }));
    // Not what was asked for a place that the pointer has left, or of seeds that are no longer these.
    if (own.asked === question(row)) update({ why });
  } catch {
    update({ why: null }); // nothing that was asked for with a click: the next click tells what is wrong
  }
}
