/** Labels as they are seen on the slide. */

import { ease } from "./easing.js";
import { areColorsPicture, drawMap, isPicture } from "./maps.js";
import { follow } from "./mosaic.js";
import { drawOutlines } from "./overlay.js";
import { askCells, askScores, askUnlike, compareAgain, dropCells } from "./questions.js";
import { showRegions } from "./regions.js";
import { attempt, enqueue } from "./requests.js";
import * as server from "./server.js";
import { isShaded, shader } from "./shading.js";
import { signOf } from "./signs.js";
import { app, current, isBlind, layer, memory, subscribe, tell, update } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Cells } from "./mosaic.js" */

/** What is drawn: the labels that there are, or what another border would make of them. */
const own = memory(() => ({ drawn: /** @type {{ labels: Uint8Array, cells: Cells, meaning: string } | null} */ (null) }));

/** What the numbers of labels mean: cells of other classes are not those of these. */
const meaning = () => JSON.stringify(current().run?.classes.map(({ name }) => name));

/** Keep new labels, or what they mean now, and draw what is seen of them. @param {Uint8Array} labels */
export async function takeLabels(labels) {
  dropCells(); // of what labels meant before
  // Cells that were drawn stay as they are until the new ones come, but where their patch changed.
  const { drawn } = own, isSame = drawn?.meaning === meaning();
  const cells = labels === app.labels && isSame ? app.cells
    : app.cells && drawn && app.lattice && isSame ? follow(drawn.cells, drawn.labels, labels, app.lattice.side) : null;
  update({ labels, cells });
  if (app.view === "confidence") await askScores();
  await compareAgain();
  if (app.view === "unlike") await askUnlike();
  else lookForUnlike();
  await drawLabels(labels);
  applyView();
  if (app.regions) await showRegions(); // which follow the labels
  sharpen();
}

/** Have the labels by cell, where these are wanted. */
export function sharpen() {
  if (!app.isFine || !isPicture()) return;
  const { labels, state } = app;
  // Not waited for: the labels of patches are there.
  askCells().catch((error) => {
    if (error.status === server.CONFLICT) settle(error, () => app.labels === labels && app.state?.revision === state?.revision);
    else if (error.status !== server.STOPPED) tell(`Finer borders did not come; they are asked for again after the next change. ${error.message}`);
  }).then(drawSharpened);
}

/** Ask again where a change of this page was before; else somebody else has changed the session. @param {Error} error @param {() => boolean} isSame whether all is as it was when they were asked for */
const settle = (error, isSame) => enqueue("Drawing", async () => {
  if (isSame()) throw error; // then the session is loaded
  sharpenAgain();
}, true);

/** Ask for the labels by cell that did not come. */
function sharpenAgain() {
  if (app.labels && app.cells?.of !== app.labels && !app.isSharpening) sharpen();
}

/** Ask again, with each change, for what did not come before it; returns how to stop that. */
export const followChanges = () => subscribe(() => (app.state && !app.busy ? [app.state.revision] : null), sharpenAgain);

function drawSharpened() {
  if (!app.labels || app.cells?.of !== app.labels) return;
  keepDrawn(app.labels, app.cells);
  drawMap(app.labels, app.cells);
  drawOutlines();
}

/** @param {Uint8Array | null} labels @param {Cells | null} cells */
function keepDrawn(labels, cells) {
  own.drawn = labels && cells ? { labels, cells, meaning: meaning() } : null;
}

/** Not waited for: labels, or a seed that is saved, are what was asked for. */
export function lookForUnlike() {
  attempt("Patches unlike any seed", askUnlike());
}

/** Draw labels of patches, and of cells where these are known. @param {Uint8Array | null} labels @param {Cells | null} [cells] */
export async function drawLabels(labels, cells = app.cells) {
  keepDrawn(labels, cells);
  drawMap(labels, cells);
  if (!labels && isPicture()) viewer.removeLabels();
  else await fillLayer(labels);
}

/** Draw labels as TissUUmaps' markers; where they are a picture, these are there for its legend and its clicks. @param {Uint8Array | null} labels */
async function fillLayer(labels) {
  // As of the run: some may have come or gone since.
  const classes = current().run?.classes ?? [];
  const n = current().n_patches;
  const byClass = new Uint32Array(classes.length);
  if (labels) for (let row = 0; row < n; row++) byClass[labels[row]]++;
  /** @type {Record<string, number>} */
  const counts = labels ? Object.create(null) : { Patches: n };
  // Two classes may have become one since.
  classes.forEach(({ name }, label) => { if (byClass[label]) counts[name] = (counts[name] ?? 0) + byClass[label]; });
  const names = classes.map((each) => each.name), shade = isPicture() ? null : shader(app, labels, classes);
  await viewer.showLabels({
    uid: layer().uid,
    names: labels ? Array.from(labels, (label) => names[label]) : new Array(n).fill("Patches"),
    counts,
    colors: Object.fromEntries(classes.map((each) => [each.name, each.color])),
    signs: signsOf(classes),
    shades: shade ? Array.from({ length: n }, (_, row) => shade(row)) : undefined,
    opacities: markerOpacities(),
    isSeen: !isPicture(),
  });
  for (const name of app.hidden) viewer.setClassVisible(name, false); // TissUUmaps shows all of a legend that is new
}

/** The letter of each class that has one, by its name: as the panel lists it, else as its run had it. @param {{ name: string }[]} classes */
function signsOf(classes) {
  const { classes: present, listed } = current();
  const places = new Map(classes.map(({ name }, label) => [name, label]));
  listed.forEach((label, place) => places.set(present[label].name, place));
  return Object.fromEntries(classes.map(({ name }) => [name, signOf(places.get(name) ?? 0)]));
}

const isLabelled = () => app.view === "labels" || isShaded(app.view);

/** Of the patches' colours and of the labels. */
function opacities() {
  if (isBlind()) return [0, 0];
  if (app.isClosed) return app.view === "colors" || !app.labels ? [app.opacity, 0] : [0, app.opacity];
  const opacity = ease(app.opacity, layer().grid.spacing * viewer.screenScale());
  return [app.view === "colors" ? opacity : 0, isLabelled() ? opacity : 0];
}

/** Of the patches' colours and of labels, where these are markers. */
function markerOpacities() {
  const [colors, labels] = opacities();
  return [areColorsPicture() ? 0 : colors, isPicture() ? 0 : labels];
}

function applyOpacities() {
  viewer.setOpacities(layer().uid, markerOpacities());
  viewer.setPictureOpacity(Math.max(...opacities()));
}

export function applyView() {
  applyOpacities();
  drawOutlines();
}

/** Follow how TissUUmaps shows the patches' own colours; returns how to stop that. */
export const followPatches = () => viewer.watchLayers(() => {
  if (!app.layer || !app.state) return;
  if (app.view === "colors") drawMap(app.labels, app.cells);
  applyOpacities();
});

/** Leave what was a picture to TissUUmaps as its markers, where it can be seen, hidden and saved as any other. */
export function leaveLabels() {
  viewer.hidePicture();
  if (!app.state || !app.layer) return;
  if (app.labels) fillLayer(app.labels);
  else applyOpacities();
}

/** Let colours fade as one comes nearer; returns how to stop that. */
export const followZoom = () => viewer.onMove(() => { if (app.layer) applyOpacities(); });
