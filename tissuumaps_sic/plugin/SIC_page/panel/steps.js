/** The way to the first labels, in three steps that tick themselves off; gone once they are there. */

import { html } from "../dom.js";
import { app } from "../state.js";

/** @import { Session } from "../server.js" */

export const FEW = 3; // seeds of a class that are a beginning

/**
 * What is to be done, and whether it is.
 * @param {Pick<Session, "classes" | "seeds">} session
 * @param {boolean} isPicked
 */
export function stepsOf({ classes, seeds }, isPicked) {
  const counts = classes.map((_, label) => seeds.labels.filter((each) => each === label).length);
  return [
    { text: "Choose a class", isDone: isPicked || seeds.labels.length > 0 },
    { text: "Click a few of each (N shows some)", isDone: counts.filter((each) => each >= FEW).length > 1 },
    { text: "Run", isDone: false },
  ];
}

/** @type {import("./section.js").Section} */
export const steps = {
  shows: (state) => [state.run !== null || state.borrowed.length > 0, state.classes, state.seeds, app.isPicked],
  draw(state) {
    if (state.run || state.borrowed.length) return [];
    const all = stepsOf(state, app.isPicked), next = all.findIndex((each) => !each.isDone);
    return [html("ol", { id: "sic-steps", class: "sic-steps", "aria-label": "To the first labels" },
      ...all.map(({ text, isDone }, place) => html("li", { class: isDone ? "sic-done" : place === next ? "sic-next" : "",
        ...(place === next ? { "aria-current": "step" } : {}) },
      html("span", { "aria-hidden": "true" }, isDone ? "✓" : `${place + 1}`), ` ${text}`,
      isDone ? html("span", { class: "visually-hidden" }, " (done)") : null)))];
  },
};
