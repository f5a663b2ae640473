/** The map beside the slide: each patch a point of the UMAP, alike ones together. */

import { button, html } from "./dom.js";
import { holds } from "./grid.js";
import { drawPointed } from "./overlay.js";
import { seed } from "./seeding.js";
import { shadedBy, shader } from "./shading.js";
import { backingOf } from "./signs.js";
import { app, current, isBlind, isSeeding, layer, memory, seededLabels, subscribe, tell, update } from "./state.js";
import * as viewer from "./viewer.js";
import { toggleMap } from "./views.js";

/** @import { Layout } from "./server.js" */
/** @import { Place } from "./grid.js" */

const LEAST = 160, FIRST = 300; // CSS pixels of a side
const MARGIN = 14;
const NEAR = 8; // CSS pixels within which a point is pointed at
const DRAG = 4;
const STEP = 0.15, NEARER = 1.3; // of keys: in shares of the map, and by how much
const MOST_RINGS = 500; // seeds that are marked

/** @type {HTMLElement | null} */
let box = null;
// What lies below is drawn seldom, since it has every patch; what moves with the pointer lies above.
/** @type {HTMLCanvasElement} */
let points;
/** @type {HTMLCanvasElement} */
let canvas;
/** @type {unknown[]} */
let drawnOf = []; // what the points were drawn of
const own = memory(() => ({ edge: FIRST, movedTo: /** @type {{ left: number, top: number } | null} */ (null), zoom: 1, shift: { x: 0, y: 0 } })); // movedTo:
// where the person has put it; shift: of the left upper corner, in shares of the UMAP
/** @type {{ start: Place, last: Place, moved: boolean, lasso: Place[] | null } | null} */
let gesture = null;

/** Show the map while it is open, and what is pointed at on the slide; returns how to stop that. */
export function followMap() {
  const stops = [
    subscribe(() => [isOpen(), ...isOpen()
      ? [app.map, app.view, app.labels, shadedBy(app), app.state?.seeds, app.state?.classes, app.state?.run] : []], showMap),
    subscribe(() => [app.pointed], () => { if (box) drawMarks(); }, true),
  ];
  return () => { for (const stop of stops) stop(); };
}

// It tells by colours and by place what a patch is like, which a check must not.
const isOpen = () => app.mapOpen && !isBlind();

/** Show the map as it is now, or none. */
function showMap() {
  if (!isOpen() || !app.map || !app.state) {
    closeMap();
    return;
  }
  if (!box) {
    box = make();
    viewer.stage().append(box);
    putAt(own.movedTo);
    goHome();
  }
  draw();
}

/** Take back what is being drawn around points; returns whether there was something. */
export function cancelMapDrag() {
  if (!gesture?.lasso) return false;
  gesture = null;
  draw();
  tell("Taken back");
  return true;
}

/** What a key does while the map has the focus; returns whether it is one of the map's. @param {string} key */
export function takeMapKey(key) {
  if (!box || document.activeElement !== canvas) return false;
  /** @type {Record<string, [number, number]>} */
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const middle = { x: own.edge / 2, y: own.edge / 2 };
  if (key in steps) {
    const [across, down] = steps[key], by = (STEP * own.edge) / scale();
    own.shift = { x: own.shift.x + across * by, y: own.shift.y + down * by };
  } else if (key === "+" || key === "=") zoomAt(middle, NEARER);
  else if (key === "-") zoomAt(middle, 1 / NEARER);
  else return false;
  draw();
  return true;
}

export function closeMap() {
  viewer.takeAway(box);
  box = gesture = null;
  drawnOf = [];
}

const layout = () => /** @type {Layout} */ (app.map);

function make() {
  points = html("canvas", { id: "sic-map-points", "aria-hidden": "true" });
  canvas = html("canvas", { id: "sic-map-canvas", tabindex: 0, role: "application", "aria-description": "Arrows move it, plus and minus make it larger and smaller",
    title: "Each patch by what it is like. Wheel, + and -: zoom; drag, arrows: move; Shift-drag: seed; click: go there; "
      + "double click: all of it",
    "aria-label": "UMAP of the patches" });
  canvas.addEventListener("wheel", onWheel, { passive: false });
  canvas.addEventListener("pointerdown", onDown);
  canvas.addEventListener("pointermove", onMove);
  canvas.addEventListener("pointerup", onUp);
  canvas.addEventListener("pointerleave", () => { if (!gesture) onPointed(null); });
  canvas.addEventListener("dblclick", () => { goHome(); draw(); });
  const close = button("×", "Close the map (M)", toggleMap, { id: "sic-map-close", "aria-label": "Close the map" });
  const head = html("div", { class: "sic-map-head", title: "Drag to move; the lower right corner makes it larger" },
    html("b", {}, "Map of the patches (UMAP)"), close);
  head.addEventListener("pointerdown", onGrip);
  const plot = html("div", { class: "sic-map-plot", style: `width: ${own.edge}px; height: ${own.edge}px` }, points, canvas);
  new ResizeObserver(() => {
    const wanted = Math.max(LEAST, Math.round(Math.min(plot.clientWidth, plot.clientHeight)));
    if (wanted === own.edge || !box) return;
    own.edge = wanted;
    draw();
  }).observe(plot);
  return html("div", { id: "sic-map", class: "sic sic-map" }, head, plot);
}

