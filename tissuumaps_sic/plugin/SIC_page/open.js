/** A slide and a session of it are opened. */

import { goToAsked } from "./arrival.js";
import { makeGrid } from "./grid.js";
import { giveBack } from "./held.js";
import { applyView, takeLabels } from "./labels.js";
import { clearOutlines, clearSeeds, drawPointed, drawSeeds } from "./overlay.js";
import { drawMap } from "./maps.js";
import { dropCells } from "./questions.js";
import { forgetRegions } from "./regions.js";
import { attempt, enqueue } from "./requests.js";
import * as server from "./server.js";
import { MAIN, app, canView, current, flush, request, show, update, user } from "./state.js";
import * as viewer from "./viewer.js";
import { drawView } from "./views.js";
import { loadWorklist } from "./worklist.js";

/** @import { Session } from "./server.js" */

const BOUND = ["disputed", "unlike"]; // views of what another session or slide has to do with it
const BELOW_BAR = 6; // CSS pixels
const PATIENCE = 300; // ms that a slide waits for the list of the others, so that nothing jumps

/** Open the slide of a layer of patches. @param {import("./state.js").Layer} chosen */
export function choose(chosen) {
  return enqueue("Opening", async () => {
    forgetSlide();
    const grid = makeGrid(viewer.centres(chosen.uid));
    update({ layer: { ...chosen, grid, factor: viewer.factorOf(chosen.uid) }, state: null, unopened: null, map: null, mapOpen: false, lattice: null,
      pointed: null, part: null, noted: null, noteTarget: "slide", hidden: [], isPicked: false, naming: null, seedFile: null, savedAt: null, isUnsaved: false });
    await Promise.all([
      loadLattice().then(loadSession).catch(keepWhy),
      Promise.race([loadWorklist(), new Promise((done) => { setTimeout(done, PATIENCE); })]),
    ]);
    await showOpened();
  });
}

/** Show a slide that had no session open before as it is shown first. */
async function showOpened() {
  await showFirst();
  leaveRoomForBar();
  goToAsked();
  update({ status: current().seeds.patches.length ? "The seeds of last time are back" : "" });
}

/** Keep why a slide has no session open; what a person is told goes when it is closed. @param {Error} error */
function keepWhy(error) {
  const isRefused = error instanceof server.ServerError && [server.REFUSED, server.CONFLICT].includes(error.status);
  if (!app.state) update({ unopened: { why: error.message, isRefused } });
  throw error;
}

/** Let the slide's upper edge be seen below what is said there. */
function leaveRoomForBar() {
  flush(); // while a slide is opened what is drawn waits, and the bar has no height yet
  const bar = document.getElementById("sic-bar");
  if (bar) viewer.leaveRoom(bar.offsetTop + bar.offsetHeight + BELOW_BAR);
}

/** Take away what there is of a slide: another one is opened. */
function forgetSlide() {
  dropCells();
  forgetRegions();
  update({ labels: null, cells: null, scores: null, unlike: null, compared: null, gallery: null, picked: [], likeness: null, elsewhere: null });
  viewer.hidePicture();
  viewer.removeLabels();
  clearSeeds();
  clearOutlines();
  drawPointed(null);
}

/** Tell of files that the project names and that are not there: TissUUmaps waits for them for ever. */
export async function lookForFiles() {
  for (const paths of viewer.wantedFiles()) {
    if (app.layer || !await areMissing(paths)) continue;
    const why = `${paths[0]} is not there. Put it into the served folder under that name, or embed the slide again `
      + "(embedder embed), then load this page again";
    update({ error: why, unopened: { why, isRefused: false } });
  }
}

/** Whether the server has no file by any of the paths that one may have. @param {string[]} paths */
async function areMissing(paths) {
  for (const h5ad of new Set(paths)) {
    try {
      await server.progress({ h5ad, job: "is-it-there" });
      return false;
    } catch (error) {
      if (!(error instanceof server.ServerError) || error.status !== server.MISSING) return false;
    }
  }
  return !app.layer;
}

/** What is shown where there are no labels: the tissue, or, of an h5ad alone, its patches in the colours of the UMAP. */
const plainView = () => (viewer.hasPicture() ? "slide" : "colors");

/** Show what the person looked at on the slide before, else labels where there are some, else what there is. */
async function showFirst() {
  const wanted = app.wantedView === "slide" ? plainView() : app.wantedView;
  const isThere = Boolean(wanted) && canView(wanted) && !BOUND.includes(wanted);
  const first = app.labels ? "labels" : plainView();
  await drawView(isThere ? wanted : first).catch(() => drawView(first));
}

/** Where the patches lie on no grid, there is no picture of them, and labels are drawn as markers. */
async function loadLattice() {
  update({ lattice: await attempt("Cells", server.lattice(request())) });
}

/** Load the session that the person was in; where this slide cannot have one of that name, the shared one. */
async function loadSession() {
  try {
    await reload();
  } catch (error) {
    if (!app.session || !(error instanceof server.ServerError) || error.status !== server.REFUSED) throw error;
    update({ session: "" });
    await reload();
  }
}

/** Load the session as the server has it now. */
export async function reload() {
  const { tables: offered, facts, ...opened } = await server.open(request());
  dropCells(); // of labels that are to be others
  update({ facts });
  const state = await giveBack(opened);
  takeState(state);
  const { run: last, embeddings } = state;
  const embedding = last?.embedding ?? app.embedding, method = last?.method ?? app.method;
  update({
    tables: offered, labels: null, cells: null, scores: null, doubts: null, compared: null, border: last?.border ?? null,
    view: [...BOUND, "confidence"].includes(app.view) ? "labels" : app.view,
    embedding: embeddings.some((each) => each.name === embedding) ? embedding : MAIN,
    method: offered.methods.some((each) => each.name === method) ? method : offered.methods[0].name,
  });
  if (last) {
    const found = await server.labels(request());
    update({ state: found.state });
    await takeLabels(found.labels);
  } else {
    if (["labels", "outlines"].includes(app.view)) update({ view: plainView() });
    viewer.removeLabels();
    drawMap(null, null);
    forgetRegions();
  }
  drawSeeds();
}

/** Keep a session's new state; what hung on the old one goes, but for the class that is chosen. @param {Session} state */
export function takeState(state) {
  const before = app.state;
  const name = before?.classes[app.active]?.name;
  const place = state.classes.findIndex((each) => each.name === name);
  // Labels move when a class goes; a class that only has another name stays where it is.
  const active = place >= 0 ? place : before?.classes.length !== state.classes.length ? state.listed[0] : app.active;
  // So do the labels of seeds that are in doubt.
  const doubts = before?.classes.length === state.classes.length ? app.doubts : null;
  update({ state, unopened: null, active, doubts, suggested: null, flips: null, why: null, unlike: null });
}

/** Load the session anew; where the slide had none open, begin with it. Returns whether it had none. */
export async function reopen() {
  const isFirst = app.state === null;
  await reload();
  if (isFirst) await showOpened();
  return isFirst;
}

/** @param {string} name */
export function openSession(name) {
  return enqueue("Opening", async () => {
    const before = app.session;
    update({ session: name, seedFile: null });
    try {
      if (await reopen()) return;
    } catch (error) {
      update({ session: before });
      throw error;
    }
    if (app.labels && app.view === plainView() && app.wantedView !== app.view) update({ view: "labels" });
    applyView();
    update({ status: "" });
  });
}

/** Ask for the name of a new session. */
export const newSession = () => show({ sessionNaming: { kind: "new", text: user() } });
