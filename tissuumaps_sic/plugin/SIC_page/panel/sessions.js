/** Which slide, and whose session of it. */

import { count, html, button, select } from "../dom.js";
import { choose, newSession, openSession } from "../open.js";
import { app, isSlow, layer, sessionTitle, user } from "../state.js";
import * as viewer from "../viewer.js";

/** @import { Section } from "./section.js" */

/** @type {Section} */
export const slide = {
  shows: (state) => [state.slide, state.n_patches, app.layers, app.layer],
  draw: (state) => [html("div", { class: "sic-head" },
    app.layers.length > 1
      ? select({ title: "Which patches to label", id: "sic-layer",
          onchange: (event) => choose(app.layers[event.target.selectedIndex]) },
        app.layers.map((each) => ({ value: each.uid, text: each.h5ad })), layer().uid)
      : html("b", {}, state.slide),
    html("span", { class: "text-muted" }, `${count(state.n_patches)} patches`))],
};

/** @type {Section} */
export const sessions = {
  shows: (state) => [state.sessions, app.session, isSlow()],
  draw: (state) => [html("div", { class: "sic-session" },
    html("label", { for: "sic-session", class: "text-muted" }, "Session"),
    select({ id: "sic-session", disabled: isSlow(),
      title: "Whose seeds: each session is a file of its own beside the slide's",
      onchange: (event) => openSession(event.target.value) },
    [...new Set([...state.sessions, app.session, ""])].sort().map((value) => ({ value, text: sessionTitle(value) })),
    app.session),
    button("New …", "Begin a session of its own, for a second reader or another question", newSession,
      { id: "sic-new-session", disabled: isSlow() }),
    html("input", { type: "text", class: "form-control form-control-sm", id: "sic-user", value: user(),
      maxlength: 60, placeholder: "Your name", title: "Kept with every seed that you make",
      "aria-label": "Your name", onkeydown: (event) => { if (event.key === "Enter") viewer.container().focus(); }, onchange: (event) => localStorage.setItem("SIC.user", event.target.value.trim()) }))],
};
