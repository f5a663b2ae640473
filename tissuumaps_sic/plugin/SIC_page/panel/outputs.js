/** What is made of labels: regions and files. */

import { button, html, classTag, share, toggle } from "../dom.js";
import { copyLabels } from "../commands.js";
import { menu } from "../menus.js";
import { exportAs, write } from "../outputs.js";
import { toggleRegions } from "../regions.js";
import { app, isSlow, tables } from "../state.js";

/** @import { Section } from "./section.js" */

/** @type {Section} */
export const outputs = {
  shows: (state) => [state.run !== null, state.run?.stale, app.regions !== null, app.tables, app.facts?.unwritable, isSlow()],
  draw: ({ run }) => (run ? [html("div", { class: "sic-buttons" },
    toggle(app.regions !== null, "Regions", "Show the labels as regions, with their areas (G)", toggleRegions,
      { id: "sic-regions", disabled: isSlow() }),
    menu("Export ▾", exportAs, { id: "sic-export", disabled: isSlow(), title: "Get the labels as a file", "aria-label": "Export" },
    tables().exports.map(({ name, words, use }) => ({ value: name, text: words, title: use }))),
    menu("Copy as command ▾", copyLabels, { id: "sic-copy-command", disabled: isSlow(), "aria-label": "Copy as command",
      title: "The command that gives these labels, or an export of them, again, without the viewer" },
    [{ value: "", text: "These labels", title: "tissuumaps-sic run: the same labels from the same seeds" },
      ...tables().exports.map(({ name, words, use }) => ({ value: name, text: `Export: ${words}`, title: use }))]),
    button("Write into h5ad", app.facts?.unwritable ? `Not here: ${app.facts.unwritable}` : "Keeps the labels in the slide's own file, where scanpy and other programs find them: sic_label, sic_score, sic_seed",
      write, { id: "sic-write", disabled: isSlow() || run.stale || Boolean(app.facts?.unwritable) }))] : []),
};

/** How much of the tissue each region has. @type {Section} */
export const areas = {
  shows: () => [app.regions],
  draw() {
    if (!app.regions) return [];
    const told = app.regions[0] ?? { area: null, tissue: null };
    /** @param {number | null} mm2 */
    const number = (mm2) => (mm2 === null ? "" : mm2.toFixed(mm2 < 10 ? 3 : 1));
    /** @param {string} text @param {string} [title] */
    const head = (text, title = "") => html("th", { class: "sic-number", title }, text);
    return [html("table", { class: "sic-areas", id: "sic-areas" },
      html("thead", {}, html("tr", {}, html("th", {}, "Region"),
        ...told.area === null ? [] : [head("Patches, mm²", "Area of the patches, glass at the rim included")],
        ...told.tissue === null ? [] : [head("Tissue, mm²", "Without glass: of each patch the share that is tissue")],
        head(told.tissue === null ? "Share" : "Share of tissue"))),
      html("tbody", {}, ...app.regions.map(({ name, color, area, tissue, share: part }) => html("tr", {},
        html("td", {}, classTag(color, name)),
        ...told.area === null ? [] : [html("td", { class: "sic-number" }, number(area))],
        ...told.tissue === null ? [] : [html("td", { class: "sic-number" }, number(tissue))],
        html("td", { class: "sic-number" }, share(part, 1))))))];
  },
};
