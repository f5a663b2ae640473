/** What the keys do, for people to read. */

import { html } from "../dom.js";

const KEYS = [
  ["1 … 9", "choose a class"],
  ["Click", "seed a patch, again to unseed"],
  ["Shift-drag", "lasso, rectangle or brush"],
  ["T", "next of these tools"],
  ["Space", "run"],
  ["L", "live on or off"],
  ["Z, Shift-Z", "undo, redo"],
  ["N", "next suggested patch"],
  ["V", "next of the views"],
  ["M", "map of the feature space"],
  ["G", "regions on or off"],
  ["X", "next disputed place"],
  ["Q, E", "decide for the first, the second reader"],
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
