/** The plugin comes and goes. */

import { alsoAsk, choose } from "./actions.js";
import { dropLasso, mouse, mute, onKey, unmute } from "./gestures.js";
import { closeMap, pointOnMap, renderMap } from "./map.js";
import { clearSeeds, drawPointed } from "./overlay.js";
import { hide, render, show } from "./panel.js";
import { app, follow, reset, subscribe } from "./state.js";
import * as viewer from "./viewer.js";
import { forget, onHover, onPoint } from "./why.js";
import { follow as followSlide, hideWorklist, loadWorklist, recall, showWorklist } from "./worklist.js";

const PATIENCE = 300; // ms that a slide waits for the list of the others, so that nothing jumps

export { app };

let subscriptions = [];

function onLoaded() {
  mute(); // TissUUmaps begins to draw, and to answer clicks, when its first markers are there
  if (app.layer) return;
  const [first] = viewer.patchLayers();
  if (first) choose(first);
}

export function init(container) {
  reset();
  recall();
  show(container);
  showWorklist(container);
  alsoAsk(() => Promise.race([loadWorklist(), new Promise((done) => { setTimeout(done, PATIENCE); })]));
  subscriptions = [subscribe(render), subscribe(renderMap), subscribe(followSlide), follow(onPoint), follow(pointOnMap)];
  viewer.on(mouse);
  viewer.watchSaving();
  document.addEventListener("keydown", onKey);
  document.addEventListener(viewer.LOADED, onLoaded);
  viewer.container().addEventListener("pointermove", onHover);
  mute();
  render();
  onLoaded();
}

export function close() {
  for (const stop of subscriptions) stop();
  viewer.off(mouse);
  viewer.leaveSaving();
  document.removeEventListener("keydown", onKey);
  document.removeEventListener(viewer.LOADED, onLoaded);
  viewer.container().removeEventListener("pointermove", onHover);
  forget();
  clearSeeds();
  drawPointed(null);
  viewer.hideRegions();
  closeMap();
  dropLasso();
  unmute();
  hideWorklist();
  hide();
}
