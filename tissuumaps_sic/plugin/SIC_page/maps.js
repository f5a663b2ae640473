/** What of the labels is drawn over the slide: a picture with a pixel for each cell, or for each patch. */

import { layOut, paint, pixelOf, spread } from "./mosaic.js";
import { strengthen } from "./ramp.js";
import { isShaded, shader } from "./shading.js";
import { app, current, isBlind, layer } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Cells, Lattice, Mosaic } from "./mosaic.js" */

const STEPS = 101; // that scores of cells come in

/** @type {WeakMap<Lattice, Map<boolean, Mosaic | null>>} */
const mosaics = new WeakMap();

/** The squares that the slide is drawn in; null where its patches lie on no grid. @param {boolean} isFine */
export function mosaic(isFine) {
  if (!app.lattice) return null;
  const known = mosaics.get(app.lattice) ?? new Map();
  mosaics.set(app.lattice, known);
  if (!known.has(isFine)) known.set(isFine, layOut(app.lattice, isFine));
  return /** @type {Mosaic | null} */ (known.get(isFine));
}

/** Whether labels are a picture; else they are markers, as they are left to TissUUmaps when the plugin is closed. */
export const isPicture = () => !app.isClosed && mosaic(false) !== null;

/** Whether the patches' own colours are. */
export const areColorsPicture = () => isPicture() && viewer.patchColors(layer().uid) !== null;

/** Whether the view is one of cells: what is told of patches alone is drawn of patches. */
export const isFineView = () => app.isFine && ["labels", "confidence", "outlines"].includes(app.view) && mosaic(true) !== null;

/** The label of each square that the slide is drawn in. @param {Uint8Array} labels of patches @param {Cells | null} cells */
export const labelsOf = (labels, cells) => (!isFineView() ? labels : cells?.labels ?? spread(labels, app.lattice?.side ?? 1));

/**
 * Draw what the present view shows of labels.
 * @param {Uint8Array | null} labels of patches
 * @param {Cells | null} cells
 */
export function drawMap(labels, cells) {
  const drawn = mosaic(isFineView());
  if (!drawn || !isPicture() || isBlind() || !(app.view === "colors" ? areColorsPicture() : app.view === "labels" || isShaded(app.view))) {
    viewer.hidePicture();
    return;
  }
  const { codes, colors } = colored(labels, isFineView() ? cells : null, drawn.side), { factor } = layer();
  const [left, top] = drawn.corner, [width, height] = drawn.size;
  viewer.showPicture({ columns: drawn.columns, rows: drawn.rows, left: left * factor, top: top * factor,
    width: width * factor * drawn.columns, height: height * factor * drawn.rows }, (picture) => paint(picture, drawn, codes, colors));
}

/** Which colour each square has. @param {Uint8Array | null} labels @param {Cells | null} cells @param {number} side */
function colored(labels, cells, side) {
  if (app.view === "colors") return painted();
  const classes = current().run?.classes ?? [], isHidden = classes.map(({ name }) => app.hidden.includes(name));
  if (app.view === "labels" && labels) {
    return { codes: cells?.labels ?? spread(labels, side),
      colors: Uint32Array.from(classes, ({ color }, label) => (isHidden[label] ? 0 : pixelOf(color))) };
  }
  if (app.view === "confidence" && labels && cells) {
    const least = 1 / Math.max(new Set(labels).size, 2);
    return { codes: Uint16Array.from(cells.labels, (label, cell) => label * STEPS + cells.own[cell]),
      colors: Uint32Array.from({ length: classes.length * STEPS }, (_, code) => {
        const label = Math.floor(code / STEPS), score = (code % STEPS) / (STEPS - 1);
        return isHidden[label] ? 0 : pixelOf(strengthen(classes[label].color, (score - least) / (1 - least)));
      }) };
  }
  return ofPatches(labels, isHidden, side);
}

/** What is painted of the patches' own colours, by whole patches; kept, since nothing changes it. @type {WeakMap<string[], { codes: Uint32Array, colors: Uint32Array }>} */
const paints = new WeakMap();

function painted() {
  const colors = viewer.patchColors(layer().uid) ?? [], known = paints.get(colors);
  if (known) return known;
  const made = { codes: Uint32Array.from(colors.keys()), colors: Uint32Array.from(colors, pixelOf) };
  paints.set(colors, made);
  return made;
}

/** Colours of a view that tells of patches. @param {Uint8Array | null} labels @param {boolean[]} isHidden @param {number} side */
function ofPatches(labels, isHidden, side) {
  const shade = shader(app, labels, current().run?.classes ?? []), colors = [0];
  /** @type {Map<string, number>} */
  const known = new Map();
  const codes = new Uint16Array(current().n_patches);
  for (let row = 0; row < codes.length; row++) {
    if (!shade || labels && isHidden[labels[row]]) continue;
    const color = shade(row);
    if (!known.has(color)) known.set(color, colors.push(pixelOf(color)) - 1);
    codes[row] = known.get(color) ?? 0;
  }
  return { codes: spread(codes, side), colors: Uint32Array.from(colors) };
}
