/** A part of the panel, which is drawn anew when what it shows has changed and only then. */

import { html } from "../dom.js";
import { app, subscribe } from "../state.js";

/** @import { Child } from "../dom.js" */
/** @import { Session } from "../server.js" */

/** @typedef {{ shows: (state: Session) => unknown[], draw: (state: Session) => Child[] }} Section */

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
  // A name that is being typed survives what happens meanwhile.
  const isTyped = () => app.busy !== null && /** @type {HTMLInputElement | null} */ (focused())?.type === "text";
  stops.push(subscribe(() => (isTyped() ? null : shows()), () => {
    const id = focused()?.id;
    node.replaceChildren(...draw().filter((child) => child !== null));
    if (id) document.getElementById(id)?.focus();
  }));
}

/** Put a section into the panel; until a slide is open it shows nothing. @param {Element} panel @param {Section} section */
export function mountSection(panel, { shows, draw }) {
  mount(panel, () => (app.state ? shows(app.state) : []), () => (app.state ? draw(app.state) : []));
}

export function unmount() {
  for (const stop of stops) stop();
  stops = [];
}
