/** The plugin comes and goes. */

import { dropLasso, mouse, mute, onKey, unmute } from "./gestures.js";
import { followDecisions } from "./decide.js";
import { followHistory } from "./history.js";
import { closeMap, followMap } from "./map.js";
import { choose, reload } from "./open.js";
import { followOutbox } from "./outbox.js";
import { clearSeeds, drawPointed } from "./overlay.js";
import { hidePanel, showPanel } from "./panel/panel.js";
import { hideWorklist, showWorklist } from "./panel/worklist.js";
import { onConflict } from "./requests.js";
import { app, reset, subscribe, update } from "./state.js";
import * as viewer from "./viewer.js";
import { followPointer, onHover } from "./why.js";
import { followSlide, recall } from "./worklist.js";

export { app };

/** @type {(() => void)[]} */
let stops = [];

function onLoaded() {
  mute(); // TissUUmaps begins to draw, and to answer clicks, when its first markers are there
  const layers = viewer.patchLayers();
  update({ layers });
  if (!app.layer && layers.length) choose(layers[0]);
}

/** @param {Element} container */
export function init(container) {
  reset();
  recall();
  showPanel(container);
  showWorklist(container);
  onConflict(reload);
  stops = [followOutbox(), followHistory(), followDecisions(), followSlide(), followPointer(), followMap(),
    subscribe(() => [app.seeding], mute)];
  viewer.on(mouse);
  viewer.watchSaving();
  document.addEventListener("keydown", onKey);
  document.addEventListener(viewer.LOADED, onLoaded);
  viewer.container().addEventListener("pointermove", onHover);
  onLoaded();
}

export function close() {
  for (const stop of stops) stop();
  viewer.off(mouse);
  viewer.leaveSaving();
  document.removeEventListener("keydown", onKey);
  document.removeEventListener(viewer.LOADED, onLoaded);
  viewer.container().removeEventListener("pointermove", onHover);
  clearSeeds();
  drawPointed(null);
  viewer.hideRegions();
  closeMap();
  dropLasso();
  unmute();
  hideWorklist();
  hidePanel();
}
