/** What is made of labels: regions and files. */

import { button, html, menu, classTag, share, toggle } from "../dom.js";
import { exportAs, write } from "../outputs.js";
import { toggleRegions } from "../regions.js";
import { app, isSlow, tables } from "../state.js";

/** @import { Section } from "./section.js" */

/** @type {Section} */
export const outputs = {
  shows: (state) => [state.run !== null, state.run?.stale, app.regions !== null, app.tables, isSlow()],
  draw: ({ run }) => (run ? [html("div", { class: "sic-buttons" },
    toggle(app.regions !== null, "Regions", "Show the labels as regions, with their areas (G)", toggleRegions,
      { id: "sic-regions", disabled: isSlow() }),
    menu("Export ▾", exportAs, { id: "sic-export", disabled: isSlow(), title: "Get the labels as a file", "aria-label": "Export" },
    tables().exports.map(({ name, words, use }) => ({ value: name, text: words, title: use }))),
    button("Write into h5ad", "Adds sic_label, sic_score and sic_seed to the file itself", write,
      { id: "sic-write", disabled: isSlow() || run.stale }))] : []),
};

/** How much of the tissue each region has. @type {Section} */
export const areas = {
  shows: () => [app.regions],
  draw() {
    if (!app.regions) return [];
    return [html("table", { class: "sic-areas", id: "sic-areas" },
      html("thead", {}, html("tr", {}, html("th", {}, "Region"),
        html("th", { class: "sic-number" }, app.regions[0]?.area === null ? "" : "Area, mm²"),
        html("th", { class: "sic-number" }, "Share"))),
      html("tbody", {}, ...app.regions.map(({ name, color, area, share: part }) => html("tr", {},
        html("td", {}, classTag(color, name)),
        html("td", { class: "sic-number" }, area === null ? "" : area.toFixed(area < 10 ? 3 : 1)),
        html("td", { class: "sic-number" }, share(part, 1))))))];
  },
};
