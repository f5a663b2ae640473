/** Seeds as they are seen on the slide. */

import { svg } from "./dom.js";
import { dashOf, signOf } from "./signs.js";
import { app, current, layer, seededLabels } from "./state.js";
import * as viewer from "./viewer.js";

const MOST_SQUARES = 1000; // seeds that are drawn one by one

export function clearSeeds() {
  viewer.overlay().querySelector("#SIC_seeds")?.remove();
}

/** Mark the patch that is pointed at on the map. @param {number | null} row */
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

/** Attributes of a patch's square on the slide. @param {number} row */
function square(row) {
  const { x, y, spacing } = layer().grid, half = spacing / 2;
  const corner = viewer.toViewport(x[row] - half, y[row] - half);
  const opposite = viewer.toViewport(x[row] + half, y[row] + half);
  return {
    x: corner.x, y: corner.y, width: opposite.x - corner.x, height: opposite.y - corner.y,
    fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round",
  };
}

/**
 * Draw the borders of what is seeded with one class, in place of squares that nobody could tell apart.
 * @param {SVGElement} group
 * @param {Map<number, number>} seeds
 */
function outline(group, seeds) {
  const { grid } = layer(), half = grid.spacing / 2;
  const sides = [[-1, 0], [1, 0], [0, -1], [0, 1]];
  /** @type {Map<number, string[]>} */
  const paths = new Map();
  const corner = viewer.toViewport(0, 0), unit = viewer.toViewport(1, 1);
  /** @param {number} x @param {number} y */
  const at = (x, y) => `${corner.x + x * (unit.x - corner.x)} ${corner.y + y * (unit.y - corner.y)}`;
  for (const [row, label] of seeds) {
    const x = grid.x[row], y = grid.y[row];
    for (const [dx, dy] of sides) {
      const beside = grid.at({ x: x + dx * grid.spacing, y: y + dy * grid.spacing });
      if (beside !== null && seeds.get(beside) === label) continue;
      const edges = paths.get(label) ?? [];
      paths.set(label, edges);
      const from = at(x + (dx || -1) * half, y + (dy || -1) * half), to = at(x + (dx || 1) * half, y + (dy || 1) * half);
      edges.push(`M${from}L${to}`);
    }
  }
  const look = { fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linecap": "square" };
  for (const [label, edges] of paths) {
    const d = edges.join("");
    group.append(
      svg("path", { ...look, d, stroke: "#111", "stroke-width": 6 }),
      svg("path", { ...look, d, stroke: current().classes[label].color, "stroke-width": 3, "data-label": label,
        "stroke-dasharray": dashOf(current().listed.indexOf(label)) }));
  }
}

/** The letter of a class in the square of a seed, where colours do not tell it. @param {ReturnType<typeof square>} place @param {string} sign */
function letter({ x, y, width, height }, sign) {
  if (!sign) return [];
  const text = svg("text", { x: x + width / 2, y: y + height / 2, "font-size": height * 0.7, "text-anchor": "middle",
    "dominant-baseline": "central", fill: "#fff", stroke: "#111", "stroke-width": height * 0.12, "paint-order": "stroke" });
  text.append(sign);
  return [text];
}

export function drawSeeds() {
  clearSeeds();
  if (!app.state) return;
  const group = svg("g", { id: "SIC_seeds", "pointer-events": "none" });
  const seeds = seededLabels(), { classes, listed } = current();
  if (seeds.size > MOST_SQUARES) outline(group, seeds);
  else for (const [row, label] of seeds) {
    const place = square(row);
    // A dark line under the coloured one: seen on pale glass, on dark nuclei, and on its own label.
    group.append(
      svg("rect", { ...place, stroke: "#111", "stroke-width": 6 }),
      svg("rect", { ...place, stroke: classes[label].color, "stroke-width": 3,
        "data-patch": row, "data-label": label }),
      ...letter(place, signOf(listed.indexOf(label))));
  }
  for (const { name, patches } of app.unsent) {
    if (patches.length > MOST_SQUARES) continue;
    const color = classes.find((each) => each.name === name)?.color ?? "#fff";
    for (const row of patches) {
      group.append(svg("rect", { ...square(row), stroke: "#111", "stroke-width": 5 }),
        svg("rect", { ...square(row), stroke: color, "stroke-width": 3, "stroke-dasharray": "3 3", "data-unsent": row }));
    }
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
