/** What the mouse does on the slide. */

import { svg } from "./dom.js";
import { drawPointed, drawSeeds } from "./overlay.js";
import { stop } from "./requests.js";
import { PAINTS, cancelPainting } from "./painting.js";
import { dropPart, takePart } from "./parts.js";
import { seed } from "./seeding.js";
import { app, isBlind, isOutlining, isSeeding, layer, memory, show, tell } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { CanvasEvent, Point } from "./viewer.js" */

const DRAG_TOLERANCE = 6; // screen pixels that a click may wander before it is a drag

let restore = () => {};

/** While clicks seed, or a check asks, TissUUmaps opens no tooltips at them, which tell the label. */
export function mute() {
  restore();
  restore = isSeeding() || isBlind() ? viewer.muteTooltips() : () => {};
}

export function unmute() {
  restore();
  restore = () => {};
}

const space = memory(() => ({ isHeld: false, isUsed: false })); // used: the slide was moved by it

export function holdSpace() {
  space.isHeld = true;
  space.isUsed = false;
}

/** Returns whether the key was pressed for itself. */
export function releaseSpace() {
  const { isHeld, isUsed } = space;
  space.isHeld = false;
  return isHeld && !isUsed;
}

/** What a click does once the browser has counted it, which is after the release. @type {() => void} */
let clicked = () => {};

/** @param {MouseEvent} event */
export function onClick(event) {
  if (event.detail < 2) clicked(); // the second of a double click would take the seed of the first back
  clicked = () => {};
}

const pointer = memory(() => ({
  start: /** @type {Point | null} */ (null), lasso: /** @type {Point[] | null} */ (null), line: /** @type {SVGElement | null} */ (null),
  isSpent: false, // whether what the rest of a drag would do was taken back
}));

export function dropLasso() {
  pointer.line?.remove();
  pointer.lasso = pointer.line = null;
}

/** @type {Record<string, (event: CanvasEvent) => void>} */
export const mouse = {
  "canvas-press": (event) => {
    dropLasso();
    Object.assign(pointer, { start: null, isSpent: false });
    clicked = () => {};
    const button = event.originalEvent?.button ?? 0;
    space.isUsed ||= space.isHeld;
    const isShifted = event.originalEvent?.shiftKey;
    if (isShifted && PAINTS.includes(app.tool) && !isOutlining()) return; // painting.js
    if (button !== 0 || space.isHeld || !(isSeeding() || isOutlining()) || viewer.isDrawingRegions()) return;
    pointer.start = event.position.clone();
    if (!isShifted && !isOutlining()) return;
    pointer.lasso = [pointer.start];
    pointer.line = svg("svg", { class: "sic-lasso" });
    pointer.line.append(svg("polygon", { points: "" }));
    viewer.container().append(pointer.line);
  },
  "canvas-drag": (event) => {
    if (pointer.isSpent) event.preventDefaultAction = true; // nor does it move the slide
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
    if (!start || !(isSeeding() || isOutlining())) return; // the slide was bare meanwhile, say
    if (lasso && start.distanceTo(event.position) + lasso.length > DRAG_TOLERANCE + 1) {
      const line = lasso.map(viewer.toImage);
      if (isOutlining()) {
        takePart(line);
        return;
      }
      const rows = layer().grid.within([line]);
      if (rows.length) seed(rows);
      else tell("No patch has its centre inside; draw around more");
      return;
    }
    if (isOutlining()) return;
    const row = layer().grid.at(viewer.toImage(start));
    clicked = () => { if (row === null) tell("There is no patch here"); else seed([row]); };
  },
};

/** @param {Point} a @param {Point} b */
function corners(a, b) {
  const at = (/** @type {number} */ x, /** @type {number} */ y) => Object.assign(a.clone(), { x, y });
  return [a, at(b.x, a.y), b, at(a.x, b.y)];
}

/** Take back what is being drawn, and what the rest of its drag would do; returns whether there was something. */
export function cancelDrag() {
  const wasDrawn = pointer.lasso !== null, was = cancelPainting() || wasDrawn;
  pointer.start = null;
  dropLasso();
  if (wasDrawn) tell("Taken back");
  pointer.isSpent ||= was;
  return was;
}

/** Whether Esc would let go of something that is under way, told or chosen. */
export const isUnderWay = () => Boolean(app.busy || app.error || app.part || app.noted !== null || app.suggested !== null);

/** Let go of what is under way or marked. */
export function cancel() {
  pointer.start = null;
  drawPointed(null);
  if (stop()) return;
  const wasSuggested = app.suggested !== null;
  dropPart();
  show({ suggested: null, error: "", noted: null, ...(wasSuggested ? { status: "" } : {}) });
  if (wasSuggested) drawSeeds();
}
