/** Where to seed next: typical patches of an untouched slide, later those in doubt; shown one by one. */

import { closeCard, forgetSuggested, goOn, showCard } from "./cards.js";
import { askUnlike } from "./questions.js";
import { enqueue, follow } from "./requests.js";
import * as server from "./server.js";
import { app, current, isUntold, layer, memory, sessionRequest, show, tell, update } from "./state.js";

const AT_ONCE = 20, MOST_SHOWN = 1000;
const FIRST = 6; // typical patches at once: as many as the card has small pictures

const past = memory(() => ({ shown: /** @type {number[]} */ ([]), of: "" })); // patches that are not suggested again; of: which slide and session

/** Show the next of the patches whose classes would tell most; where all were shown, or seeds can say more by now, ask for others. */
export function suggest() {
  const of = `${layer().h5ad}\n${app.session}`;
  if (of !== past.of) {
    Object.assign(past, { shown: [], of });
    forgetSuggested();
  }
  if (goOn("suggested")) return;
  const wasCold = app.card?.isCold;
  show({ card: null });
  enqueue("Looking for the most telling patches", async () => {
    const asked = await ask(past.shown);
    // Once round: begin again with those that were passed over.
    const { patches, flips, cold, source } = asked.patches.length || !past.shown.length ? asked : await ask(past.shown = []);
    past.shown = [...past.shown, ...patches].slice(-MOST_SHOWN);
    const passing = wasCold && !cold ? "From here on the patches that are most in doubt; Space runs" : "";
    update({ flips, status: patches.length ? passing : "Every patch is seeded" });
    if (patches.length) showCard({ kind: "suggested", rows: patches, place: 0, isCold: cold, source });
  });
}

/** @param {number[]} but */
async function ask(but) {
  const { method, embedding } = app, how = { method, embedding, n: isUntold() ? FIRST : AT_ONCE, shown: but };
  /** @type {import("./cards.js").Source} */
  const source = { what: "suggest", ...how, revision: current().revision };
  return { source, ...await follow("suggest", (job) => server.suggest(sessionRequest({ ...how, job }))) };
}

/** Show the next of the patches that are unlike any seed. */
export function nextUnlike() {
  if (goOn("unlike")) return;
  if (app.card?.kind === "unlike") {
    closeCard();
    tell("These were all that are unlike any seed; run to look again");
    return;
  }
  enqueue("Looking for what is unlike any seed", async () => {
    await askUnlike();
    const rows = [...app.unlike?.rows ?? []].flatMap((isUnlike, row) => (isUnlike ? [row] : []));
    showCard({ kind: "unlike", rows, place: -1 });
    if (goOn("unlike")) return;
    closeCard();
    update({ status: app.unlike ? "Every patch is like some seed" : "This needs seeds of another slide: take some by “Seeds from”, under Seeding" });
  });
}
