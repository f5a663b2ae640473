/** How the gallery looks: its pictures, cut as they come into sight, and what stands around them. */

import { makePictures } from "./arranging.js";
import { drawBands } from "./band.js";
import { button, classTag, count, html, toggle } from "./dom.js";
import { drawFound, pageAt, tellElsewhere } from "./elsewhere.js";
import { app, current, field, layer, memory, seededLabels } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Order } from "./arranging.js" */
/** @import { Gallery, OfClass } from "./gallery.js" */

/**
 * @typedef {object} Acts what a person can do
 * @property {() => void} close
 * @property {(by: number) => void} turn
 * @property {() => void} toggleSize
 * @property {(order: Order) => void} arrange
 * @property {(label: number) => void} give
 * @property {(id: number, how: { isRange?: boolean, isMore?: boolean }) => void} onClick
 * @property {(reference: number) => void} openAlike
 * @property {(reference: number) => void} openElsewhere
 * @property {(touched: number[], isMore: boolean, isEnd: boolean) => void} onBand
 * @property {(id: number) => void} open
 * @typedef {{ gallery: Gallery, shown: number[], n: number, isLarge: boolean, page: number, act: Acts }} Drawn
 */

const SIDES = { small: 84, large: 174 }; // CSS pixels of a picture
const AT_ONCE = 6, MOST_KEPT = 240; // pictures
const PLAIN = "#ced4da";

/** @type {HTMLElement | null} */
let box = null;
/** @type {ReturnType<typeof makePictures<HTMLCanvasElement>>} */
const pictures = makePictures(AT_ONCE, MOST_KEPT);
const own = memory(() => ({ of: /** @type {unknown} */ (null), focused: /** @type {number | null} */ (null), isTold: false })); // of: the layer that the
// pictures are of; focused: the picture that had the focus last; told: whether some picture has none to show
/** @type {Map<Element, Drawn & { id: number }>} */
const holders = new Map(); // of pictures, by the element that shows one while it is in sight
const sight = typeof IntersectionObserver === "undefined" ? null : new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) look(target, isIntersecting);
});

/** @returns {HTMLElement[]} */
const tiles = () => [...box?.querySelectorAll(".sic-gallery-tile") ?? []].map((each) => /** @type {HTMLElement} */ (each));

/** @param {HTMLElement} one */
const idOf = (one) => Number(one.dataset.galleryRow);

/** What is shown, in order. */
export const shownTiles = () => tiles().map(idOf);

/** The picture that has the focus, or had it before a button of the gallery was pressed. */
export function focusedTile() {
  return own.focused !== null && box?.contains(document.activeElement) && shownTiles().includes(own.focused) ? own.focused : null;
}

/** @param {number | undefined} id */
export function focusTile(id) {
  if (id === undefined) return;
  tiles().find((each) => idOf(each) === id)?.focus();
}

/** How many pictures are in a line. */
export function columnsOf() {
  const all = tiles(), first = all[0]?.offsetTop;
  return Math.max(1, all.findIndex((each) => each.offsetTop !== first) < 0 ? all.length : all.findIndex((each) => each.offsetTop !== first));
}

/** Show which are picked. @param {number[]} picked */
export function markTiles(picked) {
  const set = new Set(picked), all = tiles();
  let seen = 0;
  for (const each of all) {
    const isPicked = set.has(idOf(each));
    if (isPicked) seen++;
    each.setAttribute("aria-pressed", String(isPicked));
  }
  const told = box?.querySelector("#sic-gallery-picked");
  if (told) told.textContent = picked.length ? `Make ${count(picked.length)} selected${seen < picked.length ? `, ${count(picked.length - seen)} on other pages` : ""}:` : "Make the framed one:";
}

export const forgetPictures = () => pictures.clear();

export function dropTiles() {
  viewer.takeAway(box);
  box = own.focused = null;
  forgetSight();
  pictures.clear();
}

function forgetSight() {
  sight?.disconnect();
  holders.clear();
}

