/** The keys: the one table of what each does, for the keyboard and for the list that people read. */

import { goOnChecking } from "./check.js";
import { decide, seeDecision } from "./decide.js";
import { cancel, releaseSpace, holdSpace } from "./gestures.js";
import { nameOf } from "./keynames.js";
import { startNaming } from "./panel/naming.js";
import { nextOpinion } from "./opinion.js";
import { openPatchMenu, showAlike } from "./patchmenu.js";
import { nextDisputed } from "./readers.js";
import { toggleRegions } from "./regions.js";
import { resizeBrush, toggleSeeds } from "./painting.js";
import { run, toggleLive } from "./runs.js";
import { seed } from "./seeding.js";
import { TOOLS, app, isBlind, isSeeding, layer, show, tell } from "./state.js";
import { nextUnlike, suggest } from "./suggestions.js";
import { redo, undo } from "./undoing.js";
import * as viewer from "./viewer.js";
import { lookBare, nextView, toggleMap } from "./views.js";
import { step } from "./worklist.js";

/**
 * @typedef {object} Key
 * @property {string} name as the list has it
 * @property {string} does in words
 * @property {Record<string, () => void>} [acts] what is done when a key goes down, by its name (`nameOf`)
 * @property {Record<string, () => void>} [ends] what is done when it comes up again
 * @property {boolean} [repeats] whether it goes on while it is held
 * @property {boolean} [always] whether it works while a check asks: it tells nothing of labels, and changes none
 * @property {boolean} [changes] whether it changes the session, which only happens where the panel is seen
 */

const PAN = 0.15, ZOOM = 1.3; // a step, in shares of the window

