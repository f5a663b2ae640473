/** Small pictures of patches for a list in the panel, each drawn once. */

import { html } from "../dom.js";
import { app, field, layer } from "../state.js";
import * as viewer from "../viewer.js";

/**
 * Make what gives the picture of a patch; without an image it has the colour that its patch has on the slide.
 * @param {number} side CSS pixels
 * @returns {(row: number, color: string) => HTMLCanvasElement}
 */
export function makePictures(side) {
  /** @type {Map<number, HTMLCanvasElement>} */
  let pictures = new Map();
  /** @type {unknown} */
  let drawnOf = null; // the layer that they are of
  return (row, color) => {
    if (drawnOf !== app.layer) pictures = new Map();
    drawnOf = app.layer;
    const known = pictures.get(row);
    if (known) return known;
    const canvas = html("canvas", { width: 2 * side, height: 2 * side }), { x, y } = layer().grid;
    pictures.set(row, canvas);
    viewer.drawSlide(canvas, x[row], y[row], field().width)
      .then((isDrawn) => { if (!isDrawn) fillWith(canvas, color); })
      .catch(() => fillWith(canvas, color));
    return canvas;
  };
}

/** @param {HTMLCanvasElement} canvas @param {string} color */
function fillWith(canvas, color) {
  const context = viewer.contextOf(canvas);
  context.fillStyle = color;
  context.fillRect(0, 0, canvas.width, canvas.height);
}
