/** The plugin comes and goes. */

import { recallSession } from "./arrival.js";
import { followAside } from "./aside.js";
import { followCheck } from "./check.js";
import { followDecisions } from "./decide.js";
import { followDoubts } from "./doubts.js";
import { dropLasso, mouse, mute, onClick, unmute } from "./gestures.js";
import { followHeld } from "./held.js";
import { followHistory } from "./history.js";
import { forgetKeys, onKey, onKeyUp } from "./keyboard.js";
import { followChanges, followPatches, followZoom, leaveLabels } from "./labels.js";
import { followLegend } from "./legendchanges.js";
import { closeMap, followMap } from "./map.js";
import { choose, lookForFiles, reopen } from "./open.js";
import { followOutbox } from "./outbox.js";
import { clearFrame, clearOutlines, clearSeeds, drawPointed, followFrame } from "./overlay.js";
import { hidePanel, showPanel } from "./panel/panel.js";
import { closePatchMenu, onContextMenu } from "./patchmenu.js";
import { hideWorklist, showWorklist } from "./panel/worklist.js";
import { dropCells } from "./questions.js";
import { onConflict } from "./requests.js";
import { app, isBlind, isSeeding, reset, subscribe, update } from "./state.js";
import { followTitle } from "./title.js";
import { followAsked } from "./undoing.js";
import * as viewer from "./viewer.js";
import { followPointer, onHover, onLeave } from "./why.js";
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

/**
 * Hear of an event until that is stopped.
 * @template {Event} E
 * @param {EventTarget} target
 * @param {string} type
 * @param {(event: E) => void} listener
 */
function listen(target, type, listener, capture = false) {
  target.addEventListener(type, /** @type {EventListener} */ (listener), capture);
  return () => target.removeEventListener(type, /** @type {EventListener} */ (listener), capture);
}

/** @param {Element} container */
export function init(container) {
  reset();
  recall();
  recallSession();
  showWorklist(showPanel(container));
  onConflict(reopen);
  viewer.on(mouse);
  viewer.watchSaving();
  const slide = viewer.container();
  stops = [
    followOutbox(), followHistory(), followHeld(), followAsked(), followDecisions(), followDoubts(), followCheck(), followSlide(), followPointer(), followMap(), followFrame(), followZoom(), followChanges(), followPatches(), followLegend(), followTitle(), followAside(), viewer.tidy(), viewer.guardKeys(),
    viewer.watchFront(container, (isInFront) => update({ isInFront })), subscribe(() => [isSeeding(), isBlind()], mute),
    // Before anybody else on the page.
    listen(document, "keydown", onKey, true), listen(document, "keyup", onKeyUp, true), listen(window, "blur", forgetKeys),
    listen(document, viewer.LOADED, onLoaded),
    listen(slide, "pointermove", onHover), listen(slide, "pointerleave", onLeave), listen(slide, "click", onClick, true),
    listen(slide, "contextmenu", onContextMenu), listen(slide, "dblclick", (event) => event.stopPropagation()), // TissUUmaps would tell what it no longer does then
  ];
  onLoaded();
  lookForFiles();
}

export function close() {
  update({ isClosed: true });
  for (const stop of stops) stop();
  viewer.off(mouse);
  viewer.leaveSaving();
  clearSeeds();
  clearFrame();
  clearOutlines();
  drawPointed(null);
  viewer.hideRegions();
  dropCells();
  leaveLabels();
  closeMap();
  dropLasso();
  closePatchMenu();
  unmute();
  hideWorklist();
  hidePanel();
}
