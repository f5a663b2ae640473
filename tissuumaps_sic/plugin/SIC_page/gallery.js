/** The patches that are labelled with a class as pictures, the least sure first: an error among them is seen at a glance. */

import { button, classTag, count, html } from "./dom.js";
import { askScores } from "./questions.js";
import { goTo } from "./remarks.js";
import { enqueue } from "./requests.js";
import { seedAs } from "./seeding.js";
import { app, current, field, layer, seededLabels, show, subscribe } from "./state.js";
import * as viewer from "./viewer.js";

const SIDE = 84; // CSS pixels of a picture
const PAGE = 24; // pictures at once
const COLUMNS = 6;

/** @type {HTMLElement | null} */
let box = null;
/** @type {Map<number, HTMLCanvasElement>} */
let pictures = new Map();
/** @type {unknown} */
let drawnOf = null; // the layer that they are of

/** Rows that are labelled with a class, the least sure first. @param {Uint8Array} labels @param {Float32Array} own @param {number} label */
export function leastSure(labels, own, label) {
  const rows = [];
  for (let row = 0; row < labels.length; row++) if (labels[row] === label) rows.push(row);
  return rows.sort((a, b) => own[a] - own[b]);
}

/** Open the gallery of a class of the labels. @param {number} label as the run has it */
export function openGallery(label) {
  enqueue("Looking for the least sure patches", async () => {
    await askScores();
    show({ gallery: { label, from: 0 } });
  });
}

export const closeGallery = () => show({ gallery: null });

/** Show the gallery while it is open; returns how to stop that. */
export function followGallery() {
  const stop = subscribe(() => (app.gallery && app.labels && !app.scores ? null
    : [app.gallery, app.labels, app.scores, app.state?.seeds, app.state?.classes]), showGallery);
  return () => {
    stop();
    box?.remove();
    box = null;
  };
}

function showGallery() {
  const { gallery, labels, scores, state } = app;
  if (!gallery || !labels || !scores || !state?.run) {
    box?.remove();
    box = null;
    return;
  }
  if (drawnOf !== app.layer) pictures = new Map();
  drawnOf = app.layer;
  const { name, color } = state.run.classes[gallery.label];
  const rows = leastSure(labels, scores.own, gallery.label), shown = rows.slice(gallery.from, gallery.from + PAGE);
  const isNew = !box, focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.galleryRow;
  box ??= html("section", { id: "sic-gallery", class: "sic-gallery", "aria-label": "Patches of a class, least sure first" });
  if (isNew) viewer.container().parentElement?.append(box);
  box.replaceChildren(
    html("div", { class: "sic-card-head" }, classTag(color, name),
      html("span", { id: "sic-gallery-place" }, rows.length
        ? `${count(gallery.from + 1)} to ${count(gallery.from + shown.length)} of ${count(rows.length)}, least sure first` : "none"),
      button("×", "Close (Esc)", closeGallery, { id: "sic-gallery-close", "aria-label": "Close the gallery" })),
    html("div", { class: "sic-gallery-tiles" }, ...shown.map((row) => tile(row, scores.own[row]))),
    html("div", { class: "sic-card-foot" },
      button("Back", "The ones before (Page up)", () => turn(-1), { id: "sic-gallery-back", disabled: gallery.from === 0 }),
      html("span", { class: "sic-gallery-keys" }, "Arrows: choose, Enter: go there, 1 … 9: correct"),
      button("More", "The next ones (Page down)", () => turn(1), { id: "sic-gallery-more", disabled: gallery.from + PAGE >= rows.length })));
  const wanted = /** @type {HTMLElement | null} */ (focused && box.querySelector(`[data-gallery-row="${focused}"]`));
  (wanted ?? (isNew || focused ? tiles()[0] : null))?.focus();
}

/** @param {number} row @param {number} score */
function tile(row, score) {
  const seeded = seededLabels().get(row), { classes } = current();
  return html("button", { type: "button", class: "sic-gallery-tile", "data-gallery-row": row, onclick: () => goTo(row),
    style: seeded === undefined ? "" : `border-color: ${classes[seeded].color}`,
    title: `Score ${score.toFixed(2)}${seeded === undefined ? "" : `, seeded ${classes[seeded].name}`}` },
  picture(row), html("span", {}, seeded === undefined ? score.toFixed(2) : classes[seeded].name));
}

/** @param {number} row */
function picture(row) {
  const known = pictures.get(row);
  if (known) return known;
  const canvas = html("canvas", { width: SIDE, height: SIDE }), { x, y } = layer().grid;
  pictures.set(row, canvas);
  viewer.drawSlide(canvas, x[row], y[row], field().width).catch(() => canvas.classList.add("sic-card-empty"));
  return canvas;
}

/** @param {number} by */
function turn(by) {
  const { gallery } = app;
  if (gallery) show({ gallery: { ...gallery, from: Math.max(0, gallery.from + by * PAGE) } });
  tiles()[0]?.focus();
}

/** @returns {HTMLElement[]} */
const tiles = () => [...box?.querySelectorAll(".sic-gallery-tile") ?? []].map((each) => /** @type {HTMLElement} */ (each));

/** @type {Record<string, number>} */
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS };

/** What a key does while the gallery is open; returns whether it is one of its own. @param {string} key */
export function takeGalleryKey(key) {
  if (!app.gallery) return false;
  const all = tiles(), at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const label = /^[1-9]$/.test(key) ? current().listed[Number(key) - 1] : undefined;
  if (key === "Escape") closeGallery();
  else if (key in STEPS) all[Math.min(Math.max(at + STEPS[key], 0), all.length - 1)]?.focus();
  else if (key === "PageDown" || key === "PageUp") turn(key === "PageDown" ? 1 : -1);
  else if (label !== undefined && at >= 0) {
    seedAs([Number(all[at].dataset.galleryRow)], label);
    all[at + 1]?.focus();
  } else return false;
  return true;
}
