/** The card: one patch at 40x with its surroundings, to be answered by a key. */

import { placeOf } from "./asked.js";
import { closeCard, goBack, noteGiven } from "./cards.js";
import { answerCheck, goOnChecking } from "./check.js";
import { copySource } from "./commands.js";
import { resolution } from "./coverage.js";
import { button, count, html } from "./dom.js";
import { nextOpinion } from "./opinion.js";
import { drawSeeds } from "./overlay.js";
import { pairOf, question } from "./pairing.js";
import { nextDisputed } from "./readers.js";
import { change } from "./runs.js";
import { app, current, isBlind, layer, seededLabels, show, subscribe, update } from "./state.js";
import { drawStrip } from "./strip.js";
import { nextUnlike, suggest } from "./suggestions.js";
import * as viewer from "./viewer.js";

/** @import { Check } from "./asked.js" */
/** @import { Deck, Kind } from "./cards.js" */
/** @import { Opinions } from "./pairing.js" */

const SIDE = 320, AROUND = 148; // CSS pixels of the two pictures
const FORTYFOLD = 0.25; // µm to a pixel of the screen
const STRIDES = 8; // patches across the surroundings
const RING = 28; // CSS pixels, of the halo
const WIDE = 1.6; // patches across the halo, around one that is large on the screen
const FEW = 4; // answers that fit below each other
const PLENTY = 24; // CSS pixels of a patch on the screen, from which it needs no halo

/** @type {Record<Kind, { title: string, key: string, next: () => void }>} */
const KINDS = {
  suggested: { title: "Suggested patch", key: "N", next: suggest },
  disputed: { title: "Disputed place", key: "X", next: nextDisputed },
  unlike: { title: "Unlike any seed", key: "U", next: nextUnlike },
  opinion: { title: "Second opinion", key: "D", next: nextOpinion },
  check: { title: "Check: patch", key: "C", next: goOnChecking },
};

/** @type {HTMLElement | null} */
let box = null;
/** @type {HTMLElement | null} */
let halo = null;
/** @type {number | null} */
let drawnRow = null;
/** @type {{ row: number, pictures: HTMLElement[] } | null} */
let coming = null;

/** Show the card while there is one; returns how to stop that. */
export function followCard() {
  const handlers = { "update-viewport": placeHalo };
  viewer.on(handlers);
  const stops = [
    subscribe(() => [app.card, app.suggested, app.layer, app.state?.classes, app.state?.listed, app.state?.seeds], showCardNow),
    () => viewer.off(handlers), remove,
  ];
  return () => { for (const stop of stops) stop(); };
}

function remove() {
  viewer.takeAway(box);
  halo?.remove();
  box = halo = drawnRow = coming = null;
}

/** @param {Deck} deck */
const rowOf = ({ rows, place }) => rows[place];

/** The patch on the card, or null. */
export const cardRow = () => (app.card ? rowOf(app.card) ?? null : null);

function showCardNow() {
  const { card } = app, row = cardRow();
  if (!card || row === null || !app.state) {
    if (box) drawSeeds(); // the mark goes with the card
    remove();
    return;
  }
  if (app.suggested !== row) {
    update({ suggested: row });
    drawSeeds();
  }
  if (!box) {
    box = html("section", { id: "sic-card", class: "sic-card", "aria-label": "A patch to answer" });
    halo = html("div", { id: "sic-halo", class: "sic-halo", "aria-hidden": "true" });
    viewer.container().parentElement?.append(halo, box);
  }
  if (drawnRow !== row) viewer.lookAt(layer().grid.x[row], layer().grid.y[row]);
  const focus = box.contains(document.activeElement) ? document.activeElement?.id : null;
  const pictures = drawnRow === row ? [...box.querySelectorAll(".sic-card-picture")] : picturesOf(row);
  const isNew = drawnRow !== row;
  drawnRow = row;
  box.replaceChildren(...draw(card, row, pictures).filter((each) => each !== null));
  if (isNew) uncover(row, box);
  const next = card.rows[card.place + 1];
  if (card.asked && next !== undefined && coming?.row !== next) coming = { row: next, pictures: drawBoth(next) };
  if (focus) document.getElementById(focus)?.focus();
  placeHalo();
}

/** @param {Deck} card @param {number} row @param {Element[]} pictures */
function draw(card, row, pictures) {
  const { classes, listed } = current();
  const { source } = card, { key, next } = KINDS[card.kind], { title, number, all, names } = tellPlace(card, row);
  return [
    html("div", { class: "sic-card-head" },
      html("b", { id: "sic-card-title", role: "status" }, `${title} ${count(number)} of ${count(all)}`),
      html("span", { id: "sic-card-said" }, tellSaid(card, row)),
      button("×", "Close the card (Esc)", closeCard, { id: "sic-card-close", "aria-label": "Close the card" })),
    html("div", { class: "sic-card-body", "data-patch": row },
      pictures[0],
      html("div", { class: `sic-card-side${listed.length > FEW ? " sic-card-wide" : ""}` }, pictures[1],
        ...listed.slice(0, 9).map((label, place) => html("button", {
          type: "button", id: `sic-answer-${label}`, class: `sic-answer${names.includes(classes[label].name) ? " sic-answer-likely" : ""}`, style: `border-color: ${classes[label].color}`,
          title: `${classes[label].name} (key ${place + 1})`, onclick: () => answer(label),
        }, html("kbd", {}, String(place + 1)), html("span", {}, classes[label].name))))),
    card.kind === "suggested" ? drawStrip(card) : null,
    card.asked ? html("div", { class: "sic-card-words" }, "Chosen at random, its label hidden. Answers are never used to label; Esc leaves, C goes on later.") : null,
    html("div", { class: "sic-card-foot" },
      button("Back (Shift-N)", "The patch before (Shift-N)", goBack, { id: "sic-card-back", disabled: card.place === 0 }),
      button("Cannot tell (S)", card.asked ? "Leave this patch out, and go on (S)" : "Go on, and do not ask about this patch again (S)", skip,
        { id: "sic-card-skip" }),
      source ? button("Copy as command", "The command that lists these patches", () => copySource(source), { id: "sic-card-command" }) : null,
      card.asked ? null : button(`Next (${key})`, "Go on without an answer", next, { id: "sic-card-next" })),
  ];
}

