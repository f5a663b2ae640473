/** What is drawn over the slide: seeds, the patch that is pointed at, outlines. */

import { svg } from "./dom.js";
import { isFineView, labelsOf, mosaic } from "./maps.js";
import { ofGrid, ofMosaic, outline } from "./outlines.js";
import { backingOf, dashOf, signOf } from "./signs.js";
import { app, current, doubtfulSeeds, field, isBlind, isSeeding, layer, seededLabels, subscribe } from "./state.js";
import * as viewer from "./viewer.js";

const MOST_SQUARES = 1000; // seeds that are drawn one by one

export function clearSeeds() {
  viewer.overlay().querySelector("#SIC_seeds")?.remove();
}

/** Mark the patch that is pointed at on the map. @param {number | null} row */
export function drawPointed(row) {
  viewer.overlay().querySelector("#SIC_pointed")?.remove();
  if (row === null) return;
  const place = square(row);
  const group = svg("g", { id: "SIC_pointed", "pointer-events": "none", "data-patch": row });
  group.append(
    svg("rect", { ...place, stroke: "#111", "stroke-width": 5 }),
    svg("rect", { ...place, stroke: "#fff", "stroke-width": 2 }));
  viewer.overlay().append(group);
}

/** While clicks seed, frame the patch that one would seed, and around it what the network saw; returns how to stop. */
export const followFrame = () => subscribe(
  () => [isSeeding() ? app.pointed : null, app.active, app.state?.classes, app.embedding], drawFrame, true);

function drawFrame() {
  clearFrame();
  if (app.pointed === null || !isSeeding()) return;
  const color = current().classes[app.active]?.color ?? "#fff", frame = square(app.pointed);
  const group = svg("g", { id: "SIC_frame", "pointer-events": "none", "data-patch": app.pointed });
  const { width, height } = field();
  if (width > layer().grid.spacing) {
    const seen = square(app.pointed, width, height);
    group.append(
      svg("rect", { ...seen, stroke: "#111", "stroke-width": 2, opacity: 0.5, class: "sic-field" }),
      svg("rect", { ...seen, stroke: "#fff", "stroke-width": 1, opacity: 0.9, "stroke-dasharray": "4 4" }));
  }
  group.append(
    svg("rect", { ...frame, stroke: "#fff", "stroke-width": 5, opacity: 0.8, class: "sic-frame" }),
    svg("rect", { ...frame, stroke: color, "stroke-width": 2.5 }));
  viewer.overlay().append(group);
}

export function clearFrame() {
  viewer.overlay().querySelector("#SIC_frame")?.remove();
}

/**
 * Attributes of a square of the slide around a patch's centre; the patch's own, where its size is not given.
 * @param {number} row
 * @param {number} [width]
 * @param {number} [height]
 */
function square(row, width = layer().grid.spacing, height = width) {
  const { x, y } = layer().grid;
  const corner = viewer.toViewport(x[row] - width / 2, y[row] - height / 2);
  const opposite = viewer.toViewport(x[row] + width / 2, y[row] + height / 2);
  return {
    x: corner.x, y: corner.y, width: opposite.x - corner.x, height: opposite.y - corner.y,
    fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round",
  };
}

/**
 * Draw the borders of what is seeded with one class, in place of squares that nobody could tell apart.
 * @param {SVGElement} group
 * @param {Map<number, number>} seeds
 */
