/** Where the person has looked: noted as the view rests, tinted on the minimap, and kept in the session now and then. */

import { inView, isClose, resolution, shareSeen } from "./coverage.js";
import { html } from "./dom.js";
import { attempt } from "./requests.js";
import * as server from "./server.js";
import { app, layer, memory, request, subscribe, update } from "./state.js";
import * as viewer from "./viewer.js";

const REST = 600; // ms that a view stays before it was looked at
const KEEP = 20_000; // ms between two times that it is kept
const TINT = "rgba(20, 140, 80, .55)";

let rest = 0, keep = 0;
const own = memory(() => ({ unsent: /** @type {Set<number>} */ (new Set()), of: {} })); // patches that are not kept yet; of: which slide and session
/** @type {HTMLCanvasElement | null} */
let canvas = null;

/** Note where the person looks; returns how to stop that. */
export function followLooking() {
  canvas = html("canvas", { id: "sic-seen", class: "sic-seen", "aria-hidden": "true" });
  const handlers = { "animation-finish": wait, "viewport-change": wait };
  viewer.on(handlers);
  document.addEventListener("visibilitychange", onHide);
  const stops = [
    subscribe(() => (app.state && app.layer && !app.busy ? [app.layer.h5ad, app.session] : null), begin),
    subscribe(() => [app.looked], tint),
  ];
  return () => {
    send();
    clearTimeout(rest);
    for (const stop of stops) stop();
    viewer.off(handlers);
    document.removeEventListener("visibilitychange", onHide);
    canvas?.remove();
    canvas = null;
  };
}

/** Ask what was looked at before, in the session that is open now. */
async function begin() {
  send();
  update({ looked: null, notes: [], card: null, gallery: null, picked: [] });
  const about = request();
  const [looked, notes] = await Promise.all([
    attempt("Not told what was looked at", server.looked(about)), attempt("No notes", server.notes(about))]);
  if (app.isClosed || app.layer?.h5ad !== about.h5ad || app.session !== about.session) return;
  update({ looked: looked && { ...looked, share: shareSeen(looked.seen, looked.tissue) }, notes: notes?.notes ?? [] });
  wait();
}

function wait() {
  clearTimeout(rest);
  rest = setTimeout(note, REST);
}

function note() {
  const { looked } = app;
  if (!looked || !app.layer || document.hidden) return;
  const view = viewer.viewBox(), { grid } = layer();
  if (!isClose(view, resolution(looked.spacing, grid))) return;
  const rows = inView(grid, view).filter((row) => !looked.seen[row]);
  if (!rows.length) return;
  const seen = looked.seen.slice();
  for (const row of rows) {
    seen[row] = 1;
    own.unsent.add(row);
  }
  own.of = request();
  update({ looked: { ...looked, seen, share: shareSeen(seen, looked.tissue) } });
  if (!keep) keep = setTimeout(send, KEEP);
}

function onHide() {
  if (document.hidden) send();
}

/** Keep what was looked at; where no session has begun yet, later. */
export async function send() {
  clearTimeout(keep);
  keep = 0;
  if (!own.unsent.size) return;
  const { of: about, unsent: sent } = own;
  own.unsent = new Set();
  const answer = await attempt("Not kept what was looked at", server.look({ ...about, patches: [...sent] }));
  if (!answer?.kept && app.layer && !app.isClosed && JSON.stringify(about) === JSON.stringify(request())) {
    for (const row of sent) own.unsent.add(row);
    own.of = about;
    if (answer && !keep) keep = setTimeout(send, KEEP);
  }
}

/** Tint the minimap where the person has looked. */
function tint() {
  const map = viewer.minimap(), { looked } = app;
  if (!canvas || !map || !looked || !app.layer) {
    canvas?.remove();
    return;
  }
  if (canvas.parentElement !== map.element) map.element.append(canvas);
  const { grid } = app.layer, context = viewer.contextOf(canvas);
  canvas.width = map.element.clientWidth;
  canvas.height = map.element.clientHeight;
  const origin = map.place(0, 0), unit = map.place(1000, 1000);
  const across = (unit.x - origin.x) / 1000, down = (unit.y - origin.y) / 1000;
  const width = Math.max(grid.spacing * across, 1), height = Math.max(grid.spacing * down, 1);
  context.fillStyle = TINT;
  context.beginPath();
  for (let row = 0; row < looked.seen.length; row++) {
    if (looked.seen[row]) context.rect(origin.x + grid.x[row] * across - width / 2, origin.y + grid.y[row] * down - height / 2, width, height);
  }
  context.fill();
}
