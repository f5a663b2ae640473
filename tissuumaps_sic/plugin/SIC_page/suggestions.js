/** Where to seed next: asked for by twenty, shown one by one. */

import { closeCard, forgetSuggested, goOn, showCard } from "./cards.js";
import { askUnlike } from "./questions.js";
import { enqueue, follow } from "./requests.js";
import * as server from "./server.js";
import { app, layer, sessionRequest, show, tell, update } from "./state.js";

const AT_ONCE = 20, MOST_SHOWN = 1000;

/** @type {number[]} */
let shown = []; // that are not suggested again
let shownOf = ""; // the slide and session that they are of

/** Show the next of the patches whose seeds would tell most; where all were shown, ask for more. */
export function suggest() {
  const of = `${layer().h5ad}\n${app.session}`;
  if (of !== shownOf) {
    shown = [];
    shownOf = of;
    forgetSuggested();
  }
  if (goOn("suggested")) return;
  show({ card: null });
  enqueue("Looking for the most telling patches", async () => {
    const { patches, flips } = await ask(shown);
    // Once round: begin again with those that were passed over.
    const found = patches.length || !shown.length ? patches : (await ask(shown = [])).patches;
    shown = [...shown, ...found].slice(-MOST_SHOWN);
    update({ flips, status: found.length ? "" : "Every patch is seeded" });
    if (found.length) showCard({ kind: "suggested", rows: found, place: 0 });
  });
}

/** @param {number[]} but */
function ask(but) {
  const { method, embedding } = app;
  return follow("suggest", (job) => server.suggest(sessionRequest({ method, embedding, n: AT_ONCE, shown: but, job })));
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
    update({ status: app.unlike ? "Every patch is like some seed" : "Only where seeds are borrowed some patches may be unlike any" });
  });
}