/** A row of this table is all that a key needs. @type {Key[]} */
export const KEYS = [
  { name: "1 … 9", does: "choose a class",
    acts: Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`${i + 1}`, () => chooseClass(i)])) },
  { name: "Click", does: "seed a patch, again to take it back" },
  { name: "Shift-drag", does: "lasso, rectangle, brush, eraser or wand" },
  { name: "T", does: "next of these tools", acts: { t: nextTool } },
  { name: ", and .", does: "smaller, larger brush (or the wheel with Shift)", repeats: true,
    acts: { ",": () => resizeBrush(-1), ".": () => resizeBrush(1) } },
  { name: "I", does: "seeds hidden or shown", acts: { i: toggleSeeds } },
  { name: "Space", does: "run", acts: { Space: holdSpace }, ends: { Space: () => { if (releaseSpace()) ifSeen(run); } } },
  { name: "Space-drag", does: "move the slide" },
  { name: "Arrows", does: "move the slide", repeats: true, always: true, acts: {
    ArrowLeft: () => viewer.panBy(-PAN, 0), ArrowRight: () => viewer.panBy(PAN, 0),
    ArrowUp: () => viewer.panBy(0, -PAN), ArrowDown: () => viewer.panBy(0, PAN) } },
  { name: "Shift with an arrow", does: "frame the patch beside", repeats: true, acts: {
    "Shift-ArrowLeft": () => goOn(-1, 0), "Shift-ArrowRight": () => goOn(1, 0),
    "Shift-ArrowUp": () => goOn(0, -1), "Shift-ArrowDown": () => goOn(0, 1) } },
  { name: "Enter", does: "seed the framed patch", changes: true, acts: { Enter: seedFramed } },
  { name: "Right button, menu key, Shift-F10", does: "what can be done with a patch", changes: true,
    acts: { ContextMenu: openPatchMenu, "Shift-F10": openPatchMenu } },
  { name: "+, −", does: "nearer, farther", repeats: true, always: true, acts: {
    "+": () => viewer.zoomBy(ZOOM), "=": () => viewer.zoomBy(ZOOM), "-": () => viewer.zoomBy(1 / ZOOM) } },
  { name: "L", does: "Live on or off: run after every seed", changes: true, acts: { l: toggleLive } },
  { name: "Z, Ctrl-Z", does: "undo", changes: true, always: true, acts: { z: undo, "Ctrl-z": undo } },
  { name: "Shift-Z, Ctrl-Y", does: "redo", changes: true, always: true, acts: { "Shift-z": redo, "Ctrl-Shift-z": redo, "Ctrl-y": redo } },
  { name: "N", does: "card of the next patch to name: typical ones first, then those in doubt", acts: { n: suggest } },
  { name: "1 … 9, S", does: "on a card: its class, or cannot tell" },
  { name: "Shift-N", does: "on a card: back" },
  { name: "D", does: "card of the next patch on which a second opinion differs", acts: { d: nextOpinion } },
  { name: "U", does: "card of the next patch unlike any seed (where seeds of other slides count)", acts: { u: nextUnlike } },
  { name: "A", does: "pictures of what is most like the framed patch; among pictures: like the chosen one", acts: { a: showAlike } },
  { name: "Click, Shift-click, Ctrl-click, drag, Ctrl-A, 1 … 9, Enter", does: "among pictures: pick some, give all of them a class, go there" },
  { name: "C", does: "check how good the labels are: patches chosen at random are asked about, labels hidden", changes: true, acts: { c: goOnChecking } },
  { name: "H, held", does: "the bare slide", always: true, acts: { h: () => lookBare(true) }, ends: { h: () => lookBare(false) } },
  { name: "V", does: "next of the views", acts: { v: nextView } },
  { name: "Alt-click on a class", does: "its labels alone, again for all" },
  { name: "F2", does: "rename the class", changes: true, acts: { F2: () => startNaming(app.active) } },
  { name: "M", does: "map of the patches (UMAP), alike ones together", acts: { m: toggleMap } },
  { name: "Arrows, +, −", does: "on the map (after a click on it): move it, nearer, farther" },
  { name: "G, R", does: "regions on or off", acts: { g: toggleRegions, r: toggleRegions } }, // R alone would hide them, and they would still be said to be shown
  { name: "X", does: "next disputed place", acts: { x: nextDisputed } },
  { name: "Q, E", does: "decide for the first, the second reader", changes: true, acts: { q: () => decideSeen(0), e: () => decideSeen(1) } },
  { name: "[, ]", does: "the slide before, the next one", always: true, acts: { "[": () => step(-1), "]": () => step(1) } },
  { name: "F", does: "full screen (after a click on the slide)" },
  { name: "0", does: "the side bar away or back (after a click on the slide)" },
  { name: "Esc", does: "cancel", always: true, acts: { Escape: cancel } },
  { name: "?", does: "this list", always: true, acts: { "?": () => show({ areKeysOpen: !app.areKeysOpen }) } },
];

/** @type {Map<string, Key & { act: () => void }>} */
const downs = new Map(KEYS.flatMap((key) => Object.entries(key.acts ?? {}).map(([name, act]) => [name, { ...key, act }])));
/** @type {Map<string, () => void>} */
const ups = new Map(KEYS.flatMap((key) => Object.entries(key.ends ?? {})));

/** @type {((name: string, isRepeat: boolean) => boolean)[]} */
const takers = [];

/**
 * Let something in front of the slide have the keys first; `take` tells whether a key, by its name, was its own.
 * @param {(name: string, isRepeat: boolean) => boolean} take
 * @returns {() => void} how to stop that
 */
export function takeKeys(take) {
  takers.unshift(take);
  return () => { takers.splice(takers.indexOf(take), 1); };
}

// In the order of the list: the positive class comes first.
/** @param {number} place */
function chooseClass(place) {
  const label = app.state?.listed[place];
  if (label !== undefined) show({ active: label, isPicked: true });
}

function nextTool() {
  show({ tool: TOOLS[(TOOLS.indexOf(app.tool) + 1) % TOOLS.length] });
}

