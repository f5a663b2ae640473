/** The slides of the folder, and the way from one to the next. */

import { atRoot } from "./address.js";
import { attempt, enqueue } from "./requests.js";
import * as server from "./server.js";
import { app, memory, request, subscribe, update } from "./state.js";

/** @import { Slide } from "./server.js" */

const KEPT = "SIC.kept"; // what goes along to the next slide, in this tab
/** @type {("session" | "tool" | "live" | "opacity" | "seeding" | "method" | "wantedView")[]} */
const CARRIED = ["session", "tool", "live", "opacity", "seeding", "method", "wantedView"];

const own = memory(() => ({ asked: "" })); // the session that the list is of

/** Take what the person chose on the slide before. */
export function recall() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
    for (const name of CARRIED) if (typeof kept[name] === typeof app[name]) update({ [name]: kept[name] });
  } catch { /* not ours: begin as ever */ }
}

/** Keep what goes along, and the list of the session that is open; returns how to stop that. */
export function followSlide() {
  const stops = [
    subscribe(() => CARRIED.map((name) => app[name]), remember),
    subscribe(() => [app.session, app.busy], () => { if (app.worklist && own.asked !== app.session && !app.busy) loadWorklist(); }),
  ];
  return () => { for (const stop of stops) stop(); };
}

function remember() {
  sessionStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(CARRIED.map((name) => [name, app[name]]))));
}

/** Ask which slides there are; a folder whose list cannot be had is one that has none. */
export async function loadWorklist() {
  own.asked = app.session;
  update({ worklist: await attempt("No list of slides", server.worklist(request())) });
}

const here = () => app.worklist?.slides.findIndex((each) => each.h5ad === app.worklist?.here) ?? -1;

/** The place of this slide in the list, and the last place. */
export const places = () => ({ place: here(), last: (app.worklist?.slides.length ?? 0) - 1 });

/** Slides whose seeds this one can borrow. */
export const lenders = () => (app.worklist?.slides ?? []).filter((each) => each.lends);

/** Go to the slide so many places further in the list. @param {number} by */
export function step(by) {
  const next = app.worklist?.slides[here() + by];
  if (next) goTo(next);
}

/** Go to a slide, after what is still being saved. @param {Slide} slide */
export function goTo(slide) {
  enqueue("Opening the slide", async () => {
    remember();
    window.location.assign(atRoot(slide.page));
  });
}
