/** Mouse and keys. */

import { svg } from "./dom.js";
import { decide } from "./decide.js";
import { drawPointed, drawSeeds } from "./overlay.js";
import { toggleKeys } from "./panel/keys.js";
import { nextDisputed } from "./readers.js";
import { toggleRegions } from "./regions.js";
import { stop } from "./requests.js";
import { run, suggest, toggleLive } from "./runs.js";
import { seed } from "./seeding.js";
import { redo, undo } from "./undoing.js";
import { TOOLS, app, layer, show, tell } from "./state.js";
import * as viewer from "./viewer.js";
import { nextView, toggleMap } from "./views.js";
import { step } from "./worklist.js";

/** @import { CanvasEvent, Point } from "./viewer.js" */

const DRAG_TOLERANCE = 6; // screen pixels that a click may wander before it is a drag

let restore = () => {};

/** While clicks seed, TissUUmaps opens no tooltips at them. */
export function mute() {
  restore();
  restore = app.seeding ? viewer.muteTooltips() : () => {};
}

export function unmute() {
  restore();
  restore = () => {};
}

const pointer = {
  start: /** @type {Point | null} */ (null), lasso: /** @type {Point[] | null} */ (null), line: /** @type {SVGElement | null} */ (null),
};

export function dropLasso() {
  pointer.line?.remove();
  pointer.lasso = pointer.line = null;
}

/** @type {Record<string, (event: CanvasEvent) => void>} */
export const mouse = {
  "canvas-press": (event) => {
    dropLasso();
    pointer.start = null;
    const button = event.originalEvent?.button ?? 0;
    if (button !== 0 || !app.seeding || !app.state || viewer.isDrawingRegions()) return;
    pointer.start = event.position.clone();
    if (!event.originalEvent?.shiftKey) return;
    pointer.lasso = [pointer.start];
    pointer.line = svg("svg", { class: "sic-lasso" });
    pointer.line.append(svg(app.tool === "brush" ? "polyline" : "polygon", { points: "" }));
    viewer.container().append(pointer.line);
  },
  "canvas-drag": (event) => {
    if (!pointer.start) return;
    if (pointer.lasso) {
      event.preventDefaultAction = true;
      const here = event.position.clone();
      if (app.tool === "rectangle") pointer.lasso = corners(pointer.start, here);
      else pointer.lasso.push(here);
      const points = pointer.lasso.map((each) => `${each.x},${each.y}`).join(" ");
      pointer.line?.firstElementChild?.setAttribute("points", points);
    } else if (pointer.start.distanceTo(event.position) < DRAG_TOLERANCE) {
      event.preventDefaultAction = true; // a trembling hand does not pan
    } else {
      pointer.start = null;
    }
  },
  "canvas-release": (event) => {
    const { start, lasso } = pointer;
    pointer.start = null;
    dropLasso();
    if (!start) return;
    if (lasso && start.distanceTo(event.position) + lasso.length > DRAG_TOLERANCE + 1) {
      const line = lasso.map(viewer.toImage);
      const { grid } = layer(), rows = app.tool === "brush" ? grid.under(line) : grid.within([line]);
      if (rows.length) seed(rows);
      else tell(app.tool === "brush" ? "No patch lies under the brush" : "No patch centre lies inside");
      return;
    }
    const row = layer().grid.at(viewer.toImage(start));
    if (row === null) tell("There is no patch here"); else seed([row]);
  },
};

/** @param {Point} a @param {Point} b */
function corners(a, b) {
  const at = (/** @type {number} */ x, /** @type {number} */ y) => Object.assign(a.clone(), { x, y });
  return [a, at(b.x, a.y), b, at(a.x, b.y)];
}

// Not those by which TissUUmaps moves and turns the slide: a, d, f, j, k, r, s, w.
/** @type {Record<string, () => void>} */
const ACTIONS = {
  z: undo, Z: redo, " ": run, n: suggest, l: toggleLive, t: nextTool, v: nextView, m: toggleMap, g: toggleRegions,
  q: () => decide(0), e: () => decide(1), x: nextDisputed, "[": () => step(-1), "]": () => step(1), "?": toggleKeys, Escape: cancel,
};

function nextTool() {
  show({ tool: TOOLS[(TOOLS.indexOf(app.tool) + 1) % TOOLS.length] });
}

/** @param {KeyboardEvent} event */
export function onKey(event) {
  // Brackets are typed with AltGr on some keyboards, which Windows tells as Ctrl and Alt.
  const bracket = event.key === "[" || event.key === "]";
  if (!bracket && (event.ctrlKey || event.metaKey || event.altKey) || !app.state) return;
  // Where keys mean something already: a class that was just chosen, or a box that was ticked, is no such place.
  const typed = "input:not([type=radio], [type=checkbox]), select, textarea, [contenteditable], .modal";
  const target = /** @type {Element} */ (event.target);
  if (target.closest(typed) || (event.key === " " && target.closest("input, button"))) return;
  const action = ACTIONS[event.key] ?? ACTIONS[event.key.toLowerCase()];
  // In the order of the list: the positive class comes first.
  const label = /^[1-9]$/.test(event.key) ? app.state.listed[Number(event.key) - 1] : undefined;
  if (label !== undefined) {
    show({ active: label });
  } else if (action) {
    action();
  } else {
    return;
  }
  event.preventDefault();
}

function cancel() {
  pointer.start = null;
  dropLasso();
  drawPointed(null);
  if (stop() || app.suggested === null) return;
  show({ suggested: null });
  drawSeeds();
}