/** @param {Drawn} drawn */
export function drawTiles(drawn) {
  const { gallery, shown, isLarge, act } = drawn, isNew = !box, active = document.activeElement, hadFocus = box?.contains(active);
  if (own.of !== app.layer) pictures.clear();
  own.of = app.layer;
  const name = gallery.kind === "class" ? "Patches of a class" : "Patches like one";
  box ??= html("section", { id: "sic-gallery", class: "sic-gallery", "aria-label": name, onkeydown: (/** @type {KeyboardEvent} */ event) => onEnter(event) });
  if (isNew) viewer.container().parentElement?.append(box);
  const top = box.querySelector(".sic-gallery-tiles")?.scrollTop ?? 0, key = JSON.stringify([gallery, isLarge]), isSame = box.dataset.of === key;
  if (box.dataset.kind !== gallery.kind) own.focused = null; // another kind counts its pictures otherwise
  Object.assign(box.dataset, { of: key, kind: gallery.kind });
  openTile = act.open;
  forgetSight();
  own.isTold = false;
  const area = html("div", { class: `sic-gallery-tiles${isLarge ? " sic-gallery-large" : ""}`, role: "group", "aria-label": "Pictures" },
    ...shown.map((id) => tile(id, drawn)));
  drawBands(area, tiles, (touched, isMore, isEnd) => act.onBand(touched.map(idOf), isMore, isEnd));
  const id = hadFocus && active ? active.id : "", row = own.focused;
  box.replaceChildren(head(drawn), words(gallery), area, foot(drawn));
  if (isSame) area.scrollTop = top;
  for (const holder of holders.keys()) sight?.observe(holder);
  if (id && document.getElementById(id)) document.getElementById(id)?.focus({ preventScroll: true });
  else if (isNew || hadFocus) focusTile(row !== null && shown.includes(row) ? row : shown[0]);
}

/** @param {Drawn} drawn */
function head({ gallery, shown, n, isLarge, act }) {
  const size = button(isLarge ? "Smaller" : "Larger", "Size of the pictures, which this browser remembers", act.toggleSize, { id: "sic-gallery-size" });
  const close = button("×", "Close (Esc)", act.close, { id: "sic-gallery-close", "aria-label": "Close the gallery" });
  if (gallery.kind === "class") {
    const { name, color } = current().run?.classes[gallery.label] ?? { name: "", color: PLAIN };
    const place = html("span", { id: "sic-gallery-place" }, n ? `${count(gallery.from + 1)} to ${count(gallery.from + shown.length)} of ${count(n)}` : "none");
    return html("div", { class: "sic-card-head" }, classTag(color, name), place, orders(gallery, act), size, close);
  }
  const isHere = gallery.kind === "alike";
  return html("div", { class: "sic-card-head" }, html("b", { title: "By likeness: how alike two patches are to the network, 1 is the same" }, "Alike"),
    html("span", { class: "sic-gallery-choice", role: "group", "aria-label": "Where to look" },
      toggle(isHere, "This slide", "The most alike patches of this slide", () => act.openAlike(gallery.reference), { id: "sic-gallery-here" }),
      toggle(!isHere, "Of the folder", "The most alike patches of the other slides of the folder", () => act.openElsewhere(gallery.reference), { id: "sic-gallery-elsewhere" })),
    size, close);
}

/** @param {OfClass} gallery @param {Acts} act */
function orders({ order }, act) {
  /** @type {[Order, string, string][]} */
  const all = [["doubt", "Least sure", "The least sure first"], ["score", "Surest", "The surest first"],
    ["likeness", "Like chosen", "By how like they are to the picture that is chosen (A)"]];
  return html("span", { class: "sic-gallery-choice", role: "group", "aria-label": "Order" },
    ...all.map(([name, text, title]) => toggle(order === name, text, title, () => act.arrange(name), { id: `sic-gallery-by-${name}` })));
}

/** What is to be told once. @param {Gallery} gallery */
function words(gallery) {
  const told = [gallery.kind === "elsewhere" ? tellElsewhere() : gallery.kind === "alike" ? "The first is the patch itself; those that lie over it by more than half are left out" : "",
    gallery.kind !== "elsewhere" && !viewer.hasPicture() ? "The slide has no image: its patches are shown in the colours of the UMAP" : ""].filter(Boolean).join(". ");
  return html("div", { class: "sic-gallery-words", id: "sic-gallery-words", role: "status", hidden: !told }, told);
}

/** @param {Drawn} drawn */
function foot({ gallery, n, page, act }) {
  const { classes, listed } = current();
  return html("div", { class: "sic-gallery-foot" },
    html("span", { class: "sic-gallery-move" }, html("span", { id: "sic-gallery-picked", role: "status" }),
      ...listed.slice(0, 9).map((label, place) => html("button", { type: "button", class: "sic-gallery-class", id: `sic-gallery-give-${label}`,
        style: `border-color: ${classes[label].color}`, title: `Make what is selected ${classes[label].name}, in one step (key ${place + 1})`, onclick: () => act.give(label) },
      html("kbd", {}, String(place + 1)), html("span", {}, classes[label].name)))),
    n > page ? html("span", { class: "sic-gallery-pages" },
      button("Back", "The ones before (Page up)", () => act.turn(-1), { id: "sic-gallery-back", disabled: gallery.from === 0 }),
      button("More", "The next ones (Page down)", () => act.turn(1), { id: "sic-gallery-more", disabled: gallery.from + page >= n })) : null,
    html("span", { class: "sic-gallery-keys" }, `Click, Shift-click, drag: select. Enter: go there${gallery.kind === "elsewhere" ? " in a new tab" : ""}. Esc: none, then close`));
}