/** Put the map somewhere over the slide, or where it is at first. @param {{ left: number, top: number } | null} at */
function putAt(at) {
  const within = viewer.stage();
  if (!box || !at) return;
  const left = Math.max(0, Math.min(at.left, within.clientWidth - 60)), top = Math.max(0, Math.min(at.top, within.clientHeight - 40));
  Object.assign(box.style, { left: `${left}px`, top: `${top}px`, right: "auto", bottom: "auto" });
  own.movedTo = { left, top };
}

/** Move the map by its head. @param {PointerEvent} event */
function onGrip(event) {
  if (!box || /** @type {Element} */ (event.target).closest("button")) return;
  const head = /** @type {HTMLElement} */ (event.currentTarget), { offsetLeft, offsetTop } = box;
  const follow = (/** @type {PointerEvent} */ each) =>
    putAt({ left: offsetLeft + each.clientX - event.clientX, top: offsetTop + each.clientY - event.clientY });
  head.setPointerCapture(event.pointerId);
  head.addEventListener("pointermove", follow);
  head.addEventListener("pointerup", () => head.removeEventListener("pointermove", follow), { once: true });
}

function goHome() {
  own.zoom = 1;
  own.shift = { x: 0, y: 0 };
}

const scale = () => (own.edge - 2 * MARGIN) * own.zoom;
/** @param {number} row */
const toScreen = (row) => ({
  x: MARGIN + (layout().places[2 * row] - own.shift.x) * scale(),
  y: MARGIN + (layout().places[2 * row + 1] - own.shift.y) * scale(),
});

/** What else the points are coloured by, as the slide is now. */
const labelled = () => (app.view === "labels" ? app.labels : null);
const classColors = () => current().run?.classes.map((each) => each.color) ?? [];

/** @param {number} red @param {number} green @param {number} blue */
const pack = (red, green, blue) => (255 << 24) | (blue << 16) | (green << 8) | red;
/** @param {string} color */
function parse(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return pack(red, green, blue);
}

/** Colours of the points as a canvas keeps them. */
function colors() {
  const n = current().n_patches, labels = labelled(), rgb = layout().colors, shade = shader(app, app.labels, current().run?.classes ?? []);
  const out = new Int32Array(n);
  if (shade) {
    /** @type {Map<string, number>} */
    const known = new Map();
    for (let row = 0; row < n; row++) {
      const color = shade(row);
      out[row] = known.get(color) ?? parse(color);
      known.set(color, out[row]);
    }
  } else if (labels) {
    const ofClass = Int32Array.from(classColors(), parse);
    for (let row = 0; row < n; row++) out[row] = ofClass[labels[row]];
  } else {
    for (let row = 0; row < n; row++) out[row] = pack(rgb[3 * row], rgb[3 * row + 1], rgb[3 * row + 2]);
  }
  return out;
}

function draw() {
  const of = [app.map, shadedBy(app), labelled(), classColors().join(), own.edge, own.zoom, own.shift.x, own.shift.y, window.devicePixelRatio];
  if (of.some((each, i) => each !== drawnOf[i])) {
    drawnOf = of;
    drawPoints();
  }
  drawMarks();
}

/** A canvas's context, with the canvas as large as the map, in the pixels of the screen. @param {HTMLCanvasElement} of @param {number} ratio */
function fresh(of, ratio) {
  const size = Math.round(own.edge * ratio);
  if (of.width !== size || of.height !== size) { // a canvas is 300 by 150 from birth
    of.width = of.height = size;
    of.style.width = of.style.height = `${own.edge}px`;
  }
  return viewer.contextOf(of);
}

