/** What the readers of a consensus part on: one place after the other, with its picture, decided by one key. */

import { button, classTag, count, html, tellCount } from "../dom.js";
import { choices, decide, decideAll, decideFor, lookAtDecision, nextDecision, open } from "../decide.js";
import { app, field, isSlow, layer, memory, sessionTitle } from "../state.js";
import * as viewer from "../viewer.js";

/** @import { Decision } from "../server.js" */

const SIDE = 110; // CSS pixels of a picture
const KEYS = ["Q", "E"];
const own = memory(() => ({ anew: "" })); // the name of another class, as far as it is typed

/** @type {import("./section.js").Section} */
export const decisions = {
  shows: (state) => [state.readers, app.decisions, isSlow()],
  draw(state) {
    const found = app.decisions, decision = open();
    if (!state.readers.length || !found) return [];
    return [html("div", { class: "sic-decide", id: "sic-decide" },
      html("div", { class: "sic-decide-head" },
        html("b", {}, found.n ? `To decide: ${count(found.n)}` : "Everything is decided"),
        html("span", { class: "text-muted" }, state.readers.map(sessionTitle).join(", "))),
      found.missing.length ? html("div", { class: "sic-stale" },
        `No longer there: ${found.missing.map(sessionTitle).join(", ")}`) : null,
      ...(decision ? card(decision, found.place, found.decisions.length) : []))];
  },
};

/** @param {Decision} decision @param {number} place @param {number} n */
function card(decision, place, n) {
  const { row, size, said } = decision;
  return [
    html("div", { class: "sic-decide-pictures" }, picture(row, field().width, "The patch"),
      picture(row, 4 * field().width, "Its surroundings"),
      html("div", {},
        html("div", { class: "text-muted" }, `${place + 1} of ${n}`, size > 1 ? `; ${tellCount(size, "patch", "patches")}` : ""),
        ...said.map(({ reader, name, color }) => html("div", {}, `${sessionTitle(reader)}: `, classTag(color, name))))),
    html("div", { class: "sic-buttons" },
      ...choices(decision).map(({ name }, which) => button(`${KEYS[which] ? `${KEYS[which]}: ` : ""}${name}`, `Decide for ${name}${
        KEYS[which] ? ` (${KEYS[which]})` : ""}`, () => decide(which), { id: `sic-decide-${which}`, disabled: isSlow() })),
      button("‹", "The one before", () => nextDecision(-1), { id: "sic-decide-before", "aria-label": "The one before" }),
      button("›", "Leave it for now", () => nextDecision(1), { id: "sic-decide-next", "aria-label": "Leave it for now" }),
      button("Show", "Go there on the slide", lookAtDecision, { id: "sic-decide-show" })),
    html("div", { class: "sic-decide-anew" },
      html("input", { type: "text", id: "sic-decide-name", class: "form-control form-control-sm", placeholder: "another class",
        "aria-label": "Decide for another class", title: "A class that neither gave; Enter decides for it", value: own.anew,
        oninput: (event) => { own.anew = event.target.value; },
        onkeydown: async (event) => {
          if (event.key !== "Enter" || !own.anew.trim()) return;
          const typed = own.anew;
          event.target.blur();
          own.anew = await decideFor(typed.trim()) ? "" : typed;
        } }),
      ...[...new Set(said.map(({ reader }) => reader))].map((reader, which) => button(`All as ${sessionTitle(reader)}`,
        `Decide every place that is left as ${sessionTitle(reader)} has it`, () => { decideAll(reader); },
        { id: `sic-decide-all-${which}`, disabled: isSlow() }))),
  ];
}

/** @param {number} row @param {number} side image pixels @param {string} title */
function picture(row, side, title) {
  const canvas = html("canvas", { width: 2 * SIDE, height: 2 * SIDE, style: `width: ${SIDE}px; height: ${SIDE}px`, title,
    role: "img", "aria-label": title, "data-row": row });
  const { x, y } = layer().grid;
  viewer.drawSlide(canvas, x[row], y[row], side).then((isDrawn) => { if (!isDrawn) canvas.remove(); }).catch(() => canvas.remove());
  return canvas;
}
