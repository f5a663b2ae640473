/** What is drawn of the slide, and the map beside it. */

import { askMap, askScores, askUnlike } from "./questions.js";
import { applyView, drawLabels, sharpen } from "./labels.js";
import { drawMap, isPicture } from "./maps.js";
import { drawOutlines } from "./overlay.js";
import { enqueue } from "./requests.js";
import { isShaded } from "./shading.js";
import { app, canView, current, isBlind, show, update } from "./state.js";
import * as viewer from "./viewer.js";

/** Draw the slide alone, the patches' colours, the labels, their outlines, how sure they are, or where the tissue is. @param {string} view */
export function setView(view) {
  return enqueue("Drawing", async () => {
    update({ wantedView: view });
    await drawView(view);
  });
}

/** @param {string} view */
export async function drawView(view) {
  if (view === "confidence") await askScores();
  if (view === "tissue") await askMap();
  if (view === "unlike") await askUnlike();
  if (view === "tissue" && !app.map?.tissue) throw new Error("This file does not tell how much of a patch is tissue.");
  const redraw = app.view !== view && (isShaded(app.view) || isShaded(view));
  update({ view });
  if (isPicture()) drawMap(app.labels, app.cells);
  else if (redraw && (app.labels || isShaded(view))) await drawLabels(app.labels);
  else if (redraw) viewer.removeLabels();
  applyView();
}

/** Draw labels by cell, or by patch. */
export function toggleFine() {
  show({ isFine: !app.isFine });
  drawMap(app.labels, app.cells);
  drawOutlines();
  sharpen();
}

/** The next of the views that there is something for. */
export function nextView() {
  const views = ["slide", "colors", "labels", "outlines", "confidence", "tissue", "disputed"].filter(canView);
  setView(views[(views.indexOf(app.view) + 1) % views.length]);
}

/** Draw nothing over the slide for as long as a key is held. @param {boolean} isBare */
export function lookBare(isBare) {
  show({ isBare });
  viewer.setBare(isBare || isBlind());
}

/** @param {number} opacity */
export function setOpacity(opacity) {
  update({ opacity });
  applyView();
}

/** Draw the labels of a class, or no longer. @param {string} name @param {boolean} isShown */
export function showClass(name, isShown) {
  hide(isShown ? app.hidden.filter((each) => each !== name) : [...app.hidden, name]);
}

/** Draw the labels of one class alone, or, where it is alone already, of all. @param {string} name */
export function showAlone(name) {
  const others = (current().run?.classes ?? []).map((each) => each.name).filter((each) => each !== name);
  hide(others.every((each) => app.hidden.includes(each)) && !app.hidden.includes(name) ? [] : others);
}

/** Draw the labels of all classes but these. @param {string[]} hidden their names */
export function hide(hidden) {
  show({ hidden });
  for (const { name } of current().run?.classes ?? []) viewer.setClassVisible(name, !hidden.includes(name));
  drawMap(app.labels, app.cells);
  drawOutlines();
}

/** Open or close the map of the feature space. */
export function toggleMap() {
  if (app.mapOpen) show({ mapOpen: false });
  else enqueue("Opening the map", async () => {
    await askMap();
    update({ mapOpen: true });
  });
}
