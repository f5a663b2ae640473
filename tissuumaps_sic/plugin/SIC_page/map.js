/** The feature space beside the slide: each patch a point of the UMAP, alike ones together. */

import { seed } from "./actions.js";
import { button, html } from "./dom.js";
import { holds } from "./grid.js";
import { drawPointed } from "./overlay.js";
import { shade } from "./ramp.js";
import { app, point, seededLabels, tell } from "./state.js";
import * as viewer from "./viewer.js";

const SIDE = 360; // CSS pixels
const MARGIN = 14;
const NEAR = 8; // CSS pixels within which a point is pointed at
const DRAG = 4;

let box = null;
let canvas = null;
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
  box = canvas = gesture = null;
}

/** Follow what is pointed at on the slide. */
export function pointOnMap() {
  if (box) draw();
}

function make() {
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
    html("div", { class: "sic-map-head" }, html("b", {}, "Feature space (UMAP)"), close), canvas);
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

/** Colours of the points, as the slide has them now: red, green, blue of each. */
function colors() {
  const n = app.state.n_patches;
  const shaded = { confidence: app.scores?.own, tissue: app.map.tissue, unlike: app.unlike?.rows }[app.view];
  const out = new Uint8Array(3 * n);
  const parsed = new Map();
  const put = (row, color) => {
    if (!parsed.has(color)) parsed.set(color, [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));
    out.set(parsed.get(color), 3 * row);
  };
  if (shaded) for (let row = 0; row < n; row++) put(row, shade(shaded[row]));
  else if (app.view === "labels" && app.labels) {
    const { classes } = app.state.run;
    for (let row = 0; row < n; row++) put(row, classes[app.labels[row]].color);
  } else return app.map.colors;
  return out;
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  const size = Math.round(SIDE * ratio);
  if (canvas.width !== size) {
    canvas.width = canvas.height = size;
    canvas.style.width = canvas.style.height = `${SIDE}px`;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  const pixels = new Uint32Array(image.data.buffer);
  const rgb = colors(), n = app.state.n_patches;
  // Small where there are many, larger where one has come near.
  const side = Math.max(1, Math.round(ratio * Math.min(7, Math.max(2, Math.sqrt(6000 / n) * 2) * Math.sqrt(zoom))));
  for (let row = 0; row < n; row++) {
    const { x, y } = toScreen(row);
    const left = Math.round(x * ratio - side / 2), top = Math.round(y * ratio - side / 2);
    if (left < 0 || top < 0 || left + side > size || top + side > size) continue;
    const color = (255 << 24) | (rgb[3 * row + 2] << 16) | (rgb[3 * row + 1] << 8) | rgb[3 * row];
    for (let line = top; line < top + side; line++) pixels.fill(color, line * size + left, line * size + left + side);
  }
  context.putImageData(image, 0, 0);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  for (const [row, label] of seededLabels()) ring(context, row, 5, app.state.classes[label].color);
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
  for (let row = 0; row < app.state.n_patches; row++) {
    const { x, y } = toScreen(row);
    const distance = (x - place.x) ** 2 + (y - place.y) ** 2;
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
