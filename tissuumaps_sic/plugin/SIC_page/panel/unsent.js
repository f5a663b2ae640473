/** What is kept in the page while the server is away. */

import { button, html } from "../dom.js";
import { saveUnsent, sendAgain } from "../outbox.js";
import { app, isSlow } from "../state.js";

/** @type {import("./section.js").Section} */
export const unsent = {
  // While a click is on its way for the first time nothing is said.
  shows: () => [app.busy && !isSlow() ? null : app.unsent.length, isSlow()],
  draw() {
    const n = app.unsent.length;
    if (!n || (app.busy && !isSlow())) return [];
    const what = app.unsent.some(({ isAnswer }) => isAnswer) ? "" : " of seeds";
    return [html("div", { class: "sic-unsent", id: "sic-unsent", role: "alert" },
      html("div", {}, `${n === 1 ? `1 change${what} is` : `${n} changes${what} are`} not saved yet; ${n === 1 ? "it is" : "they are"} kept in this page.`),
      button("Try now", "Send them to the server", sendAgain, { id: "sic-send", disabled: isSlow() }),
      button("Save as a file", "Have them as a file, which this panel reads again", saveUnsent, { id: "sic-save-unsent" }))];
  },
};
