/** What the keys do, for people to read. */

import { html } from "../dom.js";

const KEYS = [
  ["1 … 9", "choose a class"],
  ["Click", "seed a patch, again to unseed"],
  ["Shift-drag", "lasso, rectangle, brush, eraser or wand"],
  [", and .", "smaller, larger brush (or the wheel with Shift)"],
  ["I", "seeds hidden or shown"],
  ["T", "next of these tools"],
  ["Space", "run"],
  ["L", "live on or off"],
  ["Z, Shift-Z", "undo, redo"],
  ["N", "card of the next suggested patch"],
  ["1 … 9, S", "on a card: its class, or cannot tell"],
  ["Shift-N", "on a card: back"],
  ["U", "card of the next patch unlike any seed"],
  ["V", "next of the views"],
  ["M", "map of the feature space"],
  ["G", "regions on or off"],
  ["X", "next disputed place"],
  ["[, ]", "the slide before, the next one"],
  ["Esc", "cancel"],
  ["?", "this list"],
];

let isOpen = false;

export function toggleKeys() {
  isOpen = !isOpen;
  const list = document.getElementById("sic-keys");
  list?.toggleAttribute("open", isOpen);
  if (isOpen) list?.scrollIntoView({ block: "nearest" });
}

/** @type {import("./section.js").Section} */
export const keys = {
  shows: () => ["the same always"],
  draw: () => [html("details", { id: "sic-keys", open: isOpen, ontoggle: (event) => { isOpen = event.target.open; } },
    html("summary", { title: "What the keys do (?)" }, "Keys"),
    html("table", {}, ...KEYS.map(([key, does]) =>
      html("tr", {}, html("td", {}, html("kbd", {}, key)), html("td", {}, does)))))],
};
