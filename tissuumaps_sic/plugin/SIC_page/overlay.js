/** Seeds as they are seen on the slide. */

import { svg } from "./dom.js";
import { app, seededLabels } from "./state.js";
import * as viewer from "./viewer.js";

export function clearSeeds() {
  viewer.overlay().querySelector("#SIC_seeds")?.remove();
}

export function drawSeeds() {
  clearSeeds();
  if (!app.state) return;
  const group = svg("g", { id: "SIC_seeds", "pointer-events": "none" });
  const half = app.grid.spacing / 2;
  for (const [row, label] of seededLabels()) {
    const corner = viewer.toViewport(app.grid.x[row] - half, app.grid.y[row] - half);
    const opposite = viewer.toViewport(app.grid.x[row] + half, app.grid.y[row] + half);
    const place = {
      x: corner.x, y: corner.y, width: opposite.x - corner.x, height: opposite.y - corner.y,
      fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round",
    };
    // A dark line under the coloured one: seen on pale glass, on dark nuclei, and on its own label.
    group.append(
      svg("rect", { ...place, stroke: "#111", "stroke-width": 6 }),
      svg("rect", { ...place, stroke: app.state.classes[label].color, "stroke-width": 3,
        "data-patch": row, "data-label": label }));
  }
  if (app.suggested !== null) {
    const corner = viewer.toViewport(app.grid.x[app.suggested] - half, app.grid.y[app.suggested] - half);
    const opposite = viewer.toViewport(app.grid.x[app.suggested] + half, app.grid.y[app.suggested] + half);
    const place = {
      x: corner.x, y: corner.y, width: opposite.x - corner.x, height: opposite.y - corner.y,
      fill: "none", "vector-effect": "non-scaling-stroke",
    };
    group.append(
      svg("rect", { ...place, stroke: "#111", "stroke-width": 5 }),
      svg("rect", { ...place, stroke: "#fff", "stroke-width": 3, "stroke-dasharray": "6 4",
        "data-suggested": app.suggested }));
  }
  viewer.overlay().append(group);
}