/** Frame the patch beside the framed one, or, where none is, that in the middle. @param {number} dx @param {number} dy */
function goOn(dx, dy) {
  const { grid } = layer(), { x, y, spacing } = grid, row = app.pointed;
  const next = grid.at(row === null ? viewer.middle() : { x: x[row] + dx * spacing, y: y[row] + dy * spacing });
  if (next === null) return;
  show({ pointed: next });
  viewer.lookAt(x[next], y[next]);
}

/** Seed the patch that is framed, or else the one that is suggested. */
function seedFramed() {
  const row = app.pointed ?? app.suggested;
  if (row === null) tell("No patch is framed: Shift with an arrow frames one");
  else if (!isSeeding()) tell("Nothing is seeded while the slide does not say “Seeding”");
  else {
    viewer.lookAt(layer().grid.x[row], layer().grid.y[row], 0); // of the map it may be anywhere
    seed([row]);
  }
}

/** Decide for a reader where the person sees what about; else show that first. @param {number} which */
function decideSeen(which) {
  const seen = seeDecision();
  if (seen === "seen") decide(which);
  else tell(seen === "brought" ? "This is what Q and E decide; press again" : "Bring the side bar back (0): what Q and E decide is there");
}

/** Change the session where the person sees it. @param {() => void} act */
function ifSeen(act) {
  if (app.isInFront) act();
  else tell("Open the plugin's panel first: this key changes what is annotated there");
}

// Where keys mean something already; a class that was just chosen, a box that was ticked or a slider is such a place
// for few of them only.
const TYPED = "input:not([type=radio], [type=checkbox], [type=range]), select, textarea, [contenteditable], .modal, [role=menu]";
const PRESSED = "button, summary, a[href], [role^=menuitem]"; // by Enter or Space
const OWN = ["Arrow", "Home", "End", "Page"]; // of sliders and radios

/** Whether an element wants a key for itself. @param {Element} target @param {string} name */
function isTaken(target, name) {
  if (target.closest(TYPED)) return true;
  if (name === "Space") return Boolean(target.closest("input:not([type=radio]:checked, [type=range]), button, summary"));
  if (name === "Enter") return Boolean(target.closest("input, button, summary, a[href]"));
  return Boolean(target.closest("input, [aria-haspopup=menu]")) && OWN.some((each) => name.startsWith(each));
}

/** Whether a key that is held would press what has the focus once more: a list that it opened would be chosen from. @param {KeyboardEvent} event */
const pressesAgain = ({ repeat, key, target }) => repeat && (key === "Enter" || key === " ")
  && Boolean(/** @type {Element} */ (target).closest(key === "Enter" ? `${PRESSED}, input` : PRESSED));

/**
 * Heard before anything else on the page hears of a key, which then hears no more of those that are ours: TissUUmaps
 * and OpenSeadragon have other uses for some.
 * @param {KeyboardEvent} event
 */
export function onKey(event) {
  const name = nameOf(event);
  if (pressesAgain(event)) {
    swallow(event);
    return;
  }
  if (!name || !app.state || isTaken(/** @type {Element} */ (event.target), name)) return;
  const key = downs.get(name);
  if (takers.some((take) => take(name, event.repeat))) {
    swallow(event);
    return;
  }
  // A region that is being drawn is TissUUmaps' to let go of.
  if (!key || name === "Escape" && viewer.isDrawingRegions()) return;
  swallow(event);
  if (event.repeat && !key.repeats) return;
  if (isBlind() && !key.always) tell("A check asks: answer it, or Esc leaves it");
  else if (key.changes) ifSeen(key.act); else key.act();
}

/** @param {KeyboardEvent} event */
export function onKeyUp(event) {
  const end = ups.get(nameOf(event) ?? "");
  if (!end || !app.state || isTaken(/** @type {Element} */ (event.target), nameOf(event) ?? "")) return;
  swallow(event);
  end();
}

/** Keys that are held when the window is left come up elsewhere. */
export function forgetKeys() {
  releaseSpace();
  if (app.isBare) lookBare(false);
}

/** @param {Event} event */
function swallow(event) {
  event.preventDefault();
  event.stopPropagation();
}
