/** What lies over the slide beside the panel: the card, the gallery, painting, and the keys of these. */

import { asideStyle } from "./asidestyle.js";
import { followCard, takeCardKey } from "./card.js";
import { followGallery, takeGalleryKey } from "./gallery.js";
import { followLooking } from "./looking.js";
import { followNotes } from "./notemarks.js";
import { cancelPainting, followPainting, resizeBrush, toggleSeeds } from "./painting.js";
import { app } from "./state.js";
import { nextUnlike } from "./suggestions.js";
import * as viewer from "./viewer.js";

/** @type {Record<string, () => void>} */
const ACTIONS = { ",": () => resizeBrush(-1), ".": () => resizeBrush(1), i: toggleSeeds, u: nextUnlike };
const TYPED = "input:not([type=radio], [type=checkbox], [type=range]), select, textarea, [contenteditable], .modal, [role=menu]";

/** @param {string} key */
function take(key) {
  if (key === "Escape" && cancelPainting()) return true;
  if (takeGalleryKey(key) || takeCardKey(key)) return true;
  ACTIONS[key]?.();
  return key in ACTIONS;
}

/** Heard before the page's other keys, of which a few mean something else here. @param {KeyboardEvent} event */
function onKey(event) {
  const { key, target } = event;
  if (!app.state || event.ctrlKey || event.metaKey || event.altKey || /** @type {Element} */ (target).closest?.(TYPED)) return;
  const name = event.shiftKey || key.length > 1 ? key : key.toLowerCase();
  // A key that is held answers once.
  if (event.repeat && (app.card || app.gallery) && /^\w$/.test(name)) event.stopImmediatePropagation();
  else if (take(name)) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}

/** Begin; returns how to stop that. */
export function followAside() {
  const sheet = asideStyle();
  viewer.container().parentElement?.append(sheet);
  const stops = [followCard(), followGallery(), followPainting(), followLooking(), followNotes()];
  window.addEventListener("keydown", onKey, true);
  return () => {
    window.removeEventListener("keydown", onKey, true);
    for (const stop of stops) stop();
    sheet.remove();
  };
}
