/**
 * TissUUmaps as the rest of the plugin sees it: with what is in viewer/, the only module that knows its globals.
 */

import { atRoot, fromRoot, pathOf } from "./address.js";
import * as legend from "./viewer/legend.js";
import { putPicture, removePicture, setPictureOpacity } from "./viewer/picture.js";

export { drawnRegions, hideRegions, showRegions } from "./viewer/regions.js";
export { guardKeys, keepPlace, leaveRoom, setBare, stage, takeAway, tidy, wantedFiles, watchFront } from "./viewer/frame.js";

/**
 * @typedef {{ x: number, y: number }} Place
 * @typedef {Place & { clone: () => Point, distanceTo: (other: Place) => number }} Point of OpenSeadragon
 * @typedef {{ position: Point, originalEvent?: PointerEvent, preventDefaultAction: boolean }} CanvasEvent
 * @typedef {{ uid: string, names: string[], counts: Record<string, number>, colors: Record<string, string>,
 *   signs: Record<string, string>, shades: string[] | undefined, opacities: number[], isSeen: boolean }} Labels
 */

/* global $, OpenSeadragon, d3, dataUtils, glUtils, interfaceUtils, overlayUtils, projectUtils, regionUtils, tmapp */

const LABELS = "SICLABELS"; // TissUUmaps splits ids at "_", so the layer's id has none
const osd = () => tmapp.ISS_viewer;
const image = () => osd().world.getItemAt(0);

/** Patch layers of the page: marker layers that were read from an h5ad and are on the screen. */
export function patchLayers() {
  return Object.entries(dataUtils.data)
    .filter(([uid, layer]) => uid !== LABELS && layer._filetype === "h5" && glUtils._numPoints[uid])
    .map(([uid, layer]) => ({ uid, h5ad: pathOf(layer._csv_path) }));
}

/** Centres of a layer's patches in the page's image pixels (TissUUmaps may have rescaled them). @param {string} uid */
export function centres(uid) {
  const layer = dataUtils.data[uid];
  const scaled = (/** @type {string} */ column) => Float64Array.from(layer._processeddata[column], (v) => v * layer._coord_factor);
  return { x: scaled(layer._X), y: scaled(layer._Y) };
}

/** Columns that were looked through, and whether all in them are colours. @type {WeakMap<string[], boolean>} */
const looked = new WeakMap();

