/** Changes of the session, and the runs that label every patch from its seeds. */

import { applyBorder } from "./border.js";
import { tellCount } from "./dom.js";
import { moveBorder } from "./mosaic.js";
import { askScores, dropCells } from "./questions.js";
import { applyView, drawLabels, lookForUnlike, sharpen, takeLabels } from "./labels.js";
import { takeState } from "./open.js";
import { drawSeeds } from "./overlay.js";
import { sendSeeds } from "./outbox.js";
import { enqueue, follow, supersede } from "./requests.js";
import * as server from "./server.js";
import { isShaded } from "./shading.js";
import { app, current, isSeeded, noteSaved, seededLabels, sessionRequest, tell, tellSeeds, update, user } from "./state.js";

const SOON = 250; // ms

let waiting = 0; // changes and runs that have not begun
let owed = false; // whether a run gave way to those, and is to be made of what they come to
/** @type {number | null} */
let wanted = null; // the border that is drawn next, while its slider is moved

/** What labels mean and how they look. */
const meaning = () => current().run?.classes.map(({ name, color }) => `${color} ${name}`).join("\n");

/** Nothing is owed any more where something has gone wrong, other than by giving way. @param {() => Promise<void>} work */
async function withDebts(work) {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof server.ServerError && error.isSuperseded)) owed = false;
    throw error;
  }
}

/**
 * Change the session.
 * @param {() => Record<string, any> | null} what makes the change, of the state that it changes; null: nothing is to be done
 * @param {string | (() => string)} [status]
 */
export function change(what, status = "") {
  waiting++;
  // Nobody waits for labels of seeds that are no longer these.
  if (supersede() === "run") owed = true;
  return enqueue("Saving", () => {
    waiting--;
    return withDebts(() => makeChange(what, status));
  });
}

/** @param {() => Record<string, any> | null} what @param {string | (() => string)} status */
async function makeChange(what, status) {
  const before = meaning(), isUnlike = app.view === "unlike", made = what();
  if (!made) return;
  try {
    if (made.kind === "seed") await sendSeeds(/** @type {{ label: number | null, patches: number[] }} */ (made));
    else if (made.kind === "answer") await sendSeeds({ label: made.label, patches: [made.patch], isAnswer: true });
    else {
      takeState(await server.change(sessionRequest({ user: user(), change: made })));
      noteSaved();
    }
  } catch (error) {
    // What is refused is told, and is nothing that could be lost.
    update({ isUnsaved: !(error instanceof server.ServerError && error.status >= 400 && error.status < 500) });
    throw error;
  }
  update({ status: typeof status === "function" ? status() : status });
  if (app.live && !isSeeded()) update({ status: `Live waits until two classes have seeds: ${tellSeeds()}` });
  const goesOn = (app.live && made.kind !== "answer" || owed) && !waiting && canRun();
  if (!waiting) owed = false;
  // In one frame with the labels, where these come soon.
  const seeds = setTimeout(drawSeeds, goesOn ? SOON : 0);
  try {
    // Renamed, merged, or one of these undone: the same labels mean something else.
    // So do the patches that are unlike any seed.
    if (isUnlike && !current().borrowed.length) update({ view: "labels" });
    else if (meaning() === before && !isUnlike) lookForUnlike();
    if (app.labels && (meaning() !== before || isUnlike)) await takeLabels(app.labels);
    if (goesOn) await labelAll();
  } finally {
    clearTimeout(seeds);
    drawSeeds();
  }
}

/** Whether classes have seeds and something has changed. */
const canRun = () => isSeeded() && current().run?.stale !== false;

/** Label every patch; of several runs, and of those that changes ask for, only the newest is made. */
export function run() {
  waiting++;
  supersede();
  enqueue("Running", async () => {
    waiting--;
    owed = waiting > 0;
    if (!owed) await withDebts(labelAll);
  });
}

/** A run is asked for to see labels, but for those who look at something that is made of them. */
const afterRun = () => (isShaded(app.view) || app.view === "outlines" ? {} : { view: "labels", wantedView: "" });

async function labelAll() {
  if (app.busy) update({ busy: { ...app.busy, kind: "Running" } });
  const { method, embedding, border } = app;
  dropCells(); // of labels that are to be others
  const { state, labels } = await follow("run", (job) => server.run(sessionRequest({ method, embedding, border, job })))
    .catch((error) => {
      sharpen(); // the labels that there were stay
      throw error;
    });
  update({ state, scores: null, unlike: null, ...afterRun() });
  await takeLabels(labels);
  update({ status: `Labelled ${tellCount(labels.length, "patch", "patches")} in ${state.seconds.toFixed(2)} s` });
}

/** Run again after every change, or no longer. */
export function toggleLive() {
  update({ live: !app.live });
  tell(!app.live ? "Live is off" : isSeeded() ? "Live: runs again after every seed"
    : `Live: runs once two classes have seeds: ${tellSeeds()}`);
  if (app.live && canRun()) run();
}

/** Show what another border would give, while its slider is moved. @param {number} border */
export function previewBorder(border) {
  const isDrawing = wanted !== null;
  wanted = border;
  if (!isDrawing) enqueue("Drawing", async () => {
    const scores = await askScores().finally(() => { border = wanted ?? border; wanted = null; });
    if (!app.labels) return;
    update({ view: "labels" });
    const seeded = seededLabels(), cells = app.cells && app.lattice && { ...app.cells,
      labels: moveBorder(app.cells, app.lattice, seeded, border) };
    await drawLabels(applyBorder(app.labels, scores, seeded, border), cells);
    applyView();
  }, true);
}

/** Label again with a border, or (null) with none. @param {number | null} border */
export function setBorder(border) {
  update({ border });
  run();
}
