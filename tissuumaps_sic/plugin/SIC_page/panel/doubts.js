/** The seeds that all others contradict, before the others in the list: why, and what can be done with each. */

import { button, classTag, html } from "../dom.js";
import { seedAs, unseed } from "../seeding.js";
import { current, doubtfulSeeds, isSlow, layer, show } from "../state.js";
import * as viewer from "../viewer.js";
import { makePictures } from "./pictures.js";

/** @import { Doubt } from "../server.js" */

const picture = makePictures(40);

/** What stands before the seeds of each class; nothing where none is doubtful. */
export function doubtsBox() {
  const doubtful = doubtfulSeeds();
  if (!doubtful.length) return [];
  return [html("div", { id: "sic-doubts", class: "sic-doubts", role: "group", "aria-labelledby": "sic-doubts-name" },
    html("div", { id: "sic-doubts-name", title: "Every seed is left out in turn and judged by all others; these are contradicted clearly. "
      + "It may be the click that is wrong, or a patch that is unlike the rest of its class" }, html("b", {}, "Doubtful"), "; marked ? on the slide"),
    ...doubtful.map(row))];
}

/** @param {Doubt} doubt */
function row({ patch, label, expected, score }) {
  const { classes } = current(), { name, color } = classes[label], other = classes[expected];
  return html("div", { class: "sic-doubt", "data-patch": patch },
    html("button", { type: "button", id: `sic-doubt-${patch}`, class: "sic-doubt-picture", style: `border-color: ${color}`,
      title: "Go to this seed", "aria-label": `Doubtful seed of ${name}, patch ${patch}`, onclick: () => lookAt(patch) }, picture(patch, color)),
    html("div", {}, classTag(color, name),
      html("div", { class: "sic-doubt-reason", title: "How sure they are, from 0 to 1" }, `the other seeds say ${other.name}, ${score.toFixed(2)}`)),
    button(`It is ${other.name}`, `Make it a seed of ${other.name}; Undo takes that back`, () => settle(patch, () => seedAs([patch], expected)),
      { id: `sic-doubt-flip-${patch}`, disabled: isSlow() }),
    button("Take back", "Take this seed back; Undo brings it again", () => settle(patch, () => unseed([patch])),
      { id: `sic-doubt-drop-${patch}`, disabled: isSlow() }));
}

/** @param {number} patch */
const lookAt = (patch) => viewer.lookAt(layer().grid.x[patch], layer().grid.y[patch]);

/** Do something with a doubtful seed, and go on to the next one. @param {number} patch @param {() => Promise<boolean>} act */
async function settle(patch, act) {
  const all = doubtfulSeeds(), at = all.findIndex((each) => each.patch === patch), next = all[at + 1] ?? all[at - 1];
  if (await act()) document.getElementById(next ? `sic-doubt-${next.patch}` : "sic-seeds-summary")?.focus();
}

/** Open the list of seeds at the doubtful ones. */
export function showDoubtful() {
  show({ seedsOpen: true });
  const first = document.getElementById(`sic-doubt-${doubtfulSeeds()[0]?.patch}`);
  document.getElementById("sic-seeds")?.scrollIntoView({ block: "nearest" });
  first?.focus();
}
