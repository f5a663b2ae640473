/** Painting on the slide: a brush, an eraser, and the wand that lights up what is like a patch. */

import { cover, resize } from "./brush.js";
import { html, svg, tellCount } from "./dom.js";
import { attempt } from "./requests.js";
import { change } from "./runs.js";
import * as server from "./server.js";
import { app, current, isSeeding, layer, request, seededLabels, show, subscribe, tell } from "./state.js";
import { backingOf } from "./signs.js";
import * as viewer from "./viewer.js";
import { light, separate } from "./wand.js";
import { seedAs } from "./seeding.js";

/** @import { CanvasEvent, Place } from "./viewer.js" */
/** @import { Alike } from "./wand.js" */

export const PAINTS = ["brush", "eraser", "wand"]; // of the tools, those that are handled here

/**
 * @typedef {{ tool: string, label: number, from: Place, line: Place[], rows: Set<number>, patch: number,
 *   alike: Promise<Alike | null> | null, found: Alike | null, dragged: number }} Stroke
 */
/** @type {Stroke | null} */
let stroke = null;
/** @type {SVGElement | null} */
let lit = null;
/** @type {HTMLElement | null} */
let ring = null;

/** Whether Shift-drag paints just now. */
const isPainting = () => PAINTS.includes(app.tool) && isSeeding() && !viewer.isDrawingRegions();

const colorOf = (/** @type {Pick<Stroke, "tool" | "label">} */ { tool, label }) => (tool === "eraser" ? "#ffffff" : current().classes[label].color);

/** @type {Record<string, (event: CanvasEvent) => void>} */
const mouse = {
  "canvas-press": ({ position, originalEvent }) => {
    drop();
    if ((originalEvent?.button ?? 0) !== 0 || !originalEvent?.shiftKey || !isPainting()) return;
    const from = viewer.toImage(position);
    stroke = { tool: app.tool, label: app.active, from, line: [from], rows: new Set(), patch: -1, alike: null, found: null, dragged: 0 };
    lit = svg("path", { id: "SIC_painted", "pointer-events": "none", fill: colorOf(stroke), "fill-opacity": 0.5,
      stroke: "#111", "stroke-width": 1, "vector-effect": "non-scaling-stroke" });
    viewer.overlay().append(lit);
    if (app.tool === "wand") wave(stroke);
    else paint(stroke, from);
  },
  "canvas-drag": (event) => {
    if (!stroke) return;
    event.preventDefaultAction = true;
    const here = viewer.toImage(event.position);
    if (stroke.tool !== "wand") {
      paint(stroke, here);
      return;
    }
    stroke.dragged = Math.hypot(here.x - stroke.from.x, here.y - stroke.from.y);
    relight(stroke);
  },
  "canvas-release": () => {
    if (!stroke) return;
    const done = stroke;
    if (done.tool === "wand") finishWand(done);
    else finishPaint(done);
  },
};

/** @param {Stroke} of @param {Place} here */
function paint(of, here) {
  const { grid } = layer(), last = of.line[of.line.length - 1];
  of.line.push(here);
  for (const row of cover(grid, [last, here], app.brush)) of.rows.add(row);
  draw(of.tool === "eraser" ? [...of.rows].filter((row) => seededLabels().has(row)) : [...of.rows]);
}

/** Ask once how alike the patches around the pressed one are; every move then chooses among them here. @param {Stroke} of */
function wave(of) {
  const patch = layer().grid.at(of.from);
  if (patch === null) {
    drop();
    tell("There is no patch here");
    return;
  }
  of.patch = patch;
  of.alike = attempt("No likeness", server.alike(request({ embedding: app.embedding, patch })))
    .then((found) => found && { patch, ...found, least: separate(found.similarities) });
  of.alike.then((found) => {
    of.found = found;
    if (stroke === of) relight(of);
  });
}

/** @param {Stroke} of */
function relight(of) {
  if (!of.found) return;
  of.rows = new Set(light(of.found, layer().grid, of.dragged));
  draw([...of.rows]);
}

