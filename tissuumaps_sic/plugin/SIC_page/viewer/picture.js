/** A picture over the slide: sharp at every zoom, below markers and what is drawn over them. */

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
  }
  redraw();
}

export function removePicture() {
  shown = null;
  canvas()?.remove();
  osd().removeHandler("viewport-change", redraw);
  osd().removeHandler("resize", redraw);
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
  if (drawn.width !== width || drawn.height !== height) Object.assign(drawn, { width, height });
  else context.clearRect(0, 0, width, height);
  drawn.style.opacity = String(opacity);
  const { frame, source, toScreen } = shown;
  const from = toScreen(frame.left, frame.top), to = toScreen(frame.left + frame.width, frame.top + frame.height);
  const across = (to.x - from.x) * scale / frame.columns, down = (to.y - from.y) * scale / frame.rows; // screen pixels of one
  const left = Math.max(0, Math.floor(-from.x * scale / across)), top = Math.max(0, Math.floor(-from.y * scale / down));
  const right = Math.min(frame.columns, Math.ceil((width - from.x * scale) / across));
  const bottom = Math.min(frame.rows, Math.ceil((height - from.y * scale) / down));
  if (right <= left || bottom <= top) return;
  context.imageSmoothingEnabled = across < 1; // several on one pixel are mixed
  context.drawImage(source, left, top, right - left, bottom - top,
    from.x * scale + left * across, from.y * scale + top * down, (right - left) * across, (bottom - top) * down);
}