/** @param {string[]} column */
function areColors(column) {
  const known = looked.get(column) ?? column.every((each) => /^#[0-9a-f]{6}$/i.test(each));
  looked.set(column, known);
  return known;
}

/**
 * The colour of each of a layer's patches, #rrggbb; null where TissUUmaps shows the layer by other means, or a part of it alone.
 * @param {string} uid
 * @returns {string[] | null}
 */
export function patchColors(uid) {
  const layer = dataUtils.data[uid], found = layer._processeddata[layer._cb_col];
  return found && !layer._cb_cmap && !layer._pie_col && !layer._opacity_col && areColors(found) && legend.isWhole(uid) ? found : null;
}

/** Hear of what a person changes of how TissUUmaps shows layers; returns how to stop that. @param {() => void} listener */
export function watchLayers(listener) {
  const stop = legend.watchBoxes(patchLayers, listener);
  document.addEventListener(LOADED, listener);
  return () => {
    stop();
    document.removeEventListener(LOADED, listener);
  };
}

/** How many of the page's image pixels a level-0 pixel is. @param {string} uid @returns {number} */
export const factorOf = (uid) => dataUtils.data[uid]._coord_factor;

/** @param {Place} position @returns {Place} */
export function toImage(position) {
  return image().viewportToImageCoordinates(osd().viewport.pointFromPixel(position));
}

/** @param {number} x @param {number} y @returns {Place} */
export function toViewport(x, y) {
  return image().imageToViewportCoordinates(x, y);
}

/** Where a place of the image is within the slide's part of the window, or is about to be, CSS pixels. @param {number} x @param {number} y @returns {Place} */
export const toScreen = (x, y, now = true) => osd().viewport.pixelFromPoint(toViewport(x, y), now);

/** Move the slide, from where it is about to be. @param {number} x CSS pixels @param {number} y */
export function moveBy(x, y) {
  osd().viewport.panBy(osd().viewport.deltaPointsFromPixels(new OpenSeadragon.Point(-x, -y)));
}

/** Show a picture over the slide, in place of the one before. @param {import("./viewer/picture.js").Frame} frame @param {(pixels: Uint32Array) => void} paint */
export const showPicture = (frame, paint) => putPicture(frame, paint, toScreen);
export { removePicture as hidePicture, setPictureOpacity };

/** What of the image is on the screen, in its pixels, and how many of them are a CSS pixel. */
export function viewBox() {
  const { x: width, y: height } = osd().viewport.getContainerSize();
  const from = toImage(new OpenSeadragon.Point(0, 0)), to = toImage(new OpenSeadragon.Point(width, height));
  return { left: from.x, top: from.y, right: to.x, bottom: to.y, scale: (to.x - from.x) / width };
}

/** The small map of the slide, and where a place of the image is on it; null where it is not shown. */
export function minimap() {
  const map = osd().navigator;
  if (!map?.element) return null;
  return { element: /** @type {HTMLElement} */ (map.element),
    place: (/** @type {number} */ x, /** @type {number} */ y) => /** @type {Place} */ (map.viewport.pixelFromPoint(toViewport(x, y), true)) };
}

/** Bring a patch to the middle, near enough to be read with what is around it. @param {number} x @param {number} y @param {number} spacing */
export function lookClosely(x, y, spacing) {
  const from = toViewport(x - 5 * spacing, y - 5 * spacing), to = toViewport(x + 5 * spacing, y + 5 * spacing);
  osd().viewport.fitBounds(new OpenSeadragon.Rect(from.x, from.y, to.x - from.x, to.y - from.y));
}

/** @param {Record<string, (event: CanvasEvent) => void>} handlers */
export function on(handlers) {
  for (const [event, handler] of Object.entries(handlers)) osd().addHandler(event, handler);
}

/** @param {Record<string, (event: CanvasEvent) => void>} handlers */
export function off(handlers) {
  for (const [event, handler] of Object.entries(handlers)) osd().removeHandler(event, handler);
}

// TissUUmaps writes the name of a project that it saves into the address as it stands, and passes over refusals.
const SAVED = /^\/(.*\.tmap)\?path=(.*)$/s;
/** The name and the folder of a project that is being saved, or null. @param {{ type: string, url: string }} options of a request by jQuery */
const saved = ({ type, url }) => (type === "POST" ? fromRoot(url)?.match(SAVED) : null);

/** Let projects be saved under any name, and tell what the server has against one. */
export function watchSaving() {
  $(document).on("ajaxSend.SIC", (/** @type {any[]} */ ...[, , options]) => {
    const [, name, folder] = saved(options) ?? [];
    if (name !== undefined) options.url = atRoot(`/${encodeURIComponent(name)}?path=${encodeURIComponent(folder)}`);
  });
  $(document).on("ajaxError.SIC", (/** @type {any[]} */ ...[, request, options]) => {
    if (!saved(options)) return;
    const why = request.responseJSON?.error ?? `the server answered with an error (${request.status})`;
    const told = document.createElement("p"); // TissUUmaps takes what it is told for HTML
    told.textContent = `The project was not saved: ${why}.`;
    interfaceUtils.alert(told.innerHTML);
  });
}

export function leaveSaving() {
  $(document).off(".SIC");
}

/** Whether the person draws TissUUmaps' own regions just now. */
export function isDrawingRegions() {
  return Boolean(regionUtils._regionMode);
}

/**
 * Show or replace the marker layer of labels.
 *
 * `names` has a class name for each patch, `colors` and `signs` the colour and letter of each class; `shades`, if given, are colours of
 * the patches that are drawn instead. `opacities` are those of the patches' own layer and of the labels; where these are not seen, they
 * are given to TissUUmaps to draw once there is time.
 * @param {Labels} labels
 */
export async function showLabels({ uid, opacities, shades, isSeen, ...given }) {
  changeOpacities(uid, opacities);
  legend.setNames([...Object.keys(given.colors), ...Object.keys(given.counts)]);
  const names = given.names.map(legend.keyOf);
  const [counts, colors, signs] = [legend.rekey(given.counts), legend.rekey(given.colors), legend.rekey(given.signs)];
  // What TissUUmaps knows of the layer otherwise; where it stays the same, labels need no new menus and legends.
  const { _scale_factor: scale, _z_order: order } = dataUtils.data[uid];
  const made = JSON.stringify([uid, names.length, scale, order, colors, signs, Object.keys(counts).sort(), Boolean(shades)]);
  const layer = dataUtils.data[LABELS];
  if (layer?.made === made && glUtils._numPoints[LABELS]) {
    refill(layer, names, counts, shades, isSeen);
  } else {
    await fill(uid, names, colors, shades, opacities[1]);
    dataUtils.data[LABELS].made = made;
    legend.mark(LABELS, signs);
  }
}

/** @param {string} uid @param {string[]} names @param {Record<string, string>} colors @param {string[] | undefined} shades @param {number} opacity */
async function fill(uid, names, colors, shades, opacity) {
  const patches = dataUtils.data[uid];
  const { x, y } = centres(uid);
  if (!dataUtils.data[LABELS]) makeLabelsTab();
  const layer = dataUtils.data[LABELS];
  layer._processeddata = { columns: ["x", "y", "class", "shade"], x, y, class: names, shade: shades ?? names };
  layer._csv_header = layer._processeddata.columns;
  layer._isnan = {};
  layer.modified = true;
  layer.expectedHeader = {
    X: "x", Y: "y", gb_col: "class", cb_gr_dict: JSON.stringify(colors), shape_fixed: "square",
    scale_factor: patches._scale_factor, coord_factor: 1, opacity, z_order: patches._z_order + 1,
    collectionItem_fixed: "0", ...(shades ? { cb_col: "shade", cb_cmap: "" } : {}),
  };
  layer.expectedRadios = {
    cb_col: Boolean(shades), cb_gr: !shades, cb_gr_dict: true, cb_gr_rand: false, cb_gr_key: false,
    shape_fixed: true, shape_gr: false, shape_col: false, _no_outline: true, collectionItem_fixed: true,
  };
  forgetTrees();
  fillMenus(layer);
  await dataUtils.updateViewOptions(LABELS);
}

/**
 * Give the layer other labels of the same classes: drawn at once, counted in the legend, found by regions.
 * @param {any} layer
 * @param {string[]} names
 * @param {Record<string, number>} counts
 * @param {string[] | undefined} shades
 * @param {boolean} isSeen
 */
function refill(layer, names, counts, shades, isSeen) {
  const data = layer._processeddata;
  data.class = names;
  data.shade = shades ?? names;
  layer._groupgarden = Object.fromEntries(Object.keys(counts).map((name) => [name, lateTree(data, names, name)]));
  forgetTrees();
  for (const row of /** @type {NodeListOf<any>} */ (document.querySelectorAll(`#${LABELS}_menu-UI tbody tr`))) {
    const cell = row.children[2], n = counts[row.dataset.key];
    cell.setAttribute("sorttable_customkey", -n);
    cell.firstChild.innerText = n;
  }
  clearTimeout(late);
  if (isSeen) loadLabels();
  else late = setTimeout(() => { if (dataUtils.data[LABELS] === layer) loadLabels(); }, LATE);
}

const LATE = 2000; // ms after the last labels that nobody sees as markers
let late = 0;

function loadLabels() {
  glUtils.loadMarkers(LABELS, true);
  glUtils.draw();
}

/**
 * The patches of a class by place, as TissUUmaps keeps them for its regions; sorted when they are first looked for,
 * which takes as long as drawing the labels and is seldom done between two runs.
 * @param {{ x: Float64Array, y: Float64Array }} centres
 * @param {string[]} names
 * @param {string} name
 */
function lateTree({ x, y }, names, name) {
  const tree = d3.quadtree().x((/** @type {number} */ row) => x[row]).y((/** @type {number} */ row) => y[row]);
  tree.treeID = name;
  tree.visit = (/** @type {unknown} */ look) => {
    delete tree.visit;
    const rows = Uint32Array.from(names.keys()).filter((row) => names[row] === name);
    dataUtils._quadtreeAddAll(tree, rows, dataUtils._quadtreesMaxDepth, dataUtils._quadtreesMethod === 2);
    return tree.visit(look);
  };
  return tree;
}

/** TissUUmaps keeps its trees by the names of columns, which stay the same from run to run. */
function forgetTrees() {
  dataUtils._quadtreesLastInputs = {};
}

const activeTab = () => /** @type {HTMLElement | null} */ (document.querySelector("#level-1-tabs .nav-link.active"));

function makeLabelsTab() {
  // Making a tab brings it to the front; the person stays where they were.
  const active = activeTab();
  interfaceUtils.generateDataTabUI({ uid: LABELS, name: "SIC labels", hideSettings: true, expectedHeader: {} });
  dataUtils.createDataset(LABELS, { name: "SIC labels", filetype: "csv" });
  // A layer without a button makes TissUUmaps ask for a file when the project is saved. This one comes
  // back from the session; a named property of the array is not part of the saved JSON.
  projectUtils._activeState.markerFiles ??= [];
  projectUtils._activeState.markerFiles[LABELS] = {};
  dataUtils.data[LABELS].fromButton = LABELS;
  dataUtils.data[LABELS]._csv_path = "";
  active?.click();
}

/** @param {any} layer */
function fillMenus(layer) {
  const menus = interfaceUtils._mGenUIFuncs.getTabDropDowns(LABELS, true);
  for (const menu of Object.values(menus)) {
    if (!menu || menu.options.length) continue;
    for (const value of ["null", ...layer._csv_header]) menu.add(new Option(value, value));
  }
  interfaceUtils._mGenUIFuncs.fillRadiosAndChecksIfExpectedCSV(LABELS, layer.expectedRadios);
  interfaceUtils._mGenUIFuncs.fillDropDownsIfExpectedCSV(LABELS, layer.expectedHeader);
}

/** Bring a place of the page's image to the middle, unless it is well inside the view. @param {number} x @param {number} y @param {number} share of the view at each side that is not well inside */
export function lookAt(x, y, share = 0.1) {
  const point = toViewport(x, y);
  const bounds = osd().viewport.getBounds();
  const margin = { x: bounds.width * share, y: bounds.height * share };
  const inside = point.x > bounds.x + margin.x && point.x < bounds.x + bounds.width - margin.x
    && point.y > bounds.y + margin.y && point.y < bounds.y + bounds.height - margin.y;
  if (!inside) osd().viewport.panTo(point);
}

/** Move the slide by shares of what is seen. @param {number} x @param {number} y */
export function panBy(x, y) {
  const { width, height } = osd().viewport.getBounds();
  osd().viewport.panBy(new OpenSeadragon.Point(x * width, y * height));
  osd().viewport.applyConstraints();
}

/** The place in the middle of what is seen. @returns {Place} */
export const middle = () => image().viewportToImageCoordinates(osd().viewport.getCenter());

/** @param {number} factor */
export function zoomBy(factor) {
  osd().viewport.zoomBy(factor);
  osd().viewport.applyConstraints();
}

/** How many pixels of the screen an image pixel is. @returns {number} */
export const screenScale = () => image()?.viewportToImageZoom(osd().viewport.getZoom(true)) ?? 1;

/** Call `listener` whenever the view moves; returns how to stop that. @param {() => void} listener */
export function onMove(listener) {
  osd().addHandler("viewport-change", listener);
  return () => osd().removeHandler("viewport-change", listener);
}

/** Where a pointer event is, in the page's image pixels. @param {MouseEvent} event */
export function placeOf(event) {
  const box = osd().canvas.getBoundingClientRect();
  return toImage(new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top));
}

