/** What a person can do: each asks the server, one after the other. */

import { count } from "./dom.js";
import { askMap, askScores, askUnlike, compareAgain } from "./fetched.js";
import { makeGrid } from "./grid.js";
import { drawSeeds } from "./overlay.js";
import { STOPPED, followed, supersede } from "./progress.js";
import { ServerError, postForLabels, postForState } from "./server.js";
import { MAIN, app, canView, changed, request, seededLabels, tell, unseeded, user } from "./state.js";
import { isShaded, shadeOf, shadedBy } from "./shading.js";
import * as viewer from "./viewer.js";

const SLOW = 500, SOON = 250; // ms

let queue = Promise.resolve();
let waiting = 0; // changes and runs that have not begun
let owed = false; // whether a run gave way to those, and is to be made of what they come to

/** Do one thing after another: a change must start from the revision that the one before it made. */
export function enqueue(busy, work) {
  queue = queue.then(async () => {
    app.busy = busy;
    app.error = "";
    // Not at every click, where it would flicker; and nothing that turns, since without a graphics card every
    // frame of it redraws the page, a tenth of a second of the processors that the clustering wants.
    const slow = setTimeout(() => { app.slow = true; changed(); }, SLOW);
    try {
      await work();
    } catch (error) {
      const stopped = error.status === STOPPED;
      if (!error.superseded) owed = false;
      app.error = stopped ? "" : error.message;
      app.status = stopped && !error.superseded ? "Stopped; the labels are as they were" : "";
      if (!(error instanceof ServerError)) console.error(error);
      if (error.status === 409) await reload().catch((again) => { app.error = again.message; });
    }
    clearTimeout(slow);
    app.busy = "";
    app.slow = false;
    changed();
  });
  return queue;
}

export async function reload() {
  takeState(await postForState("open", request()));
  app.labels = app.scores = app.border = app.compared = null;
  if (["confidence", "disputed", "unlike"].includes(app.view)) app.view = "labels";
  const { run: last, embeddings } = app.state;
  if (last) app.embedding = last.embedding;
  if (!embeddings.some((each) => each.name === app.embedding)) app.embedding = MAIN;
  if (last) {
    app.method = last.method;
    app.border = last.border;
    const found = await postForLabels("labels", request());
    app.state = found.state;
    await takeLabels(found.labels);
  } else {
    viewer.removeLabels();
    forgetRegions();
  }
  drawSeeds();
}

/** Keep a session's new state; what hung on the old one goes, but for the class that is chosen. */
function takeState(state) {
  const before = app.state;
  app.state = state;
  app.suggested = app.flips = app.why = app.hovered = app.unlike = null;
  const name = before?.classes[app.active]?.name;
  const place = state.classes.findIndex((each) => each.name === name);
  // Labels move when a class goes; a class that only has another name stays where it is.
  if (place >= 0) app.active = place;
  else if (before?.classes.length !== state.classes.length) app.active = state.listed[0];
}

/** What labels mean and how they look. */
const meaning = () => app.state.run?.classes.map(({ name, color }) => `${color} ${name}`).join("\n");

export function change(what, status) {
  waiting++;
  // Nobody waits for labels of seeds that are no longer these.
  if (supersede() === "run") owed = true;
  return enqueue("Saving", async () => {
    waiting--;
    const before = meaning(), shaded = app.view === "unlike";
    takeState(await postForState("change", request({
      revision: app.state.revision, user: user(), change: what(),
    })));
    app.status = status ?? "Saved";
    const goesOn = (app.live || owed) && !waiting && app.state.run?.stale !== false && unseeded().length === 0;
    if (!waiting) owed = false;
    // In one frame with the labels, where these come soon.
    const seen = setTimeout(drawSeeds, goesOn ? SOON : 0);
    try {
      // Renamed, merged, or one of these undone: the same labels mean something else.
      // So do the patches that are unlike any seed.
      if (app.view === "unlike" && !app.state.borrowed.length) app.view = "labels";
      else if (meaning() === before && app.view !== "unlike") lookForUnlike();
      if (app.labels && (meaning() !== before || shaded)) await takeLabels(app.labels);
      if (goesOn) await labelAll();
    } finally {
      clearTimeout(seen);
      drawSeeds();
    }
  });
}

