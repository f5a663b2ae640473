/** A second opinion: where another model says another class than the labels, patches are asked about one by one. */

import { closeCard, goOn, isDone, showCard } from "./cards.js";
import { deckOf, left } from "./pairing.js";
import { enqueue, follow } from "./requests.js";
import * as server from "./server.js";
import { app, current, memory, sessionRequest, show, tell, update } from "./state.js";

/** @import { Opinion } from "./pairing.js" */

const OF_A_PAIR = 20; // patches of each pair at once
const MOST_SHOWN = 1000;

const past = memory(() => ({ shown: /** @type {number[]} */ ([]), of: /** @type {unknown} */ (null) })); // patches that are not asked about
// again; of: which labels

/** Go on to the next patch on which the two differ; asks for the opinion where it is not known of these labels. */
export function nextOpinion() {
  if (!app.labels || !current().run) {
    tell("Run first (Space): a second opinion is on labels");
    return;
  }
  if (isFresh() && goOn("opinion")) return;
  askAbout(null);
}

/** Whether what is known is of the labels that there are. */
const isFresh = () => app.opinion?.of === app.labels;

/** The pairs that are known of the labels that there are; null where none was asked for. */
export const knownPairs = () => (isFresh() ? app.opinion?.pairs ?? null : null);

/** What they were asked for by, or null. */
export const sourceOfPairs = () => (isFresh() ? app.opinion?.source ?? null : null);

/** Ask about one pair of classes; null: about all, one after the other. @param {Opinion | null} pair */
export function askAbout(pair) {
  if (pair && left(pair, isDone)) {
    begin([pair]);
    return;
  }
  show({ card: null });
  enqueue("Asking for a second opinion", async () => {
    const { labels, method, embedding } = app;
    if (past.of !== labels) Object.assign(past, { shown: [], of: labels });
    const how = { method, embedding, n: OF_A_PAIR, shown: past.shown };
    /** @type {import("./cards.js").Source} */
    const source = { what: "opinion", ...how, revision: current().revision };
    const { pairs } = await follow("opinion", (job) => server.opinion(sessionRequest({ ...how, job })));
    const { classes } = current();
    const named = pairs.map(({ classes: [rare, common], patches, n_patches: count }) => (
      { names: /** @type {[string, string]} */ ([classes[rare].name, classes[common].name]), patches, count }));
    past.shown = [...past.shown, ...named.flatMap(({ patches }) => patches)].slice(-MOST_SHOWN);
    const isFirst = !isFresh();
    update({ opinion: { of: labels, pairs: named, source }, status: "" });
    if (!named.length) tell(isFirst ? "A second opinion says the same everywhere" : "No more patches on which a second opinion differs");
    else begin(named);
  });
}

/** @param {Opinion[]} pairs */
function begin(pairs) {
  showCard({ ...deckOf(pairs), source: sourceOfPairs() ?? undefined });
  if (!goOn("opinion")) closeCard();
}
