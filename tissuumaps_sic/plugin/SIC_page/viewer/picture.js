/** A picture over the slide: sharp at every zoom, below markers and what is drawn over them. */

import { scaleOf, seenOf, toCorners } from "../affine.js";

/* global tmapp */

/**
 * @typedef {{ columns: number, rows: number, left: number, top: number, width: number, height: number }} Frame pixels of a picture,
 *   and where it lies in those of the page's image
 * @typedef {(x: number, y: number) => { x: number, y: number }} Placing from the page's image to the slide's part of the window
 */

/** @type {{ frame: Frame, source: HTMLCanvasElement, toScreen: Placing } | null} */
let shown = null;
let opacity = 1;

const osd = () => tmapp.ISS_viewer;

/** @returns {HTMLCanvasElement | null} */
const canvas = () => document.querySelector("#SIC_picture");

/**
 * Show a picture.
 * @param {Frame} frame
 * @param {(pixels: Uint32Array) => void} fill paints its pixels, row by row
 * @param {Placing} toScreen
 */
export function putPicture(frame, fill, toScreen) {
  const isSame = shown && shown.frame.columns === frame.columns && shown.frame.rows === frame.rows;
  const source = isSame && shown ? shown.source : document.createElement("canvas");
  if (!isSame) Object.assign(source, { width: frame.columns, height: frame.rows });
  const context = contextOf(source), image = context.createImageData(frame.columns, frame.rows);
  fill(new Uint32Array(image.data.buffer));
  context.putImageData(image, 0, 0);
  shown = { frame, source, toScreen };
  if (!canvas()) {
    const made = document.createElement("canvas");
    made.id = "SIC_picture";
    Object.assign(made.style, { position: "absolute", inset: "0", width: "100%", height: "100%", pointerEvents: "none" });
    // Below what TissUUmaps draws on the slide itself.
    osd().canvas.insertBefore(made, osd().canvas.querySelector("#gl_canvas, svg"));
    osd().addHandler("viewport-change", redraw);
    osd().addHandler("resize", redraw);
    osd().world.addHandler("metrics-change", redraw); // the image itself is moved or turned
  }
  redraw();
}

export function removePicture() {
  shown = null;
  canvas()?.remove();
  osd().removeHandler("viewport-change", redraw);
  osd().removeHandler("resize", redraw);
  osd().world.removeHandler("metrics-change", redraw);
}

/** @param {number} strength 0..1 */
export function setPictureOpacity(strength) {
  opacity = strength;
  const drawn = canvas();
  if (drawn) drawn.style.opacity = String(strength);
}

/** @param {HTMLCanvasElement} of */
const contextOf = (of) => /** @type {CanvasRenderingContext2D} */ (of.getContext("2d"));

function redraw() {
  const drawn = canvas();
  if (!drawn || !shown) return;
  const scale = window.devicePixelRatio, width = Math.round(drawn.clientWidth * scale), height = Math.round(drawn.clientHeight * scale);
  const context = contextOf(drawn);
  context.resetTransform();
  if (drawn.width !== width || drawn.height !== height) Object.assign(drawn, { width, height });
  else context.clearRect(0, 0, width, height);
  drawn.style.opacity = String(opacity);
  const { frame, source, toScreen } = shown;
  /** @param {number} x @param {number} y */
  const corner = (x, y) => {
    const place = toScreen(x, y);
    return { x: place.x * scale, y: place.y * scale };
  };
  // The slide may be turned.
  const affine = toCorners(frame, corner(frame.left, frame.top), corner(frame.left + frame.width, frame.top),
    corner(frame.left, frame.top + frame.height));
  const seen = seenOf(affine, frame, width, height);
  if (!seen) return;
  context.setTransform(...affine);
  context.imageSmoothingEnabled = scaleOf(affine) < 1; // several on one pixel are mixed
  context.drawImage(source, seen.left, seen.top, seen.width, seen.height, seen.left, seen.top, seen.width, seen.height);
}
