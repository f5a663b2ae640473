/** What is left where a slide's session cannot be opened: another one, beside which the file stays as it is. */

import { button, html } from "../dom.js";
import { openSession } from "../open.js";
import { app, isSlow, memory } from "../state.js";

const own = memory(() => ({ text: "" })); // the name, as far as it is typed

export const isRefused = () => app.state === null && app.layer !== null && app.busy === null;

export function refused() {
  /** @type {HTMLInputElement} */
  const field = html("input", { type: "text", id: "sic-other-session", class: "form-control form-control-sm", autocomplete: "off",
    placeholder: "Name of another session", value: own.text, oninput: () => { own.text = field.value; }, title: "Enter opens the session of this name, or begins it", "aria-label": "Name of another session",
    onkeydown: (event) => { if (event.key === "Enter") take(); } });
  const take = () => { if (own.text.trim()) openSession(own.text.trim()); };
  return html("div", { class: "sic-session-naming" }, field,
    button("Open or begin", "Open the session of this name, or begin it; the file that was refused stays as it is", take,
      { id: "sic-open-other", disabled: isSlow() }));
}