/** What the card is called, which of how many it is, and the classes of which one is likely. @param {Deck} card @param {number} row */
function tellPlace(card, row) {
  const { title } = KINDS[card.kind];
  if (card.pairs) {
    const { pair, number, all } = pairOf(/** @type {Opinions} */ (card), row);
    return { title: question(pair), number, all, names: pair.names };
  }
  const { number, all } = card.asked ? placeOf(/** @type {Check} */ (card)) : { number: card.place + 1, all: card.rows.length };
  return { title: card.isCold ? "Typical patch" : title, number, all, names: /** @type {string[]} */ ([]) };
}

/** What was said of the patch; in a check never what it is labelled or seeded. @param {Deck} card @param {number} row */
function tellSaid({ asked }, row) {
  const { classes } = current(), label = asked ? asked.said.get(row) : seededLabels().get(row);
  if (label === undefined) return "";
  return label === null ? "you cannot tell" : `${asked ? "you said" : "seeded"} ${classes[label].name}`;
}

/** @param {number} row */
const drawBoth = (row) => [picture(row), surroundings(row)];

/** The pictures of a patch, which of the next one in a check are drawn already. @param {number} row */
const picturesOf = (row) => (coming?.row === row ? coming.pictures : drawBoth(row));

/** The patch at 40x, or as near as all of it fits, in its frame. @param {number} row */
function picture(row) {
  const { grid } = layer(), mpp = resolution(app.looked?.spacing ?? null, grid);
  return framed(row, SIDE, Math.max((SIDE * FORTYFOLD) / mpp, grid.spacing * 1.1), "The patch at 40x");
}

/** @param {number} row */
const surroundings = (row) => framed(row, AROUND, layer().grid.spacing * STRIDES, "Its surroundings");

/** @param {number} row @param {number} pixels @param {number} side of the slide's square, image pixels @param {string} title */
function framed(row, pixels, side, title) {
  const { x, y, spacing } = layer().grid;
  const canvas = html("canvas", { width: pixels, height: pixels });
  const frame = (pixels * spacing) / side, at = (pixels - frame) / 2;
  const node = html("div", { class: "sic-card-picture", title, role: "img", "aria-label": title,
    style: `width: ${pixels}px; height: ${pixels}px` }, canvas,
  html("span", { class: "sic-card-frame", style: `left: ${at}px; top: ${at}px; width: ${frame}px; height: ${frame}px` }));
  viewer.drawSlide(canvas, x[row], y[row], side)
    .then((isDrawn) => { if (!isDrawn) node.classList.add("sic-card-empty"); })
    .catch(() => node.classList.add("sic-card-empty"));
  return node;
}

/** Ring the patch where it is small on the screen. */
function placeHalo() {
  if (!halo || drawnRow === null || !app.layer) return;
  const { x, y, spacing } = app.layer.grid;
  const at = viewer.toScreen(x[drawnRow], y[drawnRow]), side = spacing / viewer.viewBox().scale;
  halo.hidden = side > PLENTY && !isBlind();
  // In a check nothing else tells where the patch is.
  halo.style.setProperty("--sic-ring", `${Math.max(2 * RING, isBlind() ? WIDE * side : 0)}px`);
  halo.style.transform = `translate(${at.x}px, ${at.y}px)`;
}

/** Move the slide where the card hides its patch: into the middle of what the card leaves. @param {number} row @param {HTMLElement} card */
function uncover(row, card) {
  const { x, y } = layer().grid, at = viewer.toScreen(x[row], y[row], false);
  const right = card.offsetLeft + card.offsetWidth, bottom = card.offsetTop + card.offsetHeight;
  if (at.x > right + RING || at.y > bottom + RING) return;
  const around = /** @type {HTMLElement} */ (card.parentElement);
  viewer.moveBy((right + around.clientWidth) / 2 - at.x, around.clientHeight / 2 - at.y);
}

/** @param {number} label */
const answer = (label) => (isBlind() ? answerCheck(label) : say({ kind: "seed", label }, `Seeded: ${current().classes[label].name}`));

const skip = () => (isBlind() ? answerCheck(null) : say({ kind: "skip" }, "Cannot tell: noted, and not asked again"));

/** Say something of the patch and go on at once; back to it where that could not be kept. @param {Record<string, unknown>} what @param {string} status */
async function say(what, status) {
  const { card } = app, row = cardRow();
  if (!card || row === null) return;
  const saved = change(() => ({ ...what, patches: [row] }), status);
  if (typeof what.label === "number") noteGiven(row, what.label);
  KINDS[card.kind].next();
  if (!await saved) show({ card });
}

/** What a key does while there is a card; returns whether it is one of the card's. @param {string} key */
export function takeCardKey(key) {
  if (!app.card) return false;
  const label = /^[1-9]$/.test(key) ? current().listed[Number(key) - 1] : undefined;
  if (label !== undefined) answer(label);
  else if (key === "s") skip();
  else if (key === "Shift-n") goBack();
  else if (key === "Escape") closeCard();
  else return false;
  return true;
}

