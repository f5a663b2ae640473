/** Labels as they are seen on the slide. */

import { ease } from "./easing.js";
import { drawOutlines } from "./overlay.js";
import { askScores, askUnlike, compareAgain } from "./questions.js";
import { showRegions } from "./regions.js";
import { attempt } from "./requests.js";
import { isShaded, shader } from "./shading.js";
import { signOf } from "./signs.js";
import { app, current, layer, update } from "./state.js";
import * as viewer from "./viewer.js";

/** Keep new labels, or what they mean now, and draw what is seen of them. @param {Uint8Array} labels */
export async function takeLabels(labels) {
  update({ labels });
  if (app.view === "confidence") await askScores();
  await compareAgain();
  if (app.view === "unlike") await askUnlike();
  else lookForUnlike();
  await drawLabels(labels);
  applyView();
  if (app.regions) await showRegions(); // which follow the labels
}

/** Not waited for: labels, or a seed that is saved, are what was asked for. */
export function lookForUnlike() {
  attempt("Patches unlike any seed", askUnlike());
}

/** @param {Uint8Array | null} labels */
export async function drawLabels(labels) {
  // As of the run: some may have come or gone since.
  const classes = current().run?.classes ?? [];
  const n = current().n_patches;
  const byClass = new Uint32Array(classes.length);
  if (labels) for (let row = 0; row < n; row++) byClass[labels[row]]++;
  /** @type {Record<string, number>} */
  const counts = labels ? Object.create(null) : { Patches: n };
  // Two classes may have become one since.
  classes.forEach(({ name }, label) => { if (byClass[label]) counts[name] = (counts[name] ?? 0) + byClass[label]; });
  const names = classes.map((each) => each.name), shade = shader(app, labels, classes);
  await viewer.showLabels({
    uid: layer().uid,
    names: labels ? Array.from(labels, (label) => names[label]) : new Array(n).fill("Patches"),
    counts,
    colors: Object.fromEntries(classes.map((each) => [each.name, each.color])),
    signs: signsOf(classes),
    shades: shade ? Array.from({ length: n }, (_, row) => shade(row)) : undefined,
    opacities: opacities(),
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
  const opacity = ease(app.opacity, layer().grid.spacing * viewer.screenScale());
  return [app.view === "colors" ? opacity : 0, isLabelled() ? opacity : 0];
}

export function applyView() {
  viewer.setOpacities(layer().uid, opacities());
  drawOutlines();
}

/** Let colours fade as one comes nearer; returns how to stop that. */
export const followZoom = () => viewer.onMove(() => { if (app.layer) viewer.setOpacities(layer().uid, opacities()); });
