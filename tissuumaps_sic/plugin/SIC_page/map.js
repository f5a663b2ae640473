/** The feature space beside the slide: each patch a point of the UMAP, alike ones together. */

import { seed } from "./actions.js";
import { button, html } from "./dom.js";
import { holds } from "./grid.js";
import { drawPointed } from "./overlay.js";
import { shadeOf, shadedBy } from "./shading.js";
import { app, point, seededLabels, tell } from "./state.js";
import * as viewer from "./viewer.js";

const SIDE = 360; // CSS pixels
const MARGIN = 14;
const NEAR = 8; // CSS pixels within which a point is pointed at
const DRAG = 4;
const MOST_RINGS = 500; // seeds that are marked

let box = null;
// What lies below is drawn seldom, since it has every patch; what moves with the pointer lies above.
let points = null;
let canvas = null;
let drawnOf = []; // what the points were drawn of
let zoom = 1;
let shift = { x: 0, y: 0 }; // of the left upper corner, in shares of the UMAP
let gesture = null;

/** Show the map as it is now, or none. */
export function renderMap() {
  if (!app.mapOpen || !app.map) {
    closeMap();
    return;
  }
  if (!box) {
    box = make();
    viewer.container().parentElement.append(box);
    goHome();
  }
  draw();
}

export function closeMap() {
  box?.remove();
  box = points = canvas = gesture = null;
  drawnOf = [];
}

/** Follow what is pointed at on the slide. */
export function pointOnMap() {
  if (box) drawMarks();
}

function make() {
  points = html("canvas", { id: "sic-map-points", "aria-hidden": "true" });
  canvas = html("canvas", { id: "sic-map-canvas", tabindex: 0, role: "img",
    title: "Each patch by what it is like. Wheel: zoom; drag: move; Shift-drag: seed; click: go there; "
      + "double click: all of it",
    "aria-label": "UMAP of the patches" });
  canvas.addEventListener("wheel", onWheel, { passive: false });
  canvas.addEventListener("pointerdown", onDown);
  canvas.addEventListener("pointermove", onMove);
  canvas.addEventListener("pointerup", onUp);
  canvas.addEventListener("pointerleave", () => { if (!gesture) onPointed(null); });
  canvas.addEventListener("dblclick", () => { goHome(); draw(); });
  const close = button("×", "Close the map", () => { app.mapOpen = false; closeMap(); tell(""); }, { id: "sic-map-close" });
  return html("div", { id: "sic-map", class: "sic-map" },
    html("div", { class: "sic-map-head" }, html("b", {}, "Feature space (UMAP)"), close),
    html("div", { class: "sic-map-plot" }, points, canvas));
}

function goHome() {
  zoom = 1;
  shift = { x: 0, y: 0 };
}

const scale = () => (SIDE - 2 * MARGIN) * zoom;
const toScreen = (row) => ({
  x: MARGIN + (app.map.places[2 * row] - shift.x) * scale(),
  y: MARGIN + (app.map.places[2 * row + 1] - shift.y) * scale(),
});

/** What else the points are coloured by, as the slide is now. */
const labelled = () => (app.view === "labels" ? app.labels : null);
const classColors = () => app.state.run?.classes.map((each) => each.color) ?? [];

const packed = (red, green, blue) => (255 << 24) | (blue << 16) | (green << 8) | red;
const parsed = (color) => packed(...[1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));

/** Colours of the points as a canvas keeps them. */
function colors() {
  const n = app.state.n_patches, shares = shadedBy(), labels = labelled(), rgb = app.map.colors;
  const out = new Int32Array(n);
  if (shares) {
    const known = new Map();
    for (let row = 0; row < n; row++) {
      const color = shadeOf(shares[row]);
      if (!known.has(color)) known.set(color, parsed(color));
      out[row] = known.get(color);
    }
  } else if (labels) {
    const ofClass = Int32Array.from(classColors(), parsed);
    for (let row = 0; row < n; row++) out[row] = ofClass[labels[row]];
  } else {
    for (let row = 0; row < n; row++) out[row] = packed(rgb[3 * row], rgb[3 * row + 1], rgb[3 * row + 2]);
  }
  return out;
}

