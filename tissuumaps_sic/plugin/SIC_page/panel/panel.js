/** The panel in TissUUmaps' side bar. */

import { html } from "../dom.js";
import { app } from "../state.js";
import { borrowed } from "./borrowed.js";
import { border } from "./border.js";
import { changes, classes, scheme } from "./classes.js";
import { compare } from "./compare.js";
import { decisions } from "./decide.js";
import { history } from "./history.js";
import { areas, outputs } from "./outputs.js";
import { keys } from "./keys.js";
import { drawMessages, followProgress, messages } from "./messages.js";
import { embeddings, runs } from "./runs.js";
import { mount, mountSection, unmount } from "./section.js";
import { seeds } from "./seeds.js";
import { naming, sessions, slide } from "./sessions.js";
import { style } from "./style.js";
import { seeding } from "./tools.js";
import { unsent } from "./unsent.js";
import { views } from "./views.js";
import { why } from "./why.js";

const ABOVE = [slide, sessions, compare, naming, decisions, unsent, classes, changes, borrowed, seeding, runs, embeddings, views, border, outputs, areas];
const BELOW = [why, seeds, history, scheme, keys];

/** @type {HTMLElement | null} */
let panel = null;
// Apart from what is drawn anew: a style that comes and goes makes the browser look at the whole page again.
/** @type {HTMLElement | null} */
let sheet = null;
let unfollow = () => {};

/** Put the panel into an element of the page. @param {Element} container */
export function showPanel(container) {
  panel = html("div", { class: "sic px-1 pb-2" });
  sheet = style();
  container.replaceChildren(sheet, panel);
  mount(panel, () => [!app.state && !app.error, !app.state], () => (app.state ? []
    : [html("p", { class: "text-muted mt-2" }, app.error ? "" : "Waiting for the patches of an h5ad to load …")]));
  for (const section of ABOVE) mountSection(panel, section);
  mount(panel, messages, drawMessages);
  unfollow = followProgress();
  for (const section of BELOW) mountSection(panel, section);
}

export function hidePanel() {
  unmount();
  unfollow();
  panel?.remove();
  sheet?.remove();
  panel = sheet = null;
}
