/** Seeds as they are seen on the slide. */

import { svg } from "./dom.js";
import { app, seededLabels } from "./state.js";
import * as viewer from "./viewer.js";

export function clearSeeds() {
  viewer.overlay().querySelector("#SIC_seeds")?.remove();
}

/** Mark the patch that is pointed at on the map. */
export function drawPointed(row) {
  viewer.overlay().querySelector("#SIC_pointed")?.remove();
  if (row === null) return;
  const place = square(row);
  const group = svg("g", { id: "SIC_pointed", "pointer-events": "none", "data-patch": row });
  group.append(
    svg("rect", { ...place, stroke: "#111", "stroke-width": 5 }),
    svg("rect", { ...place, stroke: "#fff", "stroke-width": 2 }));
  viewer.overlay().append(group);
}

/** Attributes of a patch's square on the slide. */
function square(row) {
  const half = app.grid.spacing / 2;
  const corner = viewer.toViewport(app.grid.x[row] - half, app.grid.y[row] - half);
  const opposite = viewer.toViewport(app.grid.x[row] + half, app.grid.y[row] + half);
  return {
    x: corner.x, y: corner.y, width: opposite.x - corner.x, height: opposite.y - corner.y,
    fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round",
  };
}

export function drawSeeds() {
  clearSeeds();
  if (!app.state) return;
  const group = svg("g", { id: "SIC_seeds", "pointer-events": "none" });
  for (const [row, label] of seededLabels()) {
    const place = square(row);
    // A dark line under the coloured one: seen on pale glass, on dark nuclei, and on its own label.
    group.append(
      svg("rect", { ...place, stroke: "#111", "stroke-width": 6 }),
      svg("rect", { ...place, stroke: app.state.classes[label].color, "stroke-width": 3,
        "data-patch": row, "data-label": label }));
  }
  if (app.suggested !== null) {
    const place = square(app.suggested);
    group.append(
      svg("rect", { ...place, stroke: "#111", "stroke-width": 5 }),
      svg("rect", { ...place, stroke: "#fff", "stroke-width": 3, "stroke-dasharray": "6 4",
        "data-suggested": app.suggested }));
  }
  viewer.overlay().append(group);
}
