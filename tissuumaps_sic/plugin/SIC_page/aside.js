/** What lies over the slide beside the panel: the card, the gallery, painting, the tour, and the keys of these. */

import { asideStyle } from "./asidestyle.js";
import { followCard, takeCardKey } from "./card.js";
import { followGallery, takeGalleryKey } from "./gallery.js";
import { followLooking } from "./looking.js";
import { closeCommand, followCommand } from "./commands.js";
import { cancelDrag, isUnderWay } from "./gestures.js";
import { takeKeys } from "./keyboard.js";
import { cancelMapDrag, takeMapKey } from "./map.js";
import { followNotes } from "./notemarks.js";
import { followPainting } from "./painting.js";
import { app } from "./state.js";
import { closeTour, followTour } from "./tour.js";
import * as viewer from "./viewer.js";

const ANSWERS = /^([1-9]|s|Shift-n)$/; // a key that is held answers once, as Esc lets go of one thing

/** @param {string} name @param {boolean} isRepeat */
function take(name, isRepeat) {
  if (isRepeat && (name === "Escape" || (app.card || app.gallery) && ANSWERS.test(name))) return true;
  // What the hand is at comes first, and the tour, which is in nobody's way, last.
  return (name === "Escape" && (cancelDrag() || cancelMapDrag() || closeCommand())) || takeMapKey(name) || takeGalleryKey(name)
    || takeCardKey(name) || (name === "Escape" && !isUnderWay() && !viewer.isDrawingRegions() && closeTour());
}

/** Begin; returns how to stop that. */
export function followAside() {
  const sheet = asideStyle();
  viewer.container().parentElement?.append(sheet);
  const stops = [followCard(), followGallery(), followCommand(), followPainting(), followLooking(), followNotes(), followTour(), takeKeys(take)];
  return () => {
    for (const stop of stops) stop();
    sheet.remove();
  };
}