/** @param {HTMLCanvasElement} canvas */
export const contextOf = (canvas) => /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));

export const hasPicture = () => Boolean(image().source.getTileUrl && image().source.tilesUrl); // an h5ad alone has none

/**
 * Draw a square of the slide, `side` image pixels around (x, y), into a canvas; false without an image.
 * @param {HTMLCanvasElement} canvas
 * @param {number} x
 * @param {number} y
 * @param {number} side
 */
export async function drawSlide(canvas, x, y, side) {
  const { source } = image();
  if (!hasPicture()) return false;
  // The least level that has a pixel for each of the canvas, or the best there is.
  let level = source.maxLevel;
  while (level > source.minLevel && side * source.getLevelScale(level - 1) >= canvas.width) level--;
  const scale = source.getLevelScale(level), zoom = canvas.width / (side * scale);
  const left = (x - side / 2) * scale, top = (y - side / 2) * scale, reach = side * scale;
  const tile = source.getTileWidth(level), tiles = source.getNumTiles(level);
  const context = contextOf(canvas);
  const jobs = [];
  for (let column = Math.max(0, Math.floor(left / tile)); column * tile < left + reach && column < tiles.x; column++) {
    for (let row = Math.max(0, Math.floor(top / tile)); row * tile < top + reach && row < tiles.y; row++) {
      jobs.push((async () => {
        const picture = new Image();
        picture.src = source.getTileUrl(level, column, row);
        await picture.decode();
        const shiftX = column ? source.tileOverlap : 0, shiftY = row ? source.tileOverlap : 0;
        context.drawImage(picture, (column * tile - shiftX - left) * zoom, (row * tile - shiftY - top) * zoom,
          picture.width * zoom, picture.height * zoom);
      })());
    }
  }
  await Promise.all(jobs);
  return jobs.length > 0;
}

