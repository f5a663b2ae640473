/** What the keys do, for people to read. */

import { button, html } from "../dom.js";
import { KEYS } from "../keyboard.js";
import { app, show } from "../state.js";
import { startTour } from "../tour.js";

/** @type {import("./section.js").Section} */
export const keys = {
  shows: () => [app.areKeysOpen],
  draw() {
    const list = html("details", { id: "sic-keys", open: app.areKeysOpen, ontoggle: (event) => {
      if (event.target.open !== app.areKeysOpen) show({ areKeysOpen: event.target.open });
    } },
    html("summary", { title: "What the keys do (?)" }, "Keys"),
    button("Show the tour", "The panel, step by step: what a newcomer does first", startTour, { id: "sic-tour-start" }),
    html("table", {}, html("tbody", {}, ...KEYS.map(({ name, does }) =>
      html("tr", {}, html("td", {}, html("kbd", {}, name)), html("td", {}, does))))));
    if (app.areKeysOpen) requestAnimationFrame(() => list.scrollIntoView({ block: "nearest" }));
    return [list];
  },
};
