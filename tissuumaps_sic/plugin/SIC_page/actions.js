/** What a person can do: each asks the server, one after the other. */

import { count } from "./dom.js";
import { makeGrid } from "./grid.js";
import { drawSeeds } from "./overlay.js";
import { STOPPED, followed, supersede } from "./progress.js";
import { shade } from "./ramp.js";
import { ServerError, postForFile, postForLabels, postForMap, postForScores, postForState } from "./server.js";
import { MAIN, app, changed, request, seededLabels, tell, unseeded, user } from "./state.js";
import * as viewer from "./viewer.js";

const SLOW = 500, SOON = 250; // ms

let queue = Promise.resolve();
let waiting = 0; // changes and runs that have not begun
let owed = false; // whether a run gave way to those, and is to be made of what they come to

/** Do one thing after another: a change must start from the revision that the one before it made. */
function enqueue(busy, work) {
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

async function reload() {
  takeState(await postForState("open", request()));
  app.labels = app.scores = app.border = null;
  if (app.view === "confidence") app.view = "labels";
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
  app.suggested = app.flips = app.why = app.hovered = null;
  const name = before?.classes[app.active]?.name;
  const place = state.classes.findIndex((each) => each.name === name);
  // Labels move when a class goes; a class that only has another name stays where it is.
  if (place >= 0) app.active = place;
  else if (before?.classes.length !== state.classes.length) app.active = state.listed[0];
}

/** What labels mean and how they look. */
const meaning = () => app.state.run?.classes.map(({ name, color }) => `${color} ${name}`).join("\n");

function change(what, status) {
  waiting++;
  // Nobody waits for labels of seeds that are no longer these.
  if (supersede() === "run") owed = true;
  return enqueue("Saving", async () => {
    waiting--;
    const before = meaning();
    takeState(await postForState("change", request({
      revision: app.state.revision, user: user(), change: what(),
    })));
    app.status = status ?? "Saved";
    const goesOn = (app.live || owed) && !waiting && app.state.run?.stale !== false && unseeded().length === 0;
    if (!waiting) owed = false;
    // In one frame with the labels, where these come soon.
    const seen = setTimeout(drawSeeds, goesOn ? SOON : 0);
    // Renamed, merged, or one of these undone: the same labels mean something else.
    if (app.labels && meaning() !== before) await takeLabels(app.labels);
    try {
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
  app.scores = null;
  if (!SHADED[app.view]) app.view = "labels";
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
  forgetRegions(); // those of other labels
  if (app.view === "confidence") await askScores();
  await drawLabels(labels);
  applyView();
}

// What is drawn as a number from 0 to 1, and not as classes.
const SHADED = { confidence: () => app.scores.own, tissue: () => app.map.tissue };

async function askScores() {
  app.scores ??= await followed("scores", (job) => postForScores(request({ revision: app.state.revision, job })));
}

async function askMap() {
  app.map ??= await postForMap({ h5ad: app.layer.h5ad });
}

function drawLabels(labels) {
  // As of the run: some may have come or gone since.
  const classes = app.state.run?.classes ?? [];
  const n = app.state.n_patches;
  const byClass = new Uint32Array(classes.length);
  if (labels) for (let row = 0; row < n; row++) byClass[labels[row]]++;
  const counts = labels ? {} : { Patches: n };
  // Two classes may have become one since.
  classes.forEach(({ name }, label) => { if (byClass[label]) counts[name] = (counts[name] ?? 0) + byClass[label]; });
  const names = classes.map((each) => each.name);
  return viewer.showLabels({
    uid: app.layer.uid,
    names: labels ? Array.from(labels, (label) => names[label]) : new Array(n).fill("Patches"),
    counts,
    colors: Object.fromEntries(classes.map((each) => [each.name, each.color])),
    shades: SHADED[app.view] && Array.from(SHADED[app.view](), shade),
    opacities: opacities(),
  });
}

/** Draw the slide alone, the patches' colours, the labels, how sure they are, or where the tissue is. */
export function setView(view) {
  return enqueue("Drawing", async () => {
    if (view === "confidence") await askScores();
    if (view === "tissue") await askMap();
    if (view === "tissue" && !app.map.tissue) throw new Error("This file does not tell how much of a patch is tissue.");
    const redraw = SHADED[app.view] !== SHADED[view];
    app.view = view;
    if (redraw && (app.labels || SHADED[view])) await drawLabels(app.labels);
    else if (redraw) viewer.removeLabels();
    applyView();
  });
}

/** Show the labels as regions with their areas, or take them away. */
export function toggleRegions() {
  return enqueue("Drawing regions", async () => {
    if (app.regions) {
      forgetRegions();
      return;
    }
    const { regions } = await postForState("regions", request({ revision: app.state.revision }));
    await viewer.showRegions(app.layer.uid, regions);
    app.regions = regions;
  });
}

function forgetRegions() {
  if (app.regions) viewer.hideRegions();
  app.regions = null;
}

/** Get the labels as a file of a format. */
export function exportAs(format) {
  return enqueue("Exporting", async () => {
    const { name, bytes } = await postForFile(request({ revision: app.state.revision, format }));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes]));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
    app.status = `${name} is in your downloads`;
  });
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

let drawn = Promise.resolve();
let wanted = null;

/** Show what another border would give, while its slider is moved; `run` then keeps it. */
export function previewBorder(border) {
  app.border = border;
  if (wanted !== null) { wanted = border; return; }
  wanted = border;
  drawn = drawn.then(async () => {
    await askScores();
    const moved = borderedLabels(wanted);
    wanted = null;
    app.view = "labels";
    await drawLabels(moved);
    applyView();
  }).catch((error) => {
    wanted = null;
    if (error.status !== STOPPED) app.error = error.message;
    changed();
  });
}

/** Labels where a patch is of class 1 from a score of `border` on; seeded patches keep theirs. */
function borderedLabels(border) {
  const { positive, rest } = app.scores, seeded = seededLabels();
  return app.labels.map((label, row) =>
    (seeded.has(row) ? label : positive[row] >= Math.fround(border) ? 1 : rest[row]));
}

/** Label again with a border, or (null) with none. */
export function setBorder(border) {
  app.border = border;
  drawn.then(run);
}

const isLabelled = () => app.view === "labels" || Boolean(SHADED[app.view]);

/** Of the patches' colours and of the labels. */
const opacities = () => [app.view === "colors" ? app.opacity : 0, isLabelled() ? app.opacity : 0];

export function applyView() {
  viewer.setOpacity(app.layer.uid, ...opacities());
}

export function choose(layer) {
  return enqueue("Opening", async () => {
    app.layer = layer;
    app.grid = makeGrid(viewer.centres(layer.uid));
    app.state = app.map = null;
    app.mapOpen = false;
    await reload();
    applyView();
    app.status = app.state.seeds.patches.length ? "The seeds of last time are back" : "";
  });
}


/** Run where every class has seeds and something has changed. */
export function runIfReady() {
  if (unseeded().length === 0 && app.state.run?.stale !== false) run();
}
