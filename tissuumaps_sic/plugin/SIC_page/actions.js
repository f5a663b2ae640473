/** What a person can do: each asks the server, one after the other. */

import { count } from "./dom.js";
import { makeGrid } from "./grid.js";
import { drawSeeds } from "./overlay.js";
import { ServerError, postForLabels, postForState } from "./server.js";
import { MAIN, app, changed, request, seededLabels, unseeded, user } from "./state.js";
import * as viewer from "./viewer.js";

let queue = Promise.resolve();

/** Do one thing after another: a change must start from the revision that the one before it made. */
function enqueue(busy, work) {
  queue = queue.then(async () => {
    app.busy = busy;
    app.error = "";
    changed();
    try {
      await work();
    } catch (error) {
      app.error = error.message;
      app.status = "";
      if (!(error instanceof ServerError)) console.error(error);
      if (error.status === 409) await reload().catch((again) => { app.error = again.message; });
    }
    app.busy = "";
    changed();
  });
  return queue;
}

async function reload() {
  takeState(await postForState("open", request()));
  app.labels = null;
  const { run, embeddings } = app.state;
  if (run) app.embedding = run.embedding;
  if (!embeddings.some((each) => each.name === app.embedding)) app.embedding = MAIN;
  if (run) {
    app.method = run.method;
    const found = await postForLabels("labels", request());
    app.state = found.state;
    await takeLabels(found.labels);
  } else {
    viewer.removeLabels();
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

function change(what, status) {
  return enqueue("Saving", async () => {
    const before = JSON.stringify(app.state.run?.classes);
    takeState(await postForState("change", request({
      revision: app.state.revision, user: user(), change: what(),
    })));
    app.status = status ?? "Saved";
    drawSeeds();
    // Renamed, merged, or one of these undone: the same labels mean something else.
    if (app.labels && JSON.stringify(app.state.run.classes) !== before) await takeLabels(app.labels);
    if (app.live && app.state.run?.stale !== false && unseeded().length === 0) await label();
  });
}

/** Ask for the patch whose seed would tell most, and go there. */
export function suggest() {
  return enqueue("Looking for the most telling patch", async () => {
    const found = await postForState("suggest", request({
      revision: app.state.revision, method: app.method, embedding: app.embedding, n: 1,
    }));
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

export const run = () => enqueue("Running", label);

async function label() {
  const found = await postForLabels("run", request({
    revision: app.state.revision, method: app.method, embedding: app.embedding,
  }));
  app.state = found.state;
  app.view = "labels";
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
  const { classes } = app.state.run; // as of the run: some may have come or gone since
  await viewer.showLabels({
    uid: app.layer.uid,
    names: Array.from(labels, (label) => classes[label].name),
    colors: Object.fromEntries(classes.map((each) => [each.name, each.color])),
  });
  applyView();
}

export function applyView() {
  viewer.setOpacity(
    app.layer.uid, app.view === "colors" ? app.opacity : 0, app.view === "labels" ? app.opacity : 0);
}

export function choose(layer) {
  return enqueue("Opening", async () => {
    app.layer = layer;
    app.grid = makeGrid(viewer.centres(layer.uid));
    app.state = null;
    await reload();
    applyView();
    app.status = app.state.seeds.patches.length ? "The seeds of last time are back" : "";
  });
}


/** Run where every class has seeds and something has changed. */
export function runIfReady() {
  if (unseeded().length === 0 && app.state.run?.stale !== false) run();
}
