/** Where notes are, on the slide. */

import { svg } from "./dom.js";
import { app, layer, subscribe } from "./state.js";
import * as viewer from "./viewer.js";

const COLOR = "#d98e00";

/** Mark the patches that notes are on, of all readers; returns how to stop that. */
export function followNotes() {
  const stop = subscribe(() => [app.state?.notes, app.notes, app.layer], draw);
  return () => {
    stop();
    clear();
  };
}

function clear() {
  viewer.overlay().querySelector("#SIC_notes")?.remove();
}

function draw() {
  clear();
  const rows = [...app.state?.notes ?? [], ...app.notes].flatMap(({ patch }) => (patch === null ? [] : [patch]));
  if (!rows.length || !app.layer) return;
  const { x, y, spacing } = layer().grid, half = spacing / 2;
  const group = svg("g", { id: "SIC_notes", "pointer-events": "none" });
  for (const patch of rows) {
    const corner = viewer.toViewport(x[patch] - half, y[patch] - half), opposite = viewer.toViewport(x[patch] + half, y[patch] + half);
    const place = { x: corner.x, y: corner.y, width: opposite.x - corner.x, height: opposite.y - corner.y,
      fill: "none", "vector-effect": "non-scaling-stroke" };
    group.append(svg("rect", { ...place, stroke: "#111", "stroke-width": 4 }),
      svg("rect", { ...place, stroke: COLOR, "stroke-width": 2, "stroke-dasharray": "3 3", "data-note": patch }));
  }
  viewer.overlay().append(group);
}
