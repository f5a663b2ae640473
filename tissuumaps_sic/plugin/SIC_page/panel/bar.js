/** What lies over the slide's upper edge, and is in sight whatever the side bar shows: what a click does, what happens, what is saved. */

import { classTag, html } from "../dom.js";
import { barOf, magnificationOf } from "../ruler.js";
import { app, isBlind, isOutlining, isSeeding, isTemporary, layer, subscribe } from "../state.js";
import * as viewer from "../viewer.js";
import { drawMessages, followProgress, messages } from "./messages.js";
import { mount } from "./section.js";

const WIDEST = 120; // CSS pixels of the ruler
const SAVED = "Everything that was done on this slide is saved, in a file beside it";

/** @type {HTMLElement | null} */
let bar = null;
/** @type {HTMLElement | null} */
let ruler = null;
/** @type {(() => void)[]} */
let stops = [];

export function showBar() {
  bar = html("div", { class: "sic sic-bar", id: "sic-bar" });
  ruler = html("div", { class: "sic sic-ruler", id: "sic-ruler" });
  viewer.stage().append(bar, ruler);
  mount(bar, () => [isSeeding(), isOutlining(), isBlind(), app.active, app.state?.classes], drawBadge);
  mount(bar, messages, drawMessages);
  mount(bar, () => [app.isUnsaved, app.unsent.length, app.savedAt, app.busy?.kind === "Saving", app.state !== null, app.facts?.unwritable], drawSaved);
  stops = [followProgress(), viewer.onMove(drawRuler), subscribe(() => [app.facts], drawRuler),
    subscribe(() => [isSeeding() || isOutlining()], () => viewer.container().classList.toggle("sic-seeding", isSeeding() || isOutlining()))];
  const around = viewer.stage(), { offsetTop } = bar;
  const measure = new ResizeObserver(([entry]) => around.style.setProperty("--sic-bar", `${offsetTop + entry.contentRect.height}px`));
  measure.observe(bar);
  stops.push(() => {
    measure.disconnect();
    around.style.removeProperty("--sic-bar");
  });
  drawRuler();
}

export function hideBar() {
  for (const stop of stops) stop();
  stops = [];
  bar?.remove();
  ruler?.remove();
  bar = ruler = null;
  viewer.container().classList.remove("sic-seeding");
}

/** What a click on the slide does; nothing where it only looks. */
function drawBadge() {
  if (isBlind()) return [html("div", { id: "sic-badge", class: "sic-pill" }, "Check: labels are hidden")];
  if (isOutlining()) return [html("div", { id: "sic-badge", class: "sic-pill" }, "Drawing: the part that the note is on")];
  const seedClass = isSeeding() ? app.state?.classes[app.active] : null;
  if (!seedClass) return [];
  return [html("div", { id: "sic-badge", class: "sic-pill", style: `border-color: ${seedClass.color}`,
    title: "A click on the slide makes the patch under it an example of this class" },
  "Seeding: ", classTag(seedClass.color, html("b", {}, seedClass.name)))];
}

function drawSaved() {
  if (!app.state) return [];
  const [mark, text, title, kind] = app.facts?.unwritable && !isTemporary()
    ? ["✕", "Nothing is saved", app.facts.unwritable, "lost"]
    : app.busy?.kind === "Saving" ? ["…", "Saving", "The last change is on its way", "going"]
      : app.isUnsaved || app.unsent.length ? ["✕", "Not saved", "The last change is not saved yet", "lost"]
        : isTemporary() ? ["!", "Not on disk", `The server keeps it until it stops: ${app.facts?.unwritable}`, "lost"]
          : app.savedAt === null ? ["✓", "All saved", SAVED, "kept"]
            : ["✓", `Saved ${timeOf(app.savedAt)}`, SAVED, "kept"];
  return [html("div", { id: "sic-saved", class: `sic-pill sic-${kind}`, title }, html("span", { "aria-hidden": "true" }, `${mark} `), text)];
}

/** @param {number} time */
const timeOf = (time) => new Date(time).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

/** A length and the magnification, where the file tells how large a pixel is. */
function drawRuler() {
  if (!ruler) return;
  const mpp = app.layer && app.facts?.mpp ? app.facts.mpp / (layer().factor * viewer.screenScale()) : null;
  ruler.hidden = mpp === null;
  if (mpp === null) return;
  const { width, text } = barOf(mpp, WIDEST);
  ruler.replaceChildren(
    html("span", { id: "sic-magnification", title: "Magnification, as a microscope would show it" }, magnificationOf(mpp)),
    html("span", { class: "sic-ruler-bar", style: `width: ${width}px` }), html("span", { id: "sic-ruler-length" }, text));
}
