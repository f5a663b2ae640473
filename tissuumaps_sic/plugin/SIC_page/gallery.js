/** Patches as pictures: those of a class, or what is like one patch; picked by click, band and key, and given a class at once. */

import { mostAlike, pick, rowsOf, sortBy, stepTo, unite } from "./arranging.js";
import { askElsewhere, pageAt, seedElsewhere } from "./elsewhere.js";
import { columnsOf, dropTiles, drawTiles, focusTile, focusedTile, forgetPictures, markTiles, shownTiles } from "./gallerybox.js";
import { askLikeness, askMap, askScores } from "./questions.js";
import { goTo } from "./remarks.js";
import { enqueue, stop } from "./requests.js";
import { seedAs } from "./seeding.js";
import { app, current, field, isBlind, layer, memory, show, subscribe, tell } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Order } from "./arranging.js" */

/**
 * @typedef {{ kind: "class", label: number, order: Order, reference: number | null, from: number }} OfClass label: as the run has it
 * @typedef {{ kind: "alike" | "elsewhere", reference: number, from: 0 }} LikeOne of this slide, or of the others of the folder
 * @typedef {OfClass | LikeOne} Gallery reference: the patch that the others are compared with; from: which picture on
 */

const PAGES = { small: 60, large: 24 }, ALIKE = 30; // pictures at once
const SIZE = "SIC.pictures"; // of this browser: small or large
const LEAST_FREE = 160; // CSS pixels of the slide beside the gallery, in which a place is seen

const own = memory(() => ({ anchor: /** @type {number | null} */ (null), sorted: /** @type {{ of: unknown[], rows: Uint32Array | number[] }} */ ({ of: [], rows: [] }),
  before: /** @type {number[] | null} */ (null) })); // anchor: of a range; before: what was picked when the band began

export const isLarge = () => localStorage.getItem(SIZE) === "large";

export function toggleSize() {
  localStorage.setItem(SIZE, isLarge() ? "small" : "large");
  if (app.gallery) turnTo(Math.floor(app.gallery.from / pageSize()) * pageSize());
  repaint();
}

export const pageSize = () => PAGES[isLarge() ? "large" : "small"];

/** Open the gallery of a class of the labels. @param {number} label as the run has it */
export function openGallery(label) {
  open("Looking for the least sure patches", async () => {
    await askScores();
    return { kind: "class", label, order: "doubt", reference: null, from: 0 };
  });
}

/** Open what is most like a patch of this slide. @param {number} reference */
export function openAlike(reference) {
  open("Looking for what is alike", async () => {
    await askLikeness(reference);
    return { kind: "alike", reference, from: 0 };
  });
}

/** Look for what is most like it on the other slides of the folder. @param {number} reference */
export function openElsewhere(reference) {
  open("Looking through the slides of the folder", async () => {
    await askElsewhere(reference);
    return { kind: "elsewhere", reference, from: 0 };
  });
}

/** @param {string} kind @param {() => Promise<Gallery>} make */
function open(kind, make) {
  if (isBlind()) return tell("A check asks: answer it, or Esc leaves it");
  enqueue(kind, async () => {
    const gallery = await make();
    own.anchor = null;
    if (isBlind()) return;
    show({ gallery, picked: [] });
    focusTile(shownTiles()[0]);
    if (!viewer.hasPicture() && !app.map) await askMap().then(repaint, () => {}); // its colours stand for pictures
  });
}

/** Draw all pictures anew. */
function repaint() {
  forgetPictures();
  draw();
}

export const closeGallery = () => show({ gallery: null, picked: [] });

/** Show the gallery while it is open; returns how to stop that. */
export function followGallery() {
  const stops = [
    subscribe(() => (isWaiting() || isOfAnother() ? null : [app.gallery, app.labels, app.scores, app.likeness, app.elsewhere, app.state?.seeds, app.state?.classes, app.state?.listed]), draw),
    subscribe(() => [app.picked], () => markTiles(app.picked)),
    // After a run the labels, and how sure they are, are others.
    subscribe(() => [isWaiting() && !app.busy], () => { if (isWaiting() && !app.busy) enqueue("Looking how sure the labels are", async () => { await askScores(); }, true); }),
  ];
  return () => {
    for (const each of stops) each();
    dropTiles();
  };
}

/** Whether the scores of new labels are to be asked for. */
const isWaiting = () => app.gallery?.kind === "class" && app.labels !== null && !app.scores && Boolean(app.state?.run?.scored);

/** Whether what is known of likeness is to another patch than the gallery's: the gallery of that one comes. */
const isOfAnother = () => app.gallery !== null && app.gallery.kind !== "elsewhere" && app.gallery.reference !== null && app.likeness?.patch !== app.gallery.reference;

function draw() {
  const { gallery, state } = app;
  const isThere = gallery && state && (gallery.kind !== "class" || app.labels && app.scores && state.run?.classes[gallery.label]);
  if (!isThere) {
    own.sorted = { of: [], rows: [] };
    return dropTiles();
  }
  const rows = idsOf(gallery), shown = [...rows.slice(gallery.from, gallery.from + pageSize())];
  if (!shown.length && gallery.from > 0) return turnTo(0); // of fewer labels
  drawTiles({ gallery, shown, n: rows.length, isLarge: isLarge(), page: pageSize(),
    act: { close: closeGallery, turn, toggleSize, arrange, give, onClick, openAlike, openElsewhere, onBand, open: goThere } });
  markTiles(app.picked);
}

