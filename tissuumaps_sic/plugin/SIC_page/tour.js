/** A short tour of the panel, of what a newcomer does first: on the demo it begins by itself until it was closed once, and `?` has it again. */

import { button, html } from "./dom.js";
import { app, show, subscribe, update } from "./state.js";
import * as viewer from "./viewer.js";

const SEEN = "SIC.tour"; // that it was closed, in every tab and on every slide
const DEMO = /(^|\/)demo\.h5ad$/;
const GAP = 12; // CSS pixels to the slide's edges

/** What it stops at: an element of the panel, or the slide (""), and what is said of it. */
export const STOPS = [
  { at: ".sic-classes", title: "Choose a class",
    text: "A class is a kind of tissue that you want to find. Click it, or press its number. A double click renames it, + Class adds another." },
  { at: "", title: "Click a few examples",
    text: "The square under the pointer is one patch. Click three or more of each class: you need not be complete. Click one again to take it back. "
      + "N shows patches that are worth a click." },
  { at: "#sic-run", title: "Run",
    text: "Run (Space) labels every patch of the slide by what your examples look like. It takes a moment." },
  { at: ".sic-view", title: "Look, and correct",
    text: "Labels lie over the slide; hold H to see it bare. Where a label is wrong, choose the right class, click the patch, and run again. Z takes back." },
  { at: "[data-group=Labels]", title: "Once there are labels",
    text: "A check (C) asks you about 40 patches chosen at random, with the labels hidden, and tells how often they are right. Export gives tables, regions "
      + "for QuPath, masks and a report. What you do is saved as you do it." },
  { at: "#sic-keys", title: "More",
    text: "? lists the keys, and shows this tour again." },
];

/** @type {HTMLElement | null} */
let box = null;
// Around what it points at, and no mark on that itself: the panel draws its parts anew.
/** @type {HTMLElement | null} */
let frame = null;

/** Begin it, for somebody who asked. */
export function startTour() {
  show({ tour: 0, areKeysOpen: false });
  document.getElementById("sic-tour-next")?.focus({ preventScroll: true });
}

/** Close it, for good; returns whether it was open. */
export function closeTour() {
  if (app.tour === null) return false;
  show({ tour: null });
  try {
    localStorage.setItem(SEEN, "closed");
  } catch {
    // A browser that keeps nothing shows it again.
  }
  return true;
}

/** Whether it begins by itself: somebody is on the untouched demo who has never closed it. */
const isWanted = () => Boolean(app.state && !app.state.run && !app.state.seeds.labels.length && DEMO.test(app.layer?.h5ad ?? ""))
  && localStorage.getItem(SEEN) === null;

/** Show the stop that it is at; returns how to end that. */
export function followTour() {
  const stops = [
    subscribe(() => [app.layer?.h5ad, app.state !== null], () => { if (isWanted()) update({ tour: 0 }); }),
    subscribe(() => [app.tour, app.state !== null, app.isInFront], draw),
    // What it points at may be elsewhere then.
    subscribe(() => [app.state, app.facts, app.view, app.active, app.areKeysOpen], placeSoon),
  ];
  window.addEventListener("resize", placeSoon);
  document.addEventListener("scroll", placeSoon, true);
  document.addEventListener("toggle", placeSoon, true); // a part of the panel was folded
  if (isWanted()) update({ tour: 0 });
  draw();
  return () => {
    for (const stop of stops) stop();
    window.removeEventListener("resize", placeSoon);
    document.removeEventListener("scroll", placeSoon, true);
    document.removeEventListener("toggle", placeSoon, true);
    remove();
  };
}

function remove() {
  viewer.takeAway(box);
  frame?.remove();
  box = frame = null;
}

function draw() {
  const had = box?.contains(document.activeElement) ? document.activeElement?.id : "";
  remove();
  if (app.tour === null || !app.state || !app.isInFront) return;
  const at = app.tour, { title, text } = STOPS[at], isLast = at === STOPS.length - 1;
  const go = (/** @type {number} */ to) => () => show({ tour: to });
  box = html("section", { id: "sic-tour", class: "sic-tour", "aria-label": "Tour" },
    html("div", { class: "sic-card-head" }, html("b", { role: "status" }, `${at + 1} of ${STOPS.length}: ${title}`),
      button("×", "Close the tour for good (Esc); ? shows it again", closeTour, { id: "sic-tour-close", "aria-label": "Close the tour" })),
    html("div", {}, text),
    html("div", { class: "sic-card-foot" },
      at ? button("Back", "The stop before", go(at - 1), { id: "sic-tour-back" }) : null,
      isLast ? button("Done", "Close the tour (Esc)", closeTour, { id: "sic-tour-next" })
        : button("Next", "The next stop", go(at + 1), { id: "sic-tour-next" })));
  frame = html("div", { id: "sic-tour-frame", class: "sic-tour-frame", "aria-hidden": "true" });
  viewer.container().parentElement?.append(box);
  document.body.append(frame);
  findSeen()?.scrollIntoView({ block: "nearest" });
  place();
  placeSoon();
  if (had) (document.getElementById(had) ?? document.getElementById("sic-tour-next"))?.focus();
}

/** What it points at, or the part of the panel that hides it while it is folded; null where it is about the slide. */
function findSeen() {
  const { at } = STOPS[app.tour ?? 0], target = at ? document.querySelector(at) : null;
  return target?.checkVisibility() ? target : target?.closest("details") ?? null;
}

/** Once the panel is as it will be. */
const placeSoon = () => { if (box) requestAnimationFrame(place); };

/** Put it beside what it points at, and over the slide. */
function place() {
  if (!box || !frame) return;
  const slide = viewer.container().getBoundingClientRect(), wanted = findSeen()?.getBoundingClientRect();
  const lowest = Math.max(GAP, slide.height - box.offsetHeight - GAP);
  // Below the badge and the messages where it is about the slide.
  box.style.top = `${Math.min(Math.max(wanted ? wanted.top - slide.top : slide.height / 3, GAP), lowest)}px`;
  box.className = `sic-tour sic-tour-${!wanted ? "middle" : wanted.left >= slide.left + slide.width / 2 ? "right" : "left"}`;
  frame.hidden = !wanted;
  if (!wanted) return;
  Object.assign(frame.style, { left: `${wanted.left}px`, top: `${wanted.top}px`, width: `${wanted.width}px`, height: `${wanted.height}px` });
}
