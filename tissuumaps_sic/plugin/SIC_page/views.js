/** What is drawn of the slide, and the map beside it. */

import { askMap, askScores, askUnlike } from "./questions.js";
import { applyView, drawLabels } from "./labels.js";
import { enqueue } from "./requests.js";
import { isShaded } from "./shading.js";
import { app, canView, show, update } from "./state.js";
import * as viewer from "./viewer.js";

/** Draw the slide alone, the patches' colours, the labels, how sure they are, or where the tissue is. @param {string} view */
export function setView(view) {
  return enqueue("Drawing", async () => {
    if (view === "confidence") await askScores();
    if (view === "tissue") await askMap();
    if (view === "unlike") await askUnlike();
    if (view === "tissue" && !app.map?.tissue) throw new Error("This file does not tell how much of a patch is tissue.");
    const redraw = app.view !== view && (isShaded(app.view) || isShaded(view));
    update({ view });
    if (redraw && (app.labels || isShaded(view))) await drawLabels(app.labels);
    else if (redraw) viewer.removeLabels();
    applyView();
  });
}

/** The next of the views that there is something for. */
export function nextView() {
  const views = ["slide", "colors", "labels", "confidence", "tissue", "disputed"].filter(canView);
  setView(views[(views.indexOf(app.view) + 1) % views.length]);
}

/** @param {number} opacity */
export function setOpacity(opacity) {
  update({ opacity });
  applyView();
}

/** Open or close the map of the feature space. */
export function toggleMap() {
  if (app.mapOpen) show({ mapOpen: false });
  else enqueue("Opening the map", async () => {
    await askMap();
    update({ mapOpen: true });
  });
}