/** What is shown, in order: rows, or places in what was found elsewhere. @param {Gallery} gallery @returns {Uint32Array | number[]} */
function idsOf(gallery) {
  const { labels, scores, likeness, elsewhere } = app;
  if (gallery.kind === "elsewhere") return elsewhere ? [...elsewhere.patches.keys()] : [];
  const values = gallery.kind === "class" && gallery.order !== "likeness" ? scores?.own : likeness?.values;
  const label = gallery.kind === "class" ? gallery.label : null, order = gallery.kind === "class" ? gallery.order : "";
  const of = [labels, values, label, order, gallery.reference];
  if (of.some((each, i) => each !== own.sorted.of[i])) own.sorted = { of, rows: sortedRows(gallery, values ?? new Float32Array()) };
  return own.sorted.rows;
}

/** @param {Gallery} gallery @param {Float32Array} values */
function sortedRows(gallery, values) {
  if (gallery.kind === "class") return sortBy(rowsOf(app.labels ?? new Uint8Array(), gallery.label), values, gallery.order !== "doubt");
  return [gallery.reference, ...mostAlike(gallery.reference, values, layer().grid, field(), ALIKE)];
}

/** Show a class in another order. @param {Order} order */
function arrange(order) {
  const { gallery } = app;
  if (gallery?.kind !== "class") return;
  const reference = order === "likeness" ? app.picked.at(-1) ?? focusedTile() : null;
  if (order === "likeness" && reference === null) return tell("Choose a picture first: the others are then shown by how like it they are");
  own.anchor = null;
  if (reference === null) return show({ gallery: { ...gallery, order, reference, from: 0 }, picked: [] });
  enqueue("Looking for what is alike", async () => {
    await askLikeness(reference);
    show({ gallery: { ...gallery, order, reference, from: 0 }, picked: [] });
    focusTile(shownTiles()[0]);
  });
}

/** @param {number} by pages */
function turn(by) {
  if (!app.gallery) return;
  const from = app.gallery.from + by * pageSize();
  if (from < 0 || from >= idsOf(app.gallery).length) return;
  turnTo(from);
  focusTile(shownTiles()[0]);
}

/** @param {number} from */
function turnTo(from) {
  if (app.gallery?.kind === "class") show({ gallery: { ...app.gallery, from } });
}

/** @param {number} id @param {{ isRange?: boolean, isMore?: boolean }} how */
function onClick(id, how) {
  const picked = pick(app.picked, shownTiles(), id, own.anchor, how);
  if (!how.isRange) own.anchor = id;
  show({ picked });
}

/** @param {number[]} touched @param {boolean} isMore @param {boolean} isEnd */
function onBand(touched, isMore, isEnd) {
  own.before ??= isMore ? app.picked : [];
  show({ picked: unite(own.before, touched) });
  if (isEnd) own.before = null;
}

/** Give what is picked, or else the focused one, a class, as one step. @param {number} label */
function give(label) {
  const focused = focusedTile(), ids = app.picked.length ? app.picked : focused === null ? [] : [focused];
  if (!ids.length) return tell("Choose pictures first: click, Shift-click for a range, or drag over them");
  const all = shownTiles(), next = all[all.indexOf(ids[ids.length - 1]) + 1];
  if (app.gallery?.kind === "elsewhere") seedElsewhere(ids, current().classes[label].name);
  else seedAs(ids, label);
  show({ picked: [] });
  focusTile(next);
}

/** Go to where a patch is; where the slide is another one, in a tab of its own. @param {number} id */
function goThere(id) {
  if (app.gallery?.kind === "elsewhere") {
    const found = app.elsewhere?.patches[id];
    if (found) window.open(pageAt(found), "_blank", "noopener");
    return;
  }
  goTo(id);
  show({ pointed: id }); // framed
  // Beside the gallery, where that leaves room.
  const slide = viewer.container().getBoundingClientRect(), right = document.getElementById("sic-gallery")?.getBoundingClientRect().right ?? 0;
  if (slide.right - right > LEAST_FREE) viewer.moveBy((right - slide.left) / 2, 0);
}

/** What a key does while the gallery is open; returns whether it is one of its own. @param {string} key */
export function takeGalleryKey(key) {
  const { gallery } = app;
  if (!gallery) return false;
  const all = shownTiles(), focused = focusedTile(), at = focused === null ? -1 : all.indexOf(focused), plain = key.replace("Shift-", "");
  const label = /^[1-9]$/.test(key) ? current().listed[Number(key) - 1] : undefined, step = stepTo(plain, at, all.length, columnsOf());
  if (key === "Escape") leave();
  else if (key === "Ctrl-a") show({ picked: unite(app.picked, all) });
  else if (step !== null && all.length) {
    focusTile(all[step]);
    if (key !== plain && at >= 0) {
      own.anchor ??= all[at];
      onClick(all[step], { isRange: true });
    } else own.anchor = null;
  } else if (key === "PageDown" || key === "PageUp") turn(key === "PageDown" ? 1 : -1);
  else if (key === "a" && gallery.kind === "class") arrange("likeness");
  else if (key === "a" && gallery.kind === "alike" && (focused ?? null) !== null) openAlike(/** @type {number} */ (focused));
  else if (label !== undefined && (app.picked.length || focused !== null)) give(label);
  else return false;
  return true;
}

function leave() {
  if (app.picked.length) show({ picked: [] });
  else if (["likeness", "elsewhere", "scores"].includes(app.busy?.job?.kind ?? "")) stop();
  else closeGallery();
}