export function removeLabels() {
  if (dataUtils.data[LABELS]) {
    const active = activeTab();
    interfaceUtils._mGenUIFuncs.deleteTab(LABELS);
    active?.click();
  }
}

/** @param {string} name @param {boolean} visible */
export const setClassVisible = (name, visible) => legend.setVisible(LABELS, name, visible);

/** Tell of what a person changes in TissUUmaps' legend of the labels; returns how to stop that. @param {(look: legend.Look) => void} tell */
export const watchLegend = (tell) => legend.watch(LABELS, tell);

/** Set how strongly the patches' colours and the labels are drawn, 0..1 each. @param {string} uid @param {number[]} opacities */
export function setOpacities(uid, opacities) {
  if (changeOpacities(uid, opacities)) glUtils.draw();
}

/** Returns whether what is drawn must be drawn again. @param {string} uid @param {number[]} opacities */
function changeOpacities(uid, opacities) {
  let changed = false;
  [uid, LABELS].forEach((layer, place) => {
    if (!dataUtils.data[layer] || glUtils._markerOpacity[layer] === opacities[place]) return;
    changed = true;
    dataUtils.data[layer]._opacity = opacities[place];
    glUtils._markerOpacity[layer] = opacities[place];
  });
  return changed;
}

/**
 * Keep TissUUmaps from looking for a marker, and opening its tooltip, at every click that seeds: that draws all of
 * them once more. Returns how to undo it.
 */
export function muteTooltips() {
  osd().removeHandler("canvas-click", glUtils.pick);
  return () => {
    // Never twice: TissUUmaps may have added it again when it began to draw.
    osd().removeHandler("canvas-click", glUtils.pick);
    osd().addHandler("canvas-click", glUtils.pick);
  };
}

export const container = () => osd().canvas;
export const overlay = () => overlayUtils._d3nodes.ISS_svgnode.node();
export const LOADED = "glUtilsDraw"; // TissUUmaps' event when a marker layer is ready
