/** What happened in the session, and the way back to any point of it. */

import { attempt } from "./requests.js";
import { change } from "./runs.js";
import * as server from "./server.js";
import { app, current, sessionRequest, show, subscribe, update } from "./state.js";

/** @import { HistoryStep } from "./server.js" */

/** Show the history, or hide it. @param {boolean} isOpen */
export function openHistory(isOpen) {
  show({ historyOpen: isOpen, point: null });
}

/** Ask what happened whenever that has changed and somebody looks; returns how to stop that. */
export const followHistory = () => subscribe(
  () => (app.busy ? null : [app.historyOpen && app.state ? `${app.layer?.h5ad} ${app.session} ${app.state.revision}` : ""]),
  () => { if (app.historyOpen && app.state) askHistory(); });

async function askHistory() {
  const { revision } = current();
  const history = await attempt("No history", server.history(sessionRequest()));
  if (app.state?.revision === revision) update({ history, point: null });
}

/** Ask for steps that are older than those that are shown. */
export async function askOlder() {
  const { history } = app, before = history?.trunk.at(-1);
  if (!history || !before) return;
  const older = await attempt("No history", server.history(sessionRequest({ before: before.position - 1 })));
  if (older && app.history === history) update({ history: { ...history, trunk: [...history.trunk, ...older.trunk], more: older.more } });
}

/** Say what going to a point would do. @param {Pick<HistoryStep, "branch" | "position">} point */
export async function choosePoint({ branch, position }) {
  const found = await attempt("No such point", server.restoring(sessionRequest({ branch, position })));
  show({ point: found && { branch, position, text: found.text } });
}

/** Go to the point that was chosen. */
export function restore() {
  const { point } = app;
  if (!point) return;
  const { branch, position } = point;
  change(() => ({ kind: "restore", branch, position }), "Restored; Undo, Redo and the history lead on from here");
}
