/** Where a second opinion differs, by pair of classes. */

import { isDone } from "../cards.js";
import { button, count, html, tellCount } from "../dom.js";
import { copySource } from "../commands.js";
import { askAbout, knownPairs, nextOpinion, sourceOfPairs } from "../opinion.js";
import { left, question } from "../pairing.js";
import { app, isSlow } from "../state.js";

/** @type {import("./section.js").Section} */
export const opinion = {
  shows: (state) => [app.labels, state.run?.classes, app.opinion, state.seeds, state.skipped, isSlow()],
  draw: (state) => (app.labels && state.run ? [html("div", { class: "sic-opinion", id: "sic-opinion" },
    button("Second opinion", "Ask another kind of model, from the same seeds, and look where it says another class: errors are more common there (D)",
      nextOpinion, { id: "sic-opinion-ask", disabled: isSlow() }),
    ...pairs())] : []),
};

function pairs() {
  const known = knownPairs(), source = sourceOfPairs();
  if (!known || !source) return [];
  const line = button("Copy as command", "The command that lists these patches", () => copySource(source), { id: "sic-opinion-command", disabled: isSlow() });
  if (!known.length) return [html("span", { class: "text-muted" }, "says the same everywhere"), line];
  return [...known.map((pair, i) => button(`${question(pair)} (${count(left(pair, isDone))})`,
    `${tellCount(pair.count, "patch", "patches")}, of which ${count(left(pair, isDone))} still to be asked about, spread over the slide`,
    () => askAbout(pair), { class: "btn btn-sm btn-outline-secondary sic-opinion-pair", id: `sic-opinion-${i}`, disabled: isSlow() })), line];
}
