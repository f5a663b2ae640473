/** How seeds become labels. */

import { html, select, switchBox } from "../dom.js";
import { toggleLive } from "../runs.js";
import { app, isSlow, tables, update } from "../state.js";

/** @import { Section } from "./section.js" */

/** @type {Section} */
export const runs = {
  shows: (state) => [app.method, app.live, app.tables, state.borrowed.length > 0, isSlow()],
  draw: (state) => [html("div", { class: "sic-buttons" },
    select({ class: "form-select form-select-sm sic-method", id: "sic-method", disabled: isSlow(),
      title: "How seeds become labels. Refined: every correction counts, and a seeded patch keeps its class. "
        + "As published: seeds only start the clustering",
      "aria-label": "Method", onchange: (event) => update({ method: event.target.value, flips: null }) },
    tables().methods.map(({ name, words }) => ({ value: name, text: words,
      disabled: name === "sic" && state.borrowed.length > 0 })), // its means are of one slide
    app.method),
    switchBox("Live", "sic-live", { id: "sic-live", checked: app.live, title: "Run again after every seed (L)", onchange: toggleLive }))],
};

/** @type {Section} */
export const embeddings = {
  shows: (state) => [state.embeddings, app.embedding, isSlow()],
  draw: (state) => (state.embeddings.length > 1
    ? [html("div", { class: "sic-embedding" },
      html("label", { for: "sic-embedding" }, "Embedding"),
      select({ id: "sic-embedding", disabled: isSlow(),
        title: "Patches are compared by their embedding, the numbers that a network made of each; another network, or another scale, sees other things",
        onchange: (event) => update({ embedding: event.target.value, flips: null }) },
      state.embeddings.map(({ name, title }) => ({ value: name, text: title })), app.embedding))]
    : []),
};
