/** What is drawn. */

import { html, toggle } from "../dom.js";
import { gradient, strengthGradient } from "../ramp.js";
import { app, canView, current, isSlow } from "../state.js";
import { setOpacity, setView, toggleMap } from "../views.js";

const VIEWS = { slide: "Slide", colors: "UMAP", labels: "Labels", confidence: "Confidence", tissue: "Tissue" };
/** @type {Record<string, [string, string, string]>} */
const SCALES = {
  confidence: ["pale: unsure", "strong: sure", "Score of the class that a patch is labelled with, as the strength of its colour"],
  tissue: ["0 %", "100 %", "Share of the patch that is tissue"],
  unlike: ["like a seed", "unlike any", "Whether a patch is like some seed, borrowed or not"],
};

/** Of the view that is shown. */
const scaleColors = () => (app.view !== "confidence" ? gradient()
  : strengthGradient(current().run?.classes.filter((_, label) => current().run?.counts[label]).slice(0, 4).map(({ color }) => color) ?? []));

/** @type {import("./section.js").Section} */
export const views = {
  // Not the opacity, whose slider moves by itself.
  shows: (state) => [app.view, state.run?.classes, app.mapOpen, ...Object.keys(VIEWS).map(canView), isSlow()],
  draw() {
    const [low, high, title] = SCALES[app.view] ?? [];
    return [
      html("div", { class: "sic-view" },
        html("div", { class: "btn-group btn-group-sm", role: "group", "aria-label": "What is drawn" },
          ...Object.entries(VIEWS).map(([view, text]) => toggle(view === app.view, text, `Show ${text.toLowerCase()}`,
            () => setView(view), { id: `sic-view-${view}`, disabled: !canView(view) || isSlow() }))),
        toggle(app.mapOpen, "Map", "The feature space beside the slide, linked with it (M)", toggleMap,
          { id: "sic-map-toggle", disabled: isSlow() })),
      html("div", { class: "sic-border" },
        html("label", { for: "sic-opacity", class: "text-muted" }, "Opacity"),
        html("input", { type: "range", class: "form-range", id: "sic-opacity", min: 0.1, max: 1, step: 0.05,
          value: app.opacity, title: "Opacity", "aria-label": "Opacity", disabled: app.view === "slide",
          oninput: (event) => setOpacity(Number(event.target.value)) })),
      low ? html("div", { class: "sic-scale", id: "sic-scale", title },
        html("span", {}, low), html("span", { class: "sic-gradient", style: `background: ${scaleColors()}` }),
        html("span", {}, high)) : null];
  },
};
