/** What is drawn. */

import { html, toggle } from "../dom.js";
import { gradient, shade, strengthGradient } from "../ramp.js";
import { app, canView, current, isSlow } from "../state.js";
import { setOpacity, setView, toggleFine, toggleMap } from "../views.js";

/** Name, what it shows, and why there may be none. @type {Record<string, [string, string, string]>} */
const VIEWS = {
  slide: ["Slide", "The tissue alone (H, held, from any other view)", ""],
  colors: ["UMAP", "Patches that look alike to the network have alike colours (a UMAP of what it saw). No result yet", ""],
  labels: ["Labels", "Each patch in the colour of its class", "There are no labels yet: run first"],
  outlines: ["Outlines", "A line around what is labelled with each class", "There are no labels yet: run first"],
  confidence: ["Confidence", "How sure each label is", "There are no labels that tell how sure they are: run first"],
  tissue: ["Tissue", "How much of each patch is tissue", ""],
};

/** A colour and what it means. @param {string} color @param {string} text */
const swatch = (color, text) => html("span", {}, html("span", { class: "sic-swatch", style: `background: ${color}` }), text);

/** @type {Record<string, [string, string, string]>} */
const SCALES = {
  confidence: ["pale: unsure", "strong: sure", "Score of the class that a patch is labelled with, as the strength of its colour"],
  tissue: ["0 %", "100 %", "Share of the patch that is tissue"],
};
/** Of views that are yes or no: colours, and what they mean. @type {Record<string, [string, string][]>} */
const SWATCHES = {
  unlike: [[shade(0), "like a seed"], [shade(1), "unlike any"]],
};

/** Of the view that is shown. */
const scaleColors = () => (app.view !== "confidence" ? gradient()
  : strengthGradient(current().run?.classes.filter((_, label) => current().run?.counts[label]).slice(0, 4).map(({ color }) => color) ?? []));

/** @type {import("./section.js").Section} */
export const views = {
  // Not the opacity, whose slider moves by itself.
  shows: (state) => [app.view, state.run?.classes, app.mapOpen, app.lattice, app.labels === null, app.isFine, app.isSharpening, ...Object.keys(VIEWS).map(canView), isSlow()],
  draw() {
    return [
      html("div", { class: "sic-view" },
        html("div", { class: "sic-choices", role: "group", "aria-label": "What is drawn" },
          ...Object.entries(VIEWS).map(([view, [text, title, lack]]) => toggle(view === app.view, text, canView(view) ? title : lack,
            () => setView(view), { id: `sic-view-${view}`, disabled: !canView(view) || isSlow() })),
          toggle(app.mapOpen, "Map", "Each patch as a point beside the slide, alike ones together: the UMAP (M)", toggleMap,
            { id: "sic-map-toggle", disabled: isSlow() }))),
      html("div", { class: "sic-border" },
        html("label", { for: "sic-opacity" }, "Opacity"),
        html("input", { type: "range", class: "form-range", id: "sic-opacity", min: 0.1, max: 1, step: 0.05,
          value: app.opacity, title: "Of the colours over the slide; they fade by themselves where one is near",
          "aria-label": "Opacity", disabled: ["slide", "outlines"].includes(app.view),
          oninput: (event) => setOpacity(Number(event.target.value)) }),
        app.lattice && app.labels ? toggle(app.isFine, "Fine", app.lattice.fine
          ? "Borders that follow the tissue, finer than a patch; off: whole patches"
          : "Borders between the patches' centres; off: whole patches. This file has no embeddings of cells: embed the slide again to have "
            + "borders that follow the tissue", toggleFine, { id: "sic-fine", "aria-busy": String(app.isSharpening) }) : null),
      legend()];
  },
};

function legend() {
  if (SWATCHES[app.view]) return html("div", { class: "sic-scale", id: "sic-scale" }, ...SWATCHES[app.view].map((each) => swatch(...each)));
  if (app.view === "colors") {
    return html("div", { class: "sic-scale", id: "sic-scale" }, "Colours are no classes: patches that look alike have alike ones.");
  }
  const [low, high, title] = SCALES[app.view] ?? [];
  return low ? html("div", { class: "sic-scale", id: "sic-scale", title },
    html("span", {}, low), html("span", { class: "sic-gradient", style: `background: ${scaleColors()}` }),
    html("span", {}, high)) : null;
}
