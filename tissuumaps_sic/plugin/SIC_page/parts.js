/** A part of the slide that is drawn for a note: with the lasso, or, where that is the tool, as a rectangle. */

import { app, layer, show, tell } from "./state.js";

/** @import { Place } from "./grid.js" */

const MOST = 500; // corners that are kept of a line

/** Let the next drag on the slide draw the part. */
export function drawPart() {
  show({ part: { corners: [] } });
  tell(`Drag ${app.tool === "rectangle" ? "from corner to corner of" : "around"} the part of the slide; Esc: no part`);
}

/** Take what was drawn. @param {Place[]} line in image pixels */
export function takePart(line) {
  const step = Math.max(1, line.length / MOST);
  const corners = Array.from({ length: Math.ceil(line.length / step) }, (_, i) => line[Math.floor(i * step)]);
  if (corners.length < 3) {
    tell("That is no part of the slide; drag around it");
    return;
  }
  show({ part: { corners } });
  tell("Write the note, and add it");
}

/** The part as the server has it, corners in level-0 pixels; null where none is drawn. @returns {[number, number][] | null} */
export function drawnPart() {
  const { factor } = layer();
  return app.part?.corners.length ? app.part.corners.map(({ x, y }) => [x / factor, y / factor]) : null;
}

/** Let go of what is drawn: a note is on the slide again. */
export const dropPart = () => show({ part: null, ...app.noteTarget === "part" ? { noteTarget: "slide" } : {} });