/** Ask for the patch whose seed would tell most, and go there. */
export function suggest() {
  return enqueue("Looking for the most telling patch", async () => {
    const found = await followed("suggest", (job) => postForState("suggest", request({
      revision: app.state.revision, method: app.method, embedding: app.embedding, n: 1, job,
    })));
    app.flips = found.flips;
    app.suggested = found.patches[0] ?? null;
    if (app.suggested === null) app.status = "Every patch is seeded";
    else {
      app.status = "Seed the marked patch; N finds the next one";
      viewer.lookAt(app.grid.x[app.suggested], app.grid.y[app.suggested]);
    }
    drawSeeds();
  });
}

export const addClass = () => change(() => {
  const names = new Set(app.state.classes.map((each) => each.name));
  let number = app.state.classes.length + 1;
  while (names.has(`Class ${number}`)) number++;
  return { kind: "add-class", name: `Class ${number}` };
}, "Added; click its name to change it").then(() => {
  if (app.error) return;
  app.active = app.state.classes.length - 1;
  changed();
});

export function removeClass(label, into) {
  const { name } = app.state.classes[label];
  return change(
    () => ({ kind: "remove-class", label, into }),
    into === null ? `“${name}” is removed; Undo brings it back` : `“${name}” is merged; Undo parts them`,
  );
}

export function openSession(name) {
  return enqueue("Opening", async () => {
    const before = app.session;
    app.session = name;
    try {
      await reload();
    } catch (error) {
      app.session = before;
      throw error;
    }
    applyView();
    app.status = "";
  });
}

export function newSession() {
  const name = window.prompt("Name of the new session, for example your own", user());
  if (name?.trim()) openSession(name.trim());
}

export const undo = () => change(() => ({ kind: "undo" }), "Undone");
export const redo = () => change(() => ({ kind: "redo" }), "Done again");
export const clear = () => change(() => ({ kind: "clear" }), "Seeds cleared; Undo brings them back");

/** Seed patches with the active class; where all of them have it already, take it from them. */
export function seed(rows) {
  const label = app.active;
  return change(() => {
    const known = seededLabels();
    const all = rows.every((row) => known.get(row) === label);
    return { kind: "seed", label: all ? null : label, patches: rows };
  });
}

/** Take the seeds of patches back, whatever their class. */
export const unseed = (rows) => change(() => ({ kind: "seed", label: null, patches: rows }));

export const editClass = (label, edit) =>
  change(() => ({ kind: "class", label, ...app.state.classes[label], ...edit }));

/** Label every patch; of several runs, and of those that changes ask for, only the newest is made. */
export function run() {
  waiting++;
  supersede();
  return enqueue("Running", async () => {
    waiting--;
    owed = waiting > 0;
    if (!owed) await labelAll();
  });
}

async function labelAll() {
  app.busy = "Running";
  const found = await followed("run", (job) => postForLabels("run", request({
    revision: app.state.revision, method: app.method, embedding: app.embedding, border: app.border, job,
  })));
  app.state = found.state;
  app.scores = app.unlike = null;
  if (!isShaded(app.view)) app.view = "labels";
  await takeLabels(found.labels);
  app.status = `Labelled ${count(found.labels.length)} patches in ${found.state.seconds.toFixed(2)} s`;
}

export function write() {
  return enqueue("Writing", async () => {
    const { written } = await postForState("write", request({ revision: app.state.revision }));
    app.status = `Labels are in ${written} (obs: sic_label, sic_score, sic_seed)`;
  });
}

async function takeLabels(labels) {
  app.labels = labels;
  if (app.view === "confidence") await askScores();
  await compareAgain();
  if (app.view === "unlike") await askUnlike();
  else lookForUnlike();
  await drawLabels(labels);
  applyView();
  if (app.regions) await showRegions(); // which follow the labels
}

/** Not waited for: labels, or a seed that is saved, are what was asked for. */
function lookForUnlike() {
  askUnlike().then(changed, (error) => console.warn(`Patches unlike any seed: ${error.message}`));
}

export function drawLabels(labels) {
  // As of the run: some may have come or gone since.
  const classes = app.state.run?.classes ?? [];
  const n = app.state.n_patches;
  const byClass = new Uint32Array(classes.length);
  if (labels) for (let row = 0; row < n; row++) byClass[labels[row]]++;
  const counts = labels ? {} : { Patches: n };
  // Two classes may have become one since.
  classes.forEach(({ name }, label) => { if (byClass[label]) counts[name] = (counts[name] ?? 0) + byClass[label]; });
  const names = classes.map((each) => each.name), shades = shadedBy();
  return viewer.showLabels({
    uid: app.layer.uid,
    names: labels ? Array.from(labels, (label) => names[label]) : new Array(n).fill("Patches"),
    counts,
    colors: Object.fromEntries(classes.map((each) => [each.name, each.color])),
    shades: shades && Array.from(shades, shadeOf),
    opacities: opacities(),
  });
}

