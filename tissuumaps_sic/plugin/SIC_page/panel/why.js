/** Why a patch is what it is: the seeds that it is most like. */

import { html, classTag } from "../dom.js";
import { app, current, field, layer, seededLabels, sessionTitle } from "../state.js";
import * as viewer from "../viewer.js";

/** @import { Nearest, Why } from "../server.js" */

export const THUMBNAIL = 48; // CSS pixels

/** @type {import("./section.js").Section} */
export const why = {
  shows: (state) => [app.why, state.classes, state.seeds.patches.length + state.borrowed.length > 0,
    ...app.why ? [app.labels, app.compared, state.seeds, state.run] : []],
  draw: (state) => (!state.seeds.patches.length && !state.borrowed.length ? []
    : [app.why?.nearest.length ? whyBox(app.why)
      : html("div", { id: "sic-why", class: "text-muted" }, "Point at a patch to see its nearest seeds.")]),
};

/** @param {Why} found */
function whyBox({ patch, nearest, margin }) {
  const { classes, run } = current(), label = seededLabels().get(patch);
  return html("div", { id: "sic-why", "data-patch": patch },
    html("div", { class: "sic-why-row" }, thumbnail(patch),
      html("div", {},
        html("div", {}, app.labels && run ? `Labelled ${run.classes[app.labels[patch]].name}` : "Not labelled yet",
          label === undefined ? "" : `, seeded ${classes[label].name}`,
          app.compared ? `; ${sessionTitle(app.compared.other)}: ${app.compared.classes[app.compared.labels[patch]].name}` : ""),
        html("div", { class: "text-muted", title: "How much more alike its nearest seed of this class is than that of the next class: "
          + "0 is a tie, 1 would be all that can be" },
          `Most like ${classes[nearest[0].label].name}${margin === null ? "" : `, ahead by ${margin.toFixed(2)}`}`))),
    ...nearest.map(nearestRow));
}

/** @param {Nearest} nearest */
function nearestRow({ label, patches, similarities, slide }) {
  const { name, color } = current().classes[label], { x, y } = layer().grid;
  const likeness = similarities.map((each) => each.toFixed(2));
  return html("div", { class: "sic-why-row" }, classTag(color, name),
    ...slide ? [html("span", { class: "sic-why-borrowed text-muted", title: `Borrowed seeds: ${patches.join(", ")}` },
      `${likeness.join(", ")} in ${slide}`)] : patches.map((row, place) => html("button", {
      type: "button", class: "sic-why-seed", "data-patch": row,
      title: `Go to this seed of ${name}; its likeness is ${likeness[place]}, where 1 is the same`,
      onclick: () => viewer.lookAt(x[row], y[row]),
    }, thumbnail(row), html("span", {}, likeness[place]))));
}

/** @param {number} row */
function thumbnail(row) {
  const canvas = html("canvas", { width: 2 * THUMBNAIL, height: 2 * THUMBNAIL, "data-row": row });
  const { x, y } = layer().grid;
  viewer.drawSlide(canvas, x[row], y[row], field().width)
    .then((isDrawn) => { if (!isDrawn) canvas.remove(); })
    .catch(() => canvas.remove());
  return canvas;
}
