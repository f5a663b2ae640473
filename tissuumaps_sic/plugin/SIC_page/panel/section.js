/** A part of the panel, which is drawn anew when what it shows has changed and only then. */

import { html } from "../dom.js";
import { app, isBlind, subscribe, update } from "../state.js";

/** @import { Child } from "../dom.js" */
/** @import { Session } from "../server.js" */

/** @typedef {{ shows: (state: Session) => unknown[], draw: (state: Session) => Child[] }} Section */

const FOLDED = "SIC.folded"; // names of the groups that the person has folded, of all slides
const FOCUSABLE = "a[href], button, input, select, summary, [tabindex]";

/** @type {(() => void)[]} */
let stops = [];

/**
 * Put something into the panel that is drawn by `draw`, of what `shows` gives.
 * @param {Element} panel
 * @param {() => unknown[]} shows
 * @param {() => Child[]} draw
 */
export function mount(panel, shows, draw) {
  const node = html("div", {}, ...draw());
  panel.append(node);
  const focused = () => (node.contains(document.activeElement) ? document.activeElement : null);
  // A list that is open, and its place in it, survive what happens meanwhile; so does a name that is being typed.
  const isOpen = () => node.querySelector(".sic-menu:popover-open") !== null;
  node.addEventListener("toggle", () => update({}), true); // closed, it is drawn anew if that is due
  const isTyped = () => app.busy !== null && /** @type {HTMLInputElement | null} */ (focused())?.type === "text";
  /** @type {string | number | null} */
  let wanted = null; // what had the focus, while it cannot have it
  stops.push(subscribe(() => (isTyped() || isOpen() ? null : shows()), () => {
    const had = focused();
    if (had) wanted = had.id || [...node.querySelectorAll(FOCUSABLE)].indexOf(had);
    else if (document.activeElement && document.activeElement !== document.body) wanted = null; // it went elsewhere
    node.replaceChildren(...draw().filter((child) => child !== null));
    if (wanted === null) return;
    const heir = /** @type {HTMLElement | null} */ (typeof wanted === "string" ? document.getElementById(wanted)
      : node.querySelectorAll(FOCUSABLE)[wanted] ?? null);
    if (document.activeElement !== heir) heir?.focus({ preventScroll: true });
    if (document.activeElement === heir) wanted = null;
  }));
}

/** Put a section into the panel; until a slide is open it shows nothing. @param {Element} panel @param {Section} section */
export function mountSection(panel, { shows, draw }) {
  mount(panel, () => (app.state ? shows(app.state) : []), () => (app.state ? draw(app.state) : []));
}

/** Put a section into the panel that shows nothing while a check asks: it tells what patches are labelled, or leads there. @param {Element} panel @param {Section} section */
export const mountTelling = (panel, { shows, draw }) => mountSection(panel, {
  shows: (state) => (isBlind() ? [] : shows(state)), draw: (state) => (isBlind() ? [] : draw(state)) });

/** Put sections under a heading into the panel, which folds them and is remembered. @param {Element} panel @param {string} title @param {Section[]} sections */
export function mountGroup(panel, title, sections) {
  const group = html("details", { class: "sic-group", "data-group": title, open: !folded().includes(title), ontoggle: () => {
    const others = folded().filter((each) => each !== title);
    localStorage.setItem(FOLDED, JSON.stringify(group.open ? others : [...others, title]));
  } }, html("summary", { title: `${title}: fold or unfold` }, title));
  panel.append(group);
  for (const section of sections) mountTelling(group, section);
}

/** @returns {string[]} */
function folded() {
  try {
    const known = JSON.parse(localStorage.getItem(FOLDED) ?? "[]");
    return Array.isArray(known) ? known : [];
  } catch {
    return []; // not ours
  }
}

export function unmount() {
  for (const stop of stops) stop();
  stops = [];
}