/** @param {Stroke} of */
async function finishWand(of) {
  const found = of.found ?? await of.alike;
  if (stroke !== of) return; // taken back meanwhile
  drop();
  if (!found) tell("The server did not tell what is alike. Is it still running? Try again");
  else seedAs(light(found, layer().grid, of.dragged), of.label);
}

/** @param {Stroke} of */
function finishPaint(of) {
  drop();
  const rows = of.tool === "eraser" ? [...of.rows].filter((row) => seededLabels().has(row)) : [...of.rows];
  if (!rows.length) tell(of.tool === "eraser" ? "No seed lies under the eraser" : "No patch lies under the brush");
  else if (of.tool === "brush") seedAs(rows, of.label);
  else change(() => ({ kind: "seed", label: null, patches: rows }), `${tellCount(rows.length, "seed")} erased; Undo brings ${rows.length === 1 ? "it" : "them"} back`);
}

/** Light up patches. @param {number[]} rows */
function draw(rows) {
  const { x, y, spacing } = layer().grid, origin = viewer.toViewport(0, 0), unit = viewer.toViewport(1, 1);
  const [across, down] = [unit.x - origin.x, unit.y - origin.y], half = spacing / 2;
  lit?.setAttribute("d", rows.map((row) => `M${origin.x + (x[row] - half) * across} ${origin.y + (y[row] - half) * down}`
    + `h${spacing * across}v${spacing * down}h${-spacing * across}z`).join(""));
}

function drop() {
  lit?.remove();
  stroke = lit = null;
}

/** @param {number} by */
export function resizeBrush(by) {
  show({ brush: resize(app.brush, by) });
  tell(`Brush: ${tellCount(app.brush, "patch", "patches")} across`);
}

/** @param {WheelEvent} event */
function onWheel(event) {
  if (!event.shiftKey || !isPainting() || app.tool === "wand") return;
  event.preventDefault();
  event.stopPropagation();
  // With Shift some browsers tell of a wheel that it goes sideways.
  const turn = event.deltaY || event.deltaX;
  if (turn) resizeBrush(turn < 0 ? 1 : -1);
}

/** Show how large the brush is, while Shift is held. @param {PointerEvent} event */
function onMove(event) {
  if (!ring) return;
  ring.hidden = !event.shiftKey || !isPainting() || app.tool === "wand";
  if (ring.hidden) return;
  const box = viewer.container().getBoundingClientRect();
  const side = (app.brush * layer().grid.spacing) / viewer.viewBox().scale, color = colorOf({ tool: app.tool, label: app.active });
  Object.assign(ring.style, {
    width: `${side}px`, height: `${side}px`, borderColor: color, outlineColor: backingOf(color),
    transform: `translate(${event.clientX - box.left - side / 2}px, ${event.clientY - box.top - side / 2}px)`,
  });
}

/** Take a stroke back; returns whether there was one. */
export function cancelPainting() {
  const was = stroke !== null;
  drop();
  if (was) tell("Taken back");
  return was;
}

/** Let Shift-drag paint; returns how to stop that. */
export function followPainting() {
  const around = /** @type {HTMLElement} */ (viewer.container().parentElement);
  ring = html("div", { class: "sic-brush", hidden: true, "aria-hidden": "true" });
  around.append(ring);
  viewer.on(mouse);
  around.addEventListener("wheel", onWheel, { capture: true, passive: false });
  viewer.container().addEventListener("pointermove", onMove);
  const stop = subscribe(() => [app.seedsHidden, app.state?.slide], () => {
    viewer.overlay().classList.toggle("sic-no-seeds", app.seedsHidden);
  });
  return () => {
    drop();
    stop();
    viewer.off(mouse);
    viewer.overlay().classList.remove("sic-no-seeds");
    around.removeEventListener("wheel", onWheel, { capture: true });
    viewer.container().removeEventListener("pointermove", onMove);
    ring?.remove();
    ring = null;
  };
}

export function toggleSeeds() {
  show({ seedsHidden: !app.seedsHidden });
  tell(app.seedsHidden ? "Seeds are hidden; I shows them again" : "Seeds are shown");
}
