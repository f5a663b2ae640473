/** What can be done with one patch, in a menu: by the right button, or by the menu key of the framed one. */

import { html } from "./dom.js";
import { openAlike } from "./gallery.js";
import { menuList } from "./menus.js";
import { drawPointed } from "./overlay.js";
import { startNote } from "./remarks.js";
import { change } from "./runs.js";
import { seedAs, unseed } from "./seeding.js";
import { signOf } from "./signs.js";
import { app, current, isBlind, layer, seededNow, tell } from "./state.js";
import * as viewer from "./viewer.js";
import { showWhy } from "./why.js";

/** @import { Option } from "./menus.js" */

/** @type {(() => void) | null} */
let close = null;

/** What can be done with a patch. @param {number} row @returns {Option[]} */
function optionsOf(row) {
  const { classes, listed, skipped } = current(), seeded = seededNow().get(row);
  return [
    ...listed.map((label, place) => ({ value: label, text: `Seed as ${[signOf(place), classes[label].name].filter(Boolean).join(" ")}${seeded === label ? " (it is)" : ""}`,
      title: place < 9 ? `Key ${place + 1}` : "Make it an example of this class", mark: html("span", { class: "sic-swatch", style: `background: ${classes[label].color}` }) })),
    ...seeded === undefined ? [] : [{ value: "unseed", text: "Take the seed back" }],
    ...skipped.includes(row) ? [] : [{ value: "skip", text: "Cannot tell", title: "It is not suggested again" }],
    { value: "alike", text: "Alike", title: "The patches that are most like it, of this slide and of the folder, as pictures (A)" },
    { value: "note", text: "Note on this patch …" },
    ...app.state?.seeds.patches.length ? [{ value: "why", text: "Why this label?", title: "The seeds that it is most like" }] : [],
  ];
}

/** @param {number} row @param {string} value */
function act(row, value) {
  if (value === "unseed") unseed([row]);
  else if (value === "skip") change(() => ({ kind: "skip", patches: [row] }), "Cannot tell: noted, and not asked about");
  else if (value === "note") startNote(row);
  else if (value === "why") showWhy(row);
  else if (value === "alike") openAlike(row);
  else seedAs([row], Number(value));
}

/** Open the menu of a patch at a place of the window. @param {number} row @param {{ x: number, y: number }} at */
function open(row, { x, y }) {
  close?.();
  const before = document.activeElement, options = optionsOf(row);
  const { list, open: show, fold } = menuList("This patch", options, (value) => {
    close?.();
    act(row, value);
  }, () => close?.());
  list.id = "sic-patch-menu";
  list.classList.add("sic");
  viewer.stage().append(list);
  drawPointed(row);
  close = () => {
    close = null;
    document.removeEventListener("pointerdown", onPress, true);
    fold();
    list.remove();
    drawPointed(null);
    if (before instanceof HTMLElement) before.focus();
  };
  list.addEventListener("keydown", (event) => {
    const label = /^[1-9]$/.test(event.key) ? current().listed[Number(event.key) - 1] : undefined;
    if (label === undefined && event.key !== "Tab") return;
    event.preventDefault();
    close?.();
    if (label !== undefined) act(row, String(label));
  });
  document.addEventListener("pointerdown", onPress, true);
  show({ left: x, top: y, bottom: y });
}

/** A click elsewhere closes the menu, and does nothing else on the slide. @param {PointerEvent} event */
function onPress(event) {
  const target = /** @type {Element} */ (event.target);
  if (target.closest("#sic-patch-menu")) return;
  close?.();
  if (event.button === 0 && viewer.container().contains(target)) event.stopPropagation();
}

/** @param {MouseEvent} event */
export function onContextMenu(event) {
  if (!app.state || !app.isInFront) return;
  event.preventDefault();
  if (close || isBlind()) return; // that was the menu key
  const row = layer().grid.at(viewer.placeOf(event));
  if (row === null) tell("There is no patch here");
  else open(row, { x: event.clientX, y: event.clientY });
}

/** Open the menu of the patch that is framed, or suggested, or in the middle. */
export function openPatchMenu() {
  const row = app.pointed ?? app.suggested ?? layer().grid.at(viewer.middle());
  if (row === null) {
    tell("No patch is framed: Shift with an arrow frames one");
    return;
  }
  const { x, y } = viewer.toScreen(layer().grid.x[row], layer().grid.y[row]), box = viewer.container().getBoundingClientRect();
  open(row, { x: box.left + x, y: box.top + y });
}

/** Show what is most like the patch that is framed, or suggested, or in the middle. */
export function showAlike() {
  const row = app.pointed ?? app.suggested ?? layer().grid.at(viewer.middle());
  if (row === null) tell("No patch is framed: Shift with an arrow frames one");
  else openAlike(row);
}

export const closePatchMenu = () => close?.();
