/** Why a patch is what it is: the seeds that it is most like. */

import { html } from "./dom.js";
import { postForState } from "./server.js";
import { app, point, request, seededLabels, sessionTitle } from "./state.js";
import * as viewer from "./viewer.js";

const HOVER = 150; // ms that the pointer rests before the server is asked
export const THUMBNAIL = 48; // CSS pixels
let rest = 0;

export function onHover(event) {
  if (!event.buttons && app.state) point(app.grid.at(viewer.placeOf(event)));
}

/** Ask why, once the pointer rests on a patch. */
export function onPoint(row) {
  clearTimeout(rest);
  if (row === app.hovered || !(app.state?.seeds.patches.length || app.state?.borrowed.length)) return;
  rest = setTimeout(() => explain(row), HOVER);
}

async function explain(row) {
  if (app.busy) return;
  app.hovered = row;
  if (row === null) return;
  const { revision } = app.state;
  try {
    const found = await postForState("why", request({ revision, embedding: app.embedding, patch: row }));
    // Not what was asked for a place that the pointer has left, or of seeds that are no longer these.
    if (app.hovered !== row || app.state.revision !== revision) return;
    app.why = found;
  } catch {
    app.why = null; // nothing that was asked for with a click: the next click tells what is wrong
  }
  // Not the whole panel: a name may be half typed there.
  document.getElementById("sic-why")?.replaceWith(whyBox());
}

export function whyBox() {
  const { why, state } = app;
  if (!why?.nearest.length) return html("div", { id: "sic-why", class: "text-muted" }, "Point at a patch to see its nearest seeds.");
  const label = seededLabels().get(why.patch);
  const margin = why.margin === null ? "" : `, ahead by ${why.margin.toFixed(2)}`;
  return html("div", { id: "sic-why", "data-patch": why.patch },
    html("div", { class: "sic-why-row" }, thumbnail(why.patch),
      html("div", {},
        html("div", {}, app.labels ? `Labelled ${state.run.classes[app.labels[why.patch]].name}` : "Not labelled yet",
          label === undefined ? "" : `, seeded ${state.classes[label].name}`,
          app.compared ? `; ${sessionTitle(app.compared.other)}: ${theirs(why.patch)}` : ""),
        html("div", { class: "text-muted" }, `Most like ${state.classes[why.nearest[0].label].name}${margin}`))),
    ...why.nearest.map(({ label: of, patches, similarities, slide }) =>
      html("div", { class: "sic-why-row" },
        html("span", { class: "sic-why-name", style: `border-color: ${state.classes[of].color}` }, state.classes[of].name),
        ...slide ? [html("span", { class: "sic-why-borrowed text-muted", title: `Borrowed seeds: ${patches.join(", ")}` },
          `${similarities.map((each) => each.toFixed(2)).join(", ")} in ${slide}`)] : patches.map((row, place) => html("button", {
          type: "button", class: "sic-why-seed", "data-patch": row,
          title: `Go to this seed of ${state.classes[of].name}, likeness ${similarities[place].toFixed(2)}`,
          onclick: () => viewer.lookAt(app.grid.x[row], app.grid.y[row]),
        }, thumbnail(row), html("span", {}, similarities[place].toFixed(2)))))));
}

const theirs = (row) => app.compared.classes[app.compared.labels[row]].name;

function thumbnail(row) {
  const canvas = html("canvas", { width: 2 * THUMBNAIL, height: 2 * THUMBNAIL, "data-row": row });
  viewer.drawSlide(canvas, app.grid.x[row], app.grid.y[row], app.grid.spacing * 2)
    .then((drawn) => { if (!drawn) canvas.remove(); })
    .catch(() => canvas.remove());
  return canvas;
}


/** Ask nothing more for where the pointer rests. */
export function forget() {
  clearTimeout(rest);
}
