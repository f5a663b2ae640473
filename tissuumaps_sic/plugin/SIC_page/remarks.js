/** What a reader says beside seeds: notes, and that the slide is reviewed. */

import { cardRow } from "./card.js";
import { inView } from "./coverage.js";
import { send } from "./looking.js";
import { drawPart, drawnPart, dropPart } from "./parts.js";
import { change } from "./runs.js";
import { app, current, layer, show, tell } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Target } from "./state.js" */

/** Begin a note on a patch. @param {number} row */
export function startNote(row) {
  show({ noted: row, noteTarget: "patch" });
  const field = document.getElementById("sic-note-text"), group = /** @type {HTMLDetailsElement | null} */ (field?.closest(".sic-group"));
  if (group) group.open = true;
  field?.focus();
}

/** The patch that a note can be on: the one that was chosen, or that on the card, else the one in the middle of the view. */
export function notedPatch() {
  if (app.noted !== null) return app.noted;
  const { left, top, right, bottom } = viewer.viewBox();
  return cardRow() ?? layer().grid.at({ x: (left + right) / 2, y: (top + bottom) / 2 });
}

/** Write a note; returns whether it is there. @param {string} text @param {Target} target */
export async function addNote(text, target) {
  if (!text.trim()) {
    tell("Write something first");
    return false;
  }
  if (target === "part") return addToPart(text);
  const patch = target === "patch" ? notedPatch() : null;
  const patches = target === "view" ? inView(layer().grid, viewer.viewBox()) : patch === null ? [] : [patch];
  if (target !== "slide" && !patches.length) {
    tell("No patch is in view to note that on");
    return false;
  }
  const isThere = await change(() => ({ kind: "note", text, patches }), "Noted");
  if (isThere) show({ noted: null });
  return isThere;
}

/** @param {string} text */
async function addToPart(text) {
  const outline = drawnPart();
  if (!outline) {
    drawPart();
    return false;
  }
  const isThere = await change(() => ({ kind: "note", text, outline }), "Noted");
  if (isThere) dropPart();
  return isThere;
}

/** @param {number} number */
export const removeNote = (number) => change(() => ({ kind: "note", text: "", number }), "The note is removed; Undo brings it back");

/** Say that the slide is done, or that it is not. */
export async function toggleChecked() {
  const checked = !current().checked?.is_current;
  if (await change(() => ({ kind: "check", checked }), checked ? "Marked as reviewed" : "No longer marked as reviewed")) send();
}

/** @param {number} row */
export const goTo = (row) => viewer.lookClosely(layer().grid.x[row], layer().grid.y[row], layer().grid.spacing);
