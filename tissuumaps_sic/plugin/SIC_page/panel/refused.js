/** What is left where a slide's session could not be opened: another one, beside which the file stays as it is, or to try again. */

import { button, html } from "../dom.js";
import { choose, openSession } from "../open.js";
import { app, isSlow, layer, memory } from "../state.js";
import * as viewer from "../viewer.js";

const own = memory(() => ({ text: "" })); // the name, as far as it is typed

export const isUnopened = () => app.state === null && app.layer !== null && app.busy === null && app.unopened !== null;

/** Where the session is refused another one may do; else something is the matter with the server or the slide, for every session of it. */
export const unopened = () => (app.unopened?.isRefused ? another()
  : button("Try again", "Open the slide again", () => goToSlide(choose(layer())), { id: "sic-try-again" }));

function another() {
  /** @type {HTMLInputElement} */
  const field = html("input", { type: "text", id: "sic-other-session", class: "form-control form-control-sm", autocomplete: "off",
    placeholder: "Name of another session", value: own.text, oninput: () => { own.text = field.value; }, title: "Enter opens the session of this name, or begins it", "aria-label": "Name of another session",
    onkeydown: (event) => { if (event.key === "Enter") take(); } });
  const take = () => { if (own.text.trim()) goToSlide(openSession(own.text.trim())); };
  return html("div", { class: "sic-session-naming" }, field,
    button("Open or begin", "Open the session of this name, or begin it; the file that was refused stays as it is", take,
      { id: "sic-open-other", disabled: isSlow() }));
}

/** Once a session is open, and what had the focus is gone with what was refused, let the slide have it. @param {Promise<boolean>} opening */
async function goToSlide(opening) {
  if (await opening && app.state && document.activeElement === document.body) viewer.container().focus({ preventScroll: true });
}
