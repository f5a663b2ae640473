/** A slide and a session of it are opened. */

import { makeGrid } from "./grid.js";
import { applyView, takeLabels } from "./labels.js";
import { drawSeeds } from "./overlay.js";
import { forgetRegions } from "./regions.js";
import { enqueue } from "./requests.js";
import * as server from "./server.js";
import { MAIN, app, current, request, show, update, user } from "./state.js";
import * as viewer from "./viewer.js";
import { loadWorklist } from "./worklist.js";

/** @import { Session } from "./server.js" */

const PATIENCE = 300; // ms that a slide waits for the list of the others, so that nothing jumps

/** Open the slide of a layer of patches. @param {import("./state.js").Layer} chosen */
export function choose(chosen) {
  return enqueue("Opening", async () => {
    const grid = makeGrid(viewer.centres(chosen.uid));
    update({ layer: { ...chosen, grid }, state: null, map: null, mapOpen: false });
    await Promise.all([
      loadSession(),
      Promise.race([loadWorklist(), new Promise((done) => { setTimeout(done, PATIENCE); })]),
    ]);
    applyView();
    update({ status: current().seeds.patches.length ? "The seeds of last time are back" : "" });
  });
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
  const { tables: offered, ...state } = await server.open(request());
  takeState(state);
  const { run: last, embeddings } = state;
  const embedding = last?.embedding ?? app.embedding, method = last?.method ?? app.method;
  update({
    tables: offered, labels: null, scores: null, compared: null, border: last?.border ?? null,
    view: ["confidence", "disputed", "unlike"].includes(app.view) ? "labels" : app.view,
    embedding: embeddings.some((each) => each.name === embedding) ? embedding : MAIN,
    method: offered.methods.some((each) => each.name === method) ? method : offered.methods[0].name,
  });
  if (last) {
    const found = await server.labels(request());
    update({ state: found.state });
    await takeLabels(found.labels);
  } else {
    viewer.removeLabels();
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
  update({ state, active, suggested: null, flips: null, why: null, unlike: null });
}

/** @param {string} name */
export function openSession(name) {
  return enqueue("Opening", async () => {
    const before = app.session;
    update({ session: name });
    try {
      await reload();
    } catch (error) {
      update({ session: before });
      throw error;
    }
    applyView();
    update({ status: "" });
  });
}

/** Ask for the name of a new session. */
export const newSession = () => show({ sessionNaming: { kind: "new", text: user() } });
