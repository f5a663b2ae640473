/** What is to be known where no session can be saved on disk. */

import { button, html } from "../dom.js";
import { saveHeld, saveLost } from "../held.js";
import { app, isTemporary } from "../state.js";

/** @type {import("./section.js").Section} */
export const unkept = {
  shows: (state) => [app.facts?.unwritable, isTemporary(), state.slide, state.revision > 0, app.held && app.held.revision > state.revision],
  draw(state) {
    const why = app.facts?.unwritable;
    if (!why) return [];
    if (!isTemporary()) {
      return [html("div", { class: "sic-banner", id: "sic-unwritable" }, `Nothing can be saved here: ${why}. You can look, and get labels `
        + "that are saved already as files; to annotate, copy the slide's files to a folder of your own, or ask for the right to write.")];
    }
    const isLost = app.held !== null && app.held.revision > state.revision;
    return [html("div", { class: "sic-banner", id: "sic-unwritable" },
      `Nothing is kept on disk: ${why}. All works as usual, until the server stops. `,
      button("Save session as a file", "Put it beside the slide, and it opens again", saveHeld,
        { id: "sic-save-session", disabled: !state.revision && !isLost }),
      isLost ? button("Save what the server has lost", "Your session as this page saw it last", saveLost, { id: "sic-save-lost" }) : null)];
  },
};
