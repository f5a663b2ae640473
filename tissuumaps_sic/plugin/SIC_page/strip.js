/** The suggestions that come, as small pictures below the card: the present one is marked, each of them a click away. */

import { showCard } from "./cards.js";
import { html } from "./dom.js";
import { app, current, field, layer, memory, seededLabels } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Deck } from "./cards.js" */

const SIDE = 69; // CSS pixels of a picture
const PAGE = 6; // pictures at once
const MOST_DOTS = 4000; // patches that are drawn to show where one is

const own = memory(() => ({ pictures: /** @type {Map<number, HTMLCanvasElement>} */ (new Map()), outline: /** @type {HTMLCanvasElement | null} */ (null),
  of: /** @type {unknown} */ (null) })); // of each patch, drawn once, and all patches, where there is no image; of: which layer

/** @param {Deck} deck */
export function drawStrip(deck) {
  if (own.of !== app.layer) Object.assign(own, { pictures: new Map(), outline: null, of: app.layer });
  const { rows, place, isCold } = deck, from = Math.floor(place / PAGE) * PAGE;
  return html("div", { class: "sic-strip", id: "sic-strip" },
    isCold ? html("div", { class: "sic-strip-words" }, "Typical patches of this slide: name a few of each class") : null,
    html("div", { class: "sic-strip-row", role: "group", "aria-label": "The suggestions that come" },
      ...rows.slice(from, from + PAGE).map((row, i) => tile(deck, from + i, row))));
}

/** @param {Deck} deck @param {number} place @param {number} row */
function tile(deck, place, row) {
  const { classes, skipped } = current(), label = seededLabels().get(row);
  const said = label !== undefined ? `, seeded ${classes[label].name}` : skipped.includes(row) ? ", cannot tell" : "";
  const name = `Suggestion ${place + 1} of ${deck.rows.length}${said}`;
  return html("button", { type: "button", class: "sic-strip-tile", id: `sic-strip-${place}`, title: `${name}: show it`, "aria-label": name,
    "data-patch": row, style: label === undefined ? "" : `border-color: ${classes[label].color}`,
    ...(place === deck.place ? { "aria-current": "true" } : {}), onclick: () => showCard({ ...deck, place }) }, picture(row));
}

/** A patch, or, without an image, where it lies. @param {number} row */
function picture(row) {
  const known = own.pictures.get(row);
  if (known) return known;
  const canvas = html("canvas", { width: 2 * SIDE, height: 2 * SIDE }), { x, y } = layer().grid;
  own.pictures.set(row, canvas);
  viewer.drawSlide(canvas, x[row], y[row], field().width)
    .then((isDrawn) => { if (!isDrawn) drawPlace(canvas, row); })
    .catch(() => drawPlace(canvas, row));
  return canvas;
}

/** @param {HTMLCanvasElement} canvas @param {number} row */
function drawPlace(canvas, row) {
  const { x, y } = layer().grid, context = viewer.contextOf(canvas);
  own.outline ??= drawPatches(canvas.width);
  context.drawImage(own.outline, 0, 0);
  const at = placing(canvas.width);
  context.beginPath();
  context.arc(...at(x[row], y[row]), canvas.width / 14, 0, 2 * Math.PI);
  context.fillStyle = "#b02a37";
  context.fill();
  context.lineWidth = 3;
  context.strokeStyle = "#fff";
  context.stroke();
}

/** Where a point of the slide lies in a square that holds all patches. @param {number} side @returns {(x: number, y: number) => [number, number]} */
function placing(side) {
  const { x, y, spacing } = layer().grid;
  const ends = [x, y].map((each) => each.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]));
  const [[left, right], [top, bottom]] = ends, scale = side / (Math.max(right - left, bottom - top) + 2 * spacing);
  return (px, py) => [(px - (left + right) / 2) * scale + side / 2, (py - (top + bottom) / 2) * scale + side / 2];
}

/** @param {number} side */
function drawPatches(side) {
  const { x, y, spacing } = layer().grid, at = placing(side);
  const canvas = html("canvas", { width: side, height: side }), context = viewer.contextOf(canvas);
  const step = Math.max(1, Math.floor(x.length / MOST_DOTS)), [[left], [right]] = [at(0, 0), at(spacing, 0)];
  const width = Math.max(right - left, 1) * Math.sqrt(step);
  context.fillStyle = "#f1f1f4";
  context.fillRect(0, 0, side, side);
  context.fillStyle = "#adb5bd";
  for (let row = 0; row < x.length; row += step) {
    const [px, py] = at(x[row], y[row]);
    context.fillRect(px - width / 2, py - width / 2, width, width);
  }
  return canvas;
}
