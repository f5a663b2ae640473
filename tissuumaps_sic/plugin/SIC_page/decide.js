/** What readers part on, decided in their consensus: one place after the other, by one key. */

import { drawPointed } from "./overlay.js";
import { attempt } from "./requests.js";
import { change } from "./runs.js";
import * as server from "./server.js";
import { app, current, layer, sessionRequest, sessionTitle, show, subscribe, tell, update } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Decision } from "./server.js" */

/** Ask what is to be decided, whenever that has changed; returns how to stop that. */
export const followDecisions = () => subscribe(
  () => (app.busy ? null : [app.state?.readers.length ? `${app.layer?.h5ad} ${app.session} ${app.state.revision}` : ""]),
  () => { if (app.state?.readers.length) askDecisions(); else if (app.decisions) update({ decisions: null }); });

async function askDecisions() {
  const { revision } = current(), place = app.decisions?.place ?? 0;
  const found = await attempt("No decisions", server.decisions(sessionRequest()));
  if (app.state?.revision !== revision) return;
  update({ decisions: found && { ...found, place: Math.min(place, Math.max(found.decisions.length - 1, 0)) } });
}

/** The place that is to be decided now. */
export const open = () => app.decisions?.decisions[app.decisions.place] ?? null;

/** The classes that readers gave it, each once, the first reader's first. @param {Decision} decision */
export const choices = ({ said }) => said.filter((each, place) => said.findIndex(({ name }) => name === each.name) === place);

/** Go to a place so many further, and show it. @param {number} by */
export function nextDecision(by) {
  const { decisions } = app, n = decisions?.decisions.length ?? 0;
  if (!decisions || !n) {
    tell(current().readers.length ? "Everything is decided" : "Make a consensus first: compare two sessions");
    return;
  }
  show({ decisions: { ...decisions, place: (decisions.place + by + n) % n } });
  lookAtDecision();
}

/** Show the place that is to be decided on the slide. */
export function lookAtDecision() {
  const decision = open();
  if (!decision) return;
  const { x, y } = layer().grid;
  drawPointed(decision.row);
  viewer.lookAt(x[decision.row], y[decision.row]);
}

/** Whether what is to be decided is in sight in the panel ("seen"); where it is not, whether it was brought there ("brought") or the panel itself is
 * not shown ("away"). Without it there is nothing to see. @returns {"seen" | "brought" | "away"} */
export function seeDecision() {
  const box = document.getElementById("sic-decide"), group = box?.closest("details");
  if (!box || !open() || isWhole(box)) return "seen";
  if (group) group.open = true;
  if (!box.checkVisibility()) return "away";
  box.querySelector(".sic-buttons")?.scrollIntoView({ block: "end" }); // the pictures are right above
  lookAtDecision();
  return "brought";
}

/** Whether all of the pictures and the buttons is in sight; where there is no room for all, the buttons. @param {Element} box */
function isWhole(box) {
  const [pictures, buttons] = [".sic-decide-pictures", ".sic-buttons"].map((each) => box.querySelector(each)?.getBoundingClientRect());
  if (!pictures || !buttons || !box.checkVisibility()) return false;
  const above = document.querySelector(".sic-above")?.getBoundingClientRect().bottom ?? 0, { innerHeight } = window;
  const top = buttons.bottom - pictures.top <= innerHeight - above ? pictures.top : buttons.top;
  return top >= above - 1 && buttons.bottom <= innerHeight + 1;
}

/** Decide the place that is shown for a class that a reader gave: 0 the first reader's, 1 the second's. @param {number} which */
export function decide(which) {
  const decision = open(), choice = decision && choices(decision)[which];
  if (choice) decideFor(choice.name);
  else tell("There is nothing to decide here");
}

/** Decide every place that is left as one reader has it. @param {string} reader */
export async function decideAll(reader) {
  // Of very many places some are told of only once the others are decided.
  for (let left = Infinity, n = app.decisions?.n ?? 0; n && n < left; n = app.decisions?.n ?? 0) {
    left = n;
    if (!await decideThese(reader)) return;
    await askDecisions();
  }
  drawPointed(null);
}

/** Decide every place that is told of as one reader has it; returns whether nothing went wrong. @param {string} reader */
async function decideThese(reader) {
  /** @type {Map<string, number[]>} */
  const rows = new Map();
  for (const { row, said } of app.decisions?.decisions ?? []) {
    const name = said.find((each) => each.reader === reader)?.name;
    if (name !== undefined) rows.set(name, [...rows.get(name) ?? [], row]);
  }
  for (const [name, patches] of rows) {
    if (!await change(() => ({ kind: "decide", name, patches }), `Decided as ${sessionTitle(reader)} has it; Undo takes it back`)) return false;
  }
  return true;
}

/** Decide the place that is shown for a class, which is added where it is not there. @param {string} name */
export async function decideFor(name) {
  const decision = open();
  if (!decision) return false;
  const done = await change(() => ({ kind: "decide", name, patches: [decision.row] }), `Decided: ${name}`);
  if (done) drawPointed(null);
  return done;
}