/** @param {number} id @param {Drawn} drawn */
function tile(id, drawn) {
  const { gallery, act } = drawn, { text, title, color, found } = describe(id, gallery);
  const holder = html("span", { class: "sic-gallery-picture" }), known = pictures.known(keyOf(id, gallery));
  if (known) holder.append(known);
  holders.set(holder, { ...drawn, id });
  const isReference = gallery.reference === id && gallery.kind !== "elsewhere";
  const one = html("button", { type: "button", class: `sic-gallery-tile${isReference ? " sic-gallery-reference" : ""}`, id: `sic-gallery-tile-${id}`, "data-gallery-row": id, "aria-pressed": "false",
    style: color ? `border-color: ${color}` : "", title, "aria-label": title, onfocus: () => { own.focused = id; },
    onclick: (event) => act.onClick(id, { isRange: event.shiftKey, isMore: event.ctrlKey || event.metaKey || event.detail === 0 }), // by Space one more or less
    ondblclick: () => act.open(id) }, holder, html("span", { class: "sic-gallery-text" }, text));
  return found ? html("div", { class: "sic-gallery-found" }, one, html("a", { href: pageAt(found), target: "_blank", rel: "noopener",
    title: `Open ${found.slide} at this patch, in a new tab` }, found.slide)) : one;
}

/** @param {number} id @param {Gallery} gallery */
function describe(id, gallery) {
  const { classes } = current();
  if (gallery.kind === "elsewhere") {
    const found = app.elsewhere?.patches[id], name = app.elsewhere?.seeded[id], like = (found?.similarity ?? 0).toFixed(2);
    return { found, text: name ?? like, color: classes.find((each) => each.name === name)?.color, title: `${found?.slide}, likeness ${like}${name ? `, seeded ${name} there` : ""}` };
  }
  const seeded = seededLabels().get(id), byLikeness = gallery.kind !== "class" || gallery.order === "likeness";
  const value = (byLikeness ? app.likeness?.values[id] : app.scores?.own[id]) ?? 0, told = value.toFixed(2);
  const isReference = gallery.reference === id;
  return { found: null, text: seeded === undefined ? isReference ? "itself" : told : classes[seeded].name, color: seeded === undefined ? "" : classes[seeded].color,
    title: `${isReference ? "The patch that the others are compared with" : `${byLikeness ? "Likeness" : "Score"} ${told}`}${seeded === undefined ? "" : `, seeded ${classes[seeded].name}`}` };
}

/** @type {(id: number) => void} */
let openTile = () => {};

/** A button takes Enter for a click. @param {KeyboardEvent} event */
function onEnter(event) {
  const one = /** @type {Element} */ (event.target).closest(".sic-gallery-tile");
  if (event.key !== "Enter" || !one) return;
  event.preventDefault();
  openTile(idOf(/** @type {HTMLElement} */ (one)));
}

/** @param {number} id @param {Gallery} gallery */
const keyOf = (id, { kind }) => (kind === "elsewhere" ? `${app.elsewhere?.of} ${id}` : String(id));

/** A picture comes into sight, or goes out of it. @param {Element} holder @param {boolean} isSeen */
function look(holder, isSeen) {
  const held = holders.get(holder);
  if (!held) return;
  const { id, gallery, isLarge } = held, key = keyOf(id, gallery), side = SIDES[isLarge ? "large" : "small"];
  if (!isSeen) {
    pictures.leave(key);
    holder.replaceChildren();
    return;
  }
  holder.replaceChildren(pictures.see(key, () => html("canvas", { width: side, height: side }), (canvas) => drawOne(canvas, id, gallery)));
}

/** @param {HTMLCanvasElement} canvas @param {number} id @param {Gallery} gallery */
async function drawOne(canvas, id, gallery) {
  const { x, y } = layer().grid, found = gallery.kind === "elsewhere" ? app.elsewhere?.patches[id] : null;
  const isDrawn = await (found ? drawFound(canvas, viewer.contextOf(canvas), found) : viewer.drawSlide(canvas, x[id], y[id], field().width)).catch(() => false);
  if (isDrawn) return;
  const context = viewer.contextOf(canvas);
  context.fillStyle = found ? PLAIN : colorOf(id);
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (found) tellMissing();
}

/** @param {number} row */
function colorOf(row) {
  const colors = app.map?.colors;
  return colors ? `rgb(${colors.slice(3 * row, 3 * row + 3).join(" ")})` : PLAIN;
}

function tellMissing() {
  const line = box?.querySelector("#sic-gallery-words");
  if (!line || own.isTold) return;
  own.isTold = true;
  line.textContent += ". Where there is no picture, that slide has no image that can be read";
}
