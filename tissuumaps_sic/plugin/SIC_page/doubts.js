/** Seeds that all others contradict: asked for when nothing else is to be done, and given up for whatever is. */

import { drawSeeds } from "./overlay.js";
import { attempt, newToken } from "./requests.js";
import * as server from "./server.js";
import { app, isBlind, isSeeded, layer, memory, sessionRequest, subscribe, update } from "./state.js";

const IDLE = 400; // ms without a request, so that it is in the way of no click

let timer = 0;
const own = memory(() => ({ failed: "" })); // what cannot be had, and is not asked for again
let dropAsked = () => {};

/** Ask once for each state of the seeds that is run, or whose list is open; returns how to stop that. */
export function followDoubts() {
  const stops = [
    subscribe(() => [isIdle() ? wanted() : null], askSoon, true), // prompt: whoever begins something does not wait for this
    subscribe(() => [app.doubts, app.seedsOpen], drawSeeds),
  ];
  return () => {
    for (const stop of stops) stop();
    clearTimeout(timer);
    dropAsked();
  };
}

/** Labels come first, and those of cells; a check comes before what tells of them. */
const isIdle = () => !app.busy && !app.isSharpening && !isBlind();

/** What the seeds are to be judged by, in a word; "" where nobody wants that. */
function wanted() {
  const { state } = app;
  if (!state || !isSeeded() || !app.seedsOpen && (!app.labels || !state.run || state.run.stale)) return "";
  return JSON.stringify([layer().h5ad, app.session, state.revision, app.method, app.embedding]);
}

function askSoon() {
  clearTimeout(timer);
  dropAsked();
  const of = isIdle() ? wanted() : "";
  if (of && of !== app.doubts?.of && of !== own.failed) timer = setTimeout(ask, IDLE, of);
}

/** @param {string} of */
async function ask(of) {
  const { h5ad } = layer(), { method, embedding } = app, job = newToken();
  const wish = new AbortController(), { signal } = wish;
  dropAsked = () => {
    wish.abort();
    dropAsked = () => {};
    server.cancel({ h5ad, job }).catch(() => {}); // a server that is gone is told of by what is asked next
  };
  const doubts = await attempt("Doubtful seeds", server.judge(sessionRequest({ method, embedding, job }), signal).catch((error) => {
    if (!signal.aborted) throw error;
    return null; // that it was given up is nothing to be noted
  }));
  if (signal.aborted) return;
  dropAsked = () => {};
  if (!doubts) own.failed = of;
  update({ doubts: doubts && { of, ...doubts } });
}