function draw() {
  const of = [app.map, shadedBy(), labelled(), classColors().join(), zoom, shift.x, shift.y, window.devicePixelRatio];
  if (of.some((each, i) => each !== drawnOf[i])) {
    drawnOf = of;
    drawPoints();
  }
  drawMarks();
}

/** A canvas's context, with the canvas as large as the map, in the pixels of the screen. */
function fresh(of, ratio) {
  const size = Math.round(SIDE * ratio);
  if (of.width !== size) {
    of.width = of.height = size;
    of.style.width = of.style.height = `${SIDE}px`;
  }
  return of.getContext("2d");
}

function drawPoints() {
  const ratio = window.devicePixelRatio || 1;
  const context = fresh(points, ratio), size = points.width;
  const image = context.createImageData(size, size);
  const pixels = new Int32Array(image.data.buffer);
  const color = colors(), n = app.state.n_patches, { places } = app.map;
  // Small where there are many, larger where one has come near.
  const side = Math.max(1, Math.round(ratio * Math.min(7, Math.max(2, Math.sqrt(6000 / n) * 2) * Math.sqrt(zoom))));
  const step = scale() * ratio, offsetX = MARGIN * ratio - shift.x * step - side / 2, offsetY = MARGIN * ratio - shift.y * step - side / 2;
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
  if (seeds.size <= MOST_RINGS) for (const [row, label] of seeds) ring(context, row, 5, app.state.classes[label].color);
  if (app.pointed !== null) ring(context, app.pointed, 7, "#fff");
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

function ring(context, row, radius, color) {
  const { x, y } = toScreen(row);
  for (const [width, stroke] of [[5, "#111"], [2.5, color]]) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.lineWidth = width;
    context.strokeStyle = stroke;
    context.stroke();
  }
}

const placeOf = (event) => {
  const { left, top } = canvas.getBoundingClientRect();
  return { x: event.clientX - left, y: event.clientY - top };
};

function nearest(place) {
  let best = null, least = NEAR ** 2;
  const { places } = app.map, step = scale();
  const x = place.x - MARGIN + shift.x * step, y = place.y - MARGIN + shift.y * step;
  for (let row = 0; row < app.state.n_patches; row++) {
    const distance = (places[2 * row] * step - x) ** 2 + (places[2 * row + 1] * step - y) ** 2;
    if (distance < least) { best = row; least = distance; }
  }
  return best;
}

function onPointed(row) {
  point(row);
  drawPointed(row);
}

function onWheel(event) {
  event.preventDefault();
  const place = placeOf(event);
  const before = scale();
  zoom = Math.min(200, Math.max(1, zoom * 1.0015 ** -event.deltaY));
  // What is under the pointer stays there.
  shift.x += (place.x - MARGIN) * (1 / before - 1 / scale());
  shift.y += (place.y - MARGIN) * (1 / before - 1 / scale());
  if (zoom === 1) goHome();
  draw();
}

function onDown(event) {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  const start = placeOf(event);
  gesture = { start, last: start, moved: false, lasso: event.shiftKey && app.seeding ? [start] : null };
}

function onMove(event) {
  const place = placeOf(event);
  if (!gesture) {
    onPointed(nearest(place));
    return;
  }
  gesture.moved ||= Math.hypot(place.x - gesture.start.x, place.y - gesture.start.y) > DRAG;
  if (gesture.lasso) gesture.lasso.push(place);
  else if (gesture.moved) {
    shift.x -= (place.x - gesture.last.x) / scale();
    shift.y -= (place.y - gesture.last.y) / scale();
  }
  gesture.last = place;
  draw();
}

function onUp() {
  if (!gesture) return;
  const { start, lasso, moved } = gesture;
  gesture = null;
  if (lasso && moved) {
    const rows = [];
    for (let row = 0; row < app.state.n_patches; row++) {
      const { x, y } = toScreen(row);
      if (holds(lasso, x, y)) rows.push(row);
    }
    if (rows.length) seed(rows);
    else tell("No patch lies inside");
  } else if (!moved) {
    const row = nearest(start);
    if (row !== null && lasso) seed([row]);
    else if (row !== null) viewer.lookAt(app.grid.x[row], app.grid.y[row]);
  }
  draw();
}
