/** Where notes are, on the slide. */

import { svg } from "./dom.js";
import { app, layer, subscribe } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Note } from "./server.js" */
/** @import { Place } from "./grid.js" */

const COLOR = "#d98e00";

/** Mark what notes are on, of all readers, and what is drawn for one; returns how to stop that. */
export function followNotes() {
  const stop = subscribe(() => [app.state?.notes, app.notes, app.layer, app.part], draw);
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
  if (!app.layer) return;
  const notes = [...app.state?.notes ?? [], ...app.notes].filter(({ patch }) => patch !== null);
  if (!notes.length && !app.part?.corners.length) return;
  const group = svg("g", { id: "SIC_notes", "pointer-events": "none" });
  for (const note of notes) mark(group, cornersOf(note), { "data-note": note.patch ?? "" });
  if (app.part?.corners.length) mark(group, app.part.corners, { "data-part": "" });
  viewer.overlay().append(group);
}

/** What a note is on, in image pixels. @param {Note} note @returns {Place[]} */
function cornersOf({ patch, box, outline }) {
  const { grid: { x, y, spacing }, factor } = layer(), half = spacing / 2, row = patch ?? 0;
  const [left, top, right, bottom] = box?.map((each) => each * factor) ?? [x[row] - half, y[row] - half, x[row] + half, y[row] + half];
  return outline?.map(([at, down]) => ({ x: at * factor, y: down * factor }))
    ?? [{ x: left, y: top }, { x: right, y: top }, { x: right, y: bottom }, { x: left, y: bottom }];
}

/** @param {SVGElement} group @param {Place[]} corners @param {Record<string, string | number>} data */
function mark(group, corners, data) {
  const points = corners.map(({ x, y }) => viewer.toViewport(x, y)).map(({ x, y }) => `${x},${y}`).join(" ");
  const look = { points, fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round" };
  group.append(svg("polygon", { ...look, stroke: "#111", "stroke-width": 4 }),
    svg("polygon", { ...look, stroke: COLOR, "stroke-width": 2, "stroke-dasharray": "3 3", ...data }));
}
