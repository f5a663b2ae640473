/** What the keys do, for people to read. */

import { html } from "../dom.js";
import { KEYS } from "../keyboard.js";
import { app, show } from "../state.js";

/** @type {import("./section.js").Section} */
export const keys = {
  shows: () => [app.areKeysOpen],
  draw() {
    const list = html("details", { id: "sic-keys", open: app.areKeysOpen, ontoggle: (event) => {
      if (event.target.open !== app.areKeysOpen) show({ areKeysOpen: event.target.open });
    } },
    html("summary", { title: "What the keys do (?)" }, "Keys"),
    html("table", {}, html("tbody", {}, ...KEYS.map(({ name, does }) =>
      html("tr", {}, html("td", {}, html("kbd", {}, name)), html("td", {}, does))))));
    if (app.areKeysOpen) requestAnimationFrame(() => list.scrollIntoView({ block: "nearest" }));
    return [list];
  },
};
