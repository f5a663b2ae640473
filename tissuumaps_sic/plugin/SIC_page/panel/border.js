/** From which score on a patch is of the positive class. */

import { button, html } from "../dom.js";
import { previewBorder, setBorder } from "../runs.js";
import { app, isSlow } from "../state.js";

/** @type {import("./section.js").Section} */
export const border = {
  shows: (state) => [state.run?.scored, state.run?.counts[1], state.classes[1].name, app.border, isSlow()],
  draw(state) {
    // A border is one of scores of class 1, which no patch has where it is not used.
    if (!state.run?.scored || !state.run.counts[1]) return [];
    const { name } = state.classes[1];
    const value = html("span", { id: "sic-border-value", class: "sic-number" }, app.border === null ? "auto" : app.border.toFixed(2));
    return [html("div", { class: "sic-border" },
      html("label", { for: "sic-border", title: "How sure a patch must be to get this class: its score, from 0 to 1" }, `Border of ${name}`),
      html("input", { type: "range", class: "form-range", id: "sic-border", min: 0, max: 1, step: 0.01,
        value: app.border ?? 0.5, disabled: isSlow(), "aria-label": `Score from which a patch is ${name}`,
        title: `Left: more patches are ${name}; right: only the surest are`,
        oninput: ({ target }) => {
          value.textContent = Number(target.value).toFixed(2);
          previewBorder(Number(target.value));
        },
        onchange: ({ target }) => setBorder(Number(target.value)) }),
      value,
      button("Auto", "No border: each patch gets the class with its highest score", () => setBorder(null),
        { id: "sic-border-auto", disabled: isSlow() || app.border === null }))];
  },
};
