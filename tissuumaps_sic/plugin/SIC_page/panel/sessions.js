/** Which slide, and whose session of it. */

import { html, button, tellCount } from "../dom.js";
import { choice } from "../menus.js";
import { choose, newSession, openSession } from "../open.js";
import { makeConsensus } from "../readers.js";
import { app, isSlow, layer, sessionTitle, show, update, user } from "../state.js";
import * as viewer from "../viewer.js";

/** @import { Section } from "./section.js" */

/** @type {Section} */
export const slide = {
  shows: (state) => [state.slide, state.n_patches, app.layers, app.layer],
  draw: (state) => [html("div", { class: "sic-head" },
    app.layers.length > 1
      ? choice("Patches", (uid) => { for (const each of app.layers) if (each.uid === uid) choose(each); },
        { title: "Which patches to label", id: "sic-layer" },
        app.layers.map((each) => ({ value: each.uid, text: each.h5ad })), layer().uid)
      : html("b", {}, state.slide),
    html("span", { class: "text-muted", title: "A patch is a square of the slide that the network has looked at" },
      tellCount(state.n_patches, "patch", "patches")))],
};

/** The name of a session that is being made; what was typed stays until the session is there. @type {Section} */
export const naming = {
  shows: () => [app.sessionNaming?.kind, isSlow()],
  draw() {
    const { kind, text } = app.sessionNaming ?? {};
    if (!kind) return [];
    return [html("div", { class: "sic-session-naming" },
      html("input", { type: "text", id: "sic-session-name", class: "form-control form-control-sm", value: text ?? "",
        "aria-label": "Name of the new session", placeholder: "Name of the new session, for example your own", autocomplete: "off",
        oninput: (event) => update({ sessionNaming: { kind, text: event.target.value } }),
        onkeydown: (event) => {
          if (event.key === "Enter") makeSession();
          if (event.key === "Escape") show({ sessionNaming: null });
        } }),
      button(kind === "new" ? "Begin" : "Make the consensus", "Make the session (Enter)", makeSession, { id: "sic-session-make", disabled: isSlow() }),
      button("Cancel", "Make none (Esc)", () => show({ sessionNaming: null }), { id: "sic-session-cancel" }))];
  },
};

/** Ask for the name, which is typed at once. */
function nameNew() {
  newSession();
  /** @type {HTMLInputElement | null} */ (document.getElementById("sic-session-name"))?.select();
}

async function makeSession() {
  const { kind, text } = app.sessionNaming ?? { text: "" };
  const name = text.trim();
  if (!name) return;
  const done = await (kind === "new" ? openSession(name) : makeConsensus(name));
  if (done) show({ sessionNaming: null });
}

/** @type {Section} */
export const sessions = {
  shows: (state) => [state.sessions, app.session, isSlow()],
  draw: (state) => [html("div", { class: "sic-session" },
    html("label", { for: "sic-session", class: "text-muted" }, "Session"),
    choice("Session", openSession, { id: "sic-session", disabled: isSlow(),
      title: "All that was done on this slide under one name: seeds, labels, notes. Each session is a file of its own" },
    [...new Set([...state.sessions, app.session, ""])].sort().map((value) => ({ value, text: sessionTitle(value) })),
    app.session),
    button("New …", "Begin a session of its own, for a second reader or another question", nameNew,
      { id: "sic-new-session", disabled: isSlow() }),
    html("input", { type: "text", class: "form-control form-control-sm", id: "sic-user", value: user(),
      maxlength: 60, placeholder: "Your name", title: "Kept with every seed that you make",
      "aria-label": "Your name", onkeydown: (event) => { if (event.key === "Enter") viewer.container().focus(); }, onchange: (event) => localStorage.setItem("SIC.user", event.target.value.trim()) }))],
};
