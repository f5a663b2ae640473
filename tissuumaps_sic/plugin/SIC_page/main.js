/** The plugin comes and goes. */

import { choose } from "./actions.js";
import { dropLasso, mouse, mute, onKey, unmute } from "./gestures.js";
import { clearSeeds } from "./overlay.js";
import { hide, render, show } from "./panel.js";
import { app, reset, subscribe } from "./state.js";
import * as viewer from "./viewer.js";
import { forget, onHover } from "./why.js";

export { app };

let unsubscribe = () => {};

function onLoaded() {
  if (app.layer) return;
  const [first] = viewer.patchLayers();
  if (first) choose(first);
}

export function init(container) {
  reset();
  show(container);
  unsubscribe = subscribe(render);
  viewer.on(mouse);
  document.addEventListener("keydown", onKey);
  document.addEventListener(viewer.LOADED, onLoaded);
  viewer.container().addEventListener("pointermove", onHover);
  mute();
  render();
  onLoaded();
}

export function close() {
  unsubscribe();
  viewer.off(mouse);
  document.removeEventListener("keydown", onKey);
  document.removeEventListener(viewer.LOADED, onLoaded);
  viewer.container().removeEventListener("pointermove", onHover);
  forget();
  clearSeeds();
  dropLasso();
  unmute();
  hide();
}