function drawBorders(group, seeds) {
  const { grid } = layer(), half = grid.spacing / 2;
  const sides = [[-1, 0], [1, 0], [0, -1], [0, 1]];
  /** @type {Map<number, string[]>} */
  const paths = new Map();
  const corner = viewer.toViewport(0, 0), unit = viewer.toViewport(1, 1);
  /** @param {number} x @param {number} y */
  const at = (x, y) => `${corner.x + x * (unit.x - corner.x)} ${corner.y + y * (unit.y - corner.y)}`;
  for (const [row, label] of seeds) {
    const x = grid.x[row], y = grid.y[row];
    for (const [dx, dy] of sides) {
      const beside = grid.at({ x: x + dx * grid.spacing, y: y + dy * grid.spacing });
      if (beside !== null && seeds.get(beside) === label) continue;
      const edges = paths.get(label) ?? [];
      paths.set(label, edges);
      const from = at(x + (dx || -1) * half, y + (dy || -1) * half), to = at(x + (dx || 1) * half, y + (dy || 1) * half);
      edges.push(`M${from}L${to}`);
    }
  }
  const look = { fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linecap": "square" };
  for (const [label, edges] of paths) {
    const d = edges.join("");
    group.append(
      svg("path", { ...look, d, stroke: backingOf(current().classes[label].color), "stroke-width": 6 }),
      svg("path", { ...look, d, stroke: current().classes[label].color, "stroke-width": 3, "data-label": label,
        "stroke-dasharray": dashOf(current().listed.indexOf(label)) }));
  }
}

/** The letter of a class in the square of a seed, where colours do not tell it. @param {ReturnType<typeof square>} place @param {string} sign */
function letter({ x, y, width, height }, sign) {
  if (!sign) return [];
  const text = svg("text", { x: x + width / 2, y: y + height / 2, "font-size": height * 0.7, "text-anchor": "middle",
    "dominant-baseline": "central", fill: "#fff", stroke: "#111", "stroke-width": height * 0.12, "paint-order": "stroke" });
  text.append(sign);
  return [text];
}

/** A ring in the colour of the class that the other seeds say. @param {number} row @param {string} color */
function doubtMark(row, color) {
  const place = square(row), radius = 0.9 * place.width;
  const ring = { cx: place.x + place.width / 2, cy: place.y + place.height / 2, r: radius, fill: "none", "vector-effect": "non-scaling-stroke" };
  return [
    svg("circle", { ...ring, stroke: "#111", "stroke-width": 6 }),
    svg("circle", { ...ring, stroke: "#fff", "stroke-width": 4 }),
    svg("circle", { ...ring, stroke: color, "stroke-width": 2, "data-doubtful": row }),
    ...letter(place, "?")];
}

export function drawSeeds() {
  clearSeeds();
  if (!app.state || app.isClosed || isBlind()) return;
  const group = svg("g", { id: "SIC_seeds", "pointer-events": "none" });
  const seeds = seededLabels(), { classes, listed } = current();
  if (seeds.size > MOST_SQUARES) drawBorders(group, seeds);
  else for (const [row, label] of seeds) {
    const place = square(row);
    group.append(
      svg("rect", { ...place, stroke: backingOf(classes[label].color), "stroke-width": 6 }),
      svg("rect", { ...place, stroke: classes[label].color, "stroke-width": 3,
        "data-patch": row, "data-label": label }),
      ...letter(place, signOf(listed.indexOf(label))));
  }
  for (const { name, patches, isAnswer } of app.unsent) {
    if (isAnswer || patches.length > MOST_SQUARES) continue;
    const color = classes.find((each) => each.name === name)?.color ?? "#ffffff";
    for (const row of patches) {
      group.append(svg("rect", { ...square(row), stroke: backingOf(color), "stroke-width": 5 }),
        svg("rect", { ...square(row), stroke: color, "stroke-width": 3, "stroke-dasharray": "3 3", "data-unsent": row }));
    }
  }
  if (app.seedsOpen) for (const { patch, expected } of doubtfulSeeds()) group.append(...doubtMark(patch, classes[expected].color));
  if (app.suggested !== null) {
    const place = square(app.suggested);
    group.append(
      svg("rect", { ...place, stroke: "#111", "stroke-width": 5 }),
      svg("rect", { ...place, stroke: "#fff", "stroke-width": 3, "stroke-dasharray": "6 4",
        "data-suggested": app.suggested }));
  }
  viewer.overlay().append(group);
}

/** Outlines by the labels that they are of, kept since views come and go. @type {WeakMap<Uint8Array, import("./outlines.js").Outline[]>} */
const outlines = new WeakMap();

/** The outlines of the labels, by cell or by patch. @param {Uint8Array} labels */
function outlinesOf(labels) {
  const each = labelsOf(labels, app.cells), known = outlines.get(each);
  if (known) return known;
  const squares = mosaic(isFineView()), made = outline(squares ? ofMosaic(squares, layer().factor) : ofGrid(layer().grid), each);
  outlines.set(each, made);
  return made;
}

/** Draw the lines inside the border of each class, in the view of that name; in others none. */
export function drawOutlines() {
  clearOutlines();
  const { labels } = app, classes = app.state?.run?.classes;
  if (app.isClosed || isBlind() || app.view !== "outlines" || !labels || !classes) return;
  const group = svg("g", { id: "SIC_outlines", "pointer-events": "none" });
  const corner = viewer.toViewport(0, 0), unit = viewer.toViewport(1, 1);
  const look = { fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linecap": "round" };
  for (const { label, lines } of outlinesOf(labels)) {
    if (app.hidden.includes(classes[label].name)) continue;
    let d = "";
    for (let at = 0; at < lines.length; at += 2) {
      const x = corner.x + lines[at] * (unit.x - corner.x), y = corner.y + lines[at + 1] * (unit.y - corner.y);
      d += `${at % 4 ? "L" : "M"}${x} ${y}`;
    }
    const dashes = dashOf(placeOf(classes[label].name));
    group.append(
      svg("path", { ...look, d, stroke: backingOf(classes[label].color), "stroke-width": 4, opacity: 0.5 }),
      svg("path", { ...look, d, stroke: classes[label].color, "stroke-width": 2.5, "data-label": label,
        ...dashes ? { "stroke-dasharray": dashes, "stroke-linecap": "butt" } : {} })); // round ends would fill the gaps
  }
  viewer.overlay().prepend(group);
}

/** Where the panel lists a class; before all others, where it is no longer there. @param {string} name */
const placeOf = (name) => current().listed.findIndex((label) => current().classes[label].name === name);

export function clearOutlines() {
  viewer.overlay().querySelector("#SIC_outlines")?.remove();
}