/** Draw the slide alone, the patches' colours, the labels, how sure they are, or where the tissue is. */
export function setView(view) {
  return enqueue("Drawing", async () => {
    if (view === "confidence") await askScores();
    if (view === "tissue") await askMap();
    if (view === "unlike") await askUnlike();
    if (view === "tissue" && !app.map.tissue) throw new Error("This file does not tell how much of a patch is tissue.");
    const redraw = app.view !== view && (isShaded(app.view) || isShaded(view));
    app.view = view;
    if (redraw && (app.labels || isShaded(view))) await drawLabels(app.labels);
    else if (redraw) viewer.removeLabels();
    applyView();
  });
}

/** The next of the views that there is something for. */
export function nextView() {
  const views = ["slide", "colors", "labels", "confidence", "tissue", "disputed"].filter(canView);
  return setView(views[(views.indexOf(app.view) + 1) % views.length]);
}

/** Show the labels as regions with their areas, or take them away. */
export function toggleRegions() {
  if (!app.state.run) {
    tell("Run first: regions are of labels");
    return undefined;
  }
  return enqueue("Drawing regions", async () => {
    if (app.regions) {
      forgetRegions();
      return;
    }
    await showRegions();
  });
}

async function showRegions() {
  const { regions } = await postForState("regions", request({ revision: app.state.revision }));
  await viewer.showRegions(app.layer.uid, regions);
  app.regions = regions;
}

function forgetRegions() {
  if (app.regions) viewer.hideRegions();
  app.regions = null;
}

/** Seed what lies in the regions drawn in TissUUmaps: with the class of their name, else with the active one. */
export async function seedFromRegions() {
  const regions = viewer.drawnRegions();
  if (!regions.length) {
    tell("Draw a region first, in TissUUmaps' tab Regions");
    return;
  }
  const rows = new Map();
  for (const { name, rings } of regions) {
    const named = app.state.classes.findIndex((each) => each.name === name);
    for (const row of app.grid.within(rings)) rows.set(row, named >= 0 ? named : app.active);
  }
  if (!rows.size) {
    tell("No patch centre lies in the regions");
    return;
  }
  for (const label of new Set(rows.values())) {
    const patches = [...rows.keys()].filter((row) => rows.get(row) === label);
    await change(() => ({ kind: "seed", label, patches }), `${count(rows.size)} patches of ${regions.length} regions seeded`);
    if (app.error) return;
  }
}

/** Open or close the map of the feature space. */
export function toggleMap() {
  if (app.mapOpen) {
    app.mapOpen = false;
    changed();
    return undefined;
  }
  return enqueue("Opening the map", async () => {
    await askMap();
    app.mapOpen = true;
  });
}

const isLabelled = () => app.view === "labels" || isShaded(app.view);

/** Of the patches' colours and of the labels. */
const opacities = () => [app.view === "colors" ? app.opacity : 0, isLabelled() ? app.opacity : 0];

export function applyView() {
  viewer.setOpacity(app.layer.uid, ...opacities());
}

/** What else to ask for when a slide is opened, set by the page that shows it. */
let startWith = async () => {};
export const alsoAsk = (ask) => { startWith = ask; };

export function choose(layer) {
  return enqueue("Opening", async () => {
    app.layer = layer;
    app.grid = makeGrid(viewer.centres(layer.uid));
    app.state = app.map = null;
    app.mapOpen = false;
    await Promise.all([open(), startWith()]);
    applyView();
    app.status = app.state.seeds.patches.length ? "The seeds of last time are back" : "";
  });
}

/** Run again after every change, or no longer. */
export function toggleLive() {
  app.live = !app.live;
  tell(app.live ? "Live: runs again after every seed" : "Live is off");
  if (app.live) runIfReady();
}

/** Load the session that the person was in; where this slide cannot have one of that name, the shared one. */
async function open() {
  try {
    await reload();
  } catch (error) {
    if (!app.session || !(error instanceof ServerError) || error.status !== 422) throw error;
    app.session = "";
    await reload();
  }
}

/** Run where every class has seeds and something has changed. */
function runIfReady() {
  if (unseeded().length === 0 && app.state.run?.stale !== false) run();
}
