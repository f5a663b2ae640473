/** The panel in TissUUmaps' side bar. */

import { html } from "../dom.js";
import { app } from "../state.js";
import { hideBar, showBar } from "./bar.js";
import { borrowed } from "./borrowed.js";
import { border } from "./border.js";
import { changes, classes, scheme } from "./classes.js";
import { compare } from "./compare.js";
import { decisions } from "./decide.js";
import { history } from "./history.js";
import { opinion } from "./opinion.js";
import { areas, outputs } from "./outputs.js";
import { keys } from "./keys.js";
import { quality } from "./quality.js";
import { isUnopened, unopened } from "./refused.js";
import { review } from "./review.js";
import { embeddings, runs } from "./runs.js";
import { takeDrops } from "../seedfile.js";
import { mount, mountGroup, mountSection, mountTelling, unmount } from "./section.js";
import { seedFile } from "./seedfile.js";
import { seeds } from "./seeds.js";
import { naming, sessions, slide } from "./sessions.js";
import { steps } from "./steps.js";
import { style } from "./style.js";
import { seeding } from "./tools.js";
import { trust } from "./trust.js";
import { unkept } from "./unkept.js";
import { unsent } from "./unsent.js";
import { views } from "./views.js";
import { why } from "./why.js";

/** @import { Section } from "./section.js" */

const ABOVE = [slide, unkept, steps, unsent, classes, changes, trust]; // always in sight
/** @type {[string, Section[]][]} */
const GROUPS = [
  ["View", [views, border]],
  ["Labels", [runs, embeddings, outputs, areas]],
  ["Seeding", [seeding, seedFile, borrowed, scheme]],
  ["Readers", [sessions, naming, compare, decisions]],
  ["How good is it", [quality]],
  ["Review", [review, opinion]],
  ["Why", [why]],
];
const BELOW = [seeds, history];

/** @type {HTMLElement | null} */
let panel = null;
// Apart from what is drawn anew: a style that comes and goes makes the browser look at the whole page again.
/** @type {HTMLElement | null} */
let sheet = null;
/** @type {ResizeObserver | null} */
let measure = null;

/**
 * Put the panel into an element of the page, and what is always to be seen over the slide; returns where sections are.
 * @param {Element} container
 */
export function showPanel(container) {
  const above = html("div", { class: "sic-above" }), below = html("div", { class: "sic-below" });
  panel = html("div", { class: "sic px-1 pb-2" }, above, below);
  takeDrops(panel);
  sheet = style();
  container.replaceChildren(sheet, panel);
  mount(above, () => [app.error, app.unopened, app.state === null, isUnopened()], () => (app.state ? []
    : [html("p", { class: "mt-2", id: "sic-waiting" }, app.error || app.unopened?.why || "Waiting for the slide's patches to load …"),
      isUnopened() ? unopened() : null]));
  for (const section of ABOVE) mountSection(above, section);
  for (const [title, sections] of GROUPS) mountGroup(below, title, sections);
  for (const section of BELOW) mountTelling(below, section);
  mountSection(below, keys);
  // What has the focus is never brought into view behind what stays in place.
  measure = new ResizeObserver(() => panel?.style.setProperty("--sic-above", `${above.offsetHeight}px`));
  measure.observe(above);
  showBar();
  return below;
}

export function hidePanel() {
  unmount();
  hideBar();
  measure?.disconnect();
  panel?.remove();
  sheet?.remove();
  panel = sheet = measure = null;
}