function drawPoints() {
  const ratio = window.devicePixelRatio || 1;
  const context = fresh(points, ratio), size = points.width;
  const image = context.createImageData(size, size);
  const pixels = new Int32Array(image.data.buffer);
  const color = colors(), n = current().n_patches, { places } = layout();
  // Small where there are many, larger where one has come near.
  const side = Math.max(1, Math.round(ratio * Math.min(7, Math.max(2, Math.sqrt(6000 / n) * 2) * Math.sqrt(own.zoom))));
  const step = scale() * ratio, offsetX = MARGIN * ratio - own.shift.x * step - side / 2, offsetY = MARGIN * ratio - own.shift.y * step - side / 2;
  for (let row = 0; row < n; row++) {
    const left = Math.round(offsetX + places[2 * row] * step), top = Math.round(offsetY + places[2 * row + 1] * step);
    if (left < 0 || top < 0 || left + side > size || top + side > size) continue;
    for (let line = top; line < top + side; line++) {
      for (let at = line * size + left, end = at + side; at < end; at++) pixels[at] = color[row];
    }
  }
  context.putImageData(image, 0, 0);
}

function drawMarks() {
  const ratio = window.devicePixelRatio || 1;
  const context = fresh(canvas, ratio);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const seeds = seededLabels();
  // Of a lasso's thousands rings would hide the map.
  if (seeds.size <= MOST_RINGS) for (const [row, label] of seeds) ring(context, row, 5, current().classes[label].color);
  if (app.pointed !== null) ring(context, app.pointed, 7, "#ffffff");
  if (gesture?.lasso) {
    context.beginPath();
    for (const { x, y } of gesture.lasso) context.lineTo(x, y);
    context.closePath();
    context.setLineDash([5, 3]);
    context.strokeStyle = "#111";
    context.lineWidth = 1.5;
    context.stroke();
    context.setLineDash([]);
  }
}

/** @param {CanvasRenderingContext2D} context @param {number} row @param {number} radius @param {string} color */
function ring(context, row, radius, color) {
  const { x, y } = toScreen(row);
  for (const [width, stroke] of /** @type {[number, string][]} */ ([[5, backingOf(color)], [2.5, color]])) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.lineWidth = width;
    context.strokeStyle = stroke;
    context.stroke();
  }
}

/** @param {MouseEvent} event */
const placeOf = (event) => {
  const { left, top } = canvas.getBoundingClientRect();
  return { x: event.clientX - left, y: event.clientY - top };
};

/** @param {Place} place */
function nearest(place) {
  /** @type {number | null} */
  let best = null;
  let least = NEAR ** 2;
  const { places } = layout(), step = scale();
  const x = place.x - MARGIN + own.shift.x * step, y = place.y - MARGIN + own.shift.y * step;
  for (let row = 0; row < current().n_patches; row++) {
    const distance = (places[2 * row] * step - x) ** 2 + (places[2 * row + 1] * step - y) ** 2;
    if (distance < least) { best = row; least = distance; }
  }
  return best;
}

/** @param {number | null} row */
function onPointed(row) {
  update({ pointed: row });
  drawPointed(row);
}

/** @param {WheelEvent} event */
function onWheel(event) {
  event.preventDefault();
  zoomAt(placeOf(event), 1.0015 ** -event.deltaY);
  draw();
}

/** Come nearer, or go farther; what is at a place of the map stays there. @param {Place} place @param {number} factor */
function zoomAt(place, factor) {
  const before = scale();
  own.zoom = Math.min(200, Math.max(1, own.zoom * factor));
  own.shift.x += (place.x - MARGIN) * (1 / before - 1 / scale());
  own.shift.y += (place.y - MARGIN) * (1 / before - 1 / scale());
  if (own.zoom === 1) goHome();
}

/** @param {PointerEvent} event */
function onDown(event) {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  const start = placeOf(event);
  gesture = { start, last: start, moved: false, lasso: event.shiftKey && isSeeding() ? [start] : null };
}

/** @param {PointerEvent} event */
function onMove(event) {
  const place = placeOf(event);
  if (!gesture) {
    onPointed(nearest(place));
    return;
  }
  gesture.moved ||= Math.hypot(place.x - gesture.start.x, place.y - gesture.start.y) > DRAG;
  if (gesture.lasso) gesture.lasso.push(place);
  else if (gesture.moved) {
    own.shift.x -= (place.x - gesture.last.x) / scale();
    own.shift.y -= (place.y - gesture.last.y) / scale();
  }
  gesture.last = place;
  draw();
}

function onUp() {
  if (!gesture) return;
  const { start, lasso, moved } = gesture;
  gesture = null;
  if (lasso && moved) {
    /** @type {number[]} */
    const rows = [];
    for (let row = 0; row < current().n_patches; row++) {
      const { x, y } = toScreen(row);
      if (holds(lasso, x, y)) rows.push(row);
    }
    if (rows.length) seed(rows);
    else tell("No patch lies inside; draw around some points");
  } else if (!moved) {
    const row = nearest(start);
    if (row !== null && lasso) seed([row]);
    else if (row !== null) viewer.lookAt(layer().grid.x[row], layer().grid.y[row]);
  }
  draw();
}
