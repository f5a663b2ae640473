/** The page of TissUUmaps around the slide and the panel. */

import { pathOf } from "../address.js";

/* global OpenSeadragon, dataUtils, glUtils, projectUtils, tmapp */

// Of TissUUmaps' page, what is in the way of ours: a second list of slides, a heading over one plugin, and a slider that makes
// labels larger or smaller than what is labelled. And the slide never has less than half of the window.
const LISTED = "body:has(.sic-worklist:not([hidden])) #ISS_menu > .row:has(#project_select)";
const TIDY = `
  ${LISTED}:not(:has(#project_description:not(.d-none))), ${LISTED} :is(strong, br, #project_select),
  #plugins-gui .panel-body > h6, #ISS_globalmarkersize { display: none !important; }
  #ISS_menu { max-width: 50vw; }
  #ISS_menu { min-width: min(320px, 50vw); }
  #main-tabs-menu .nav-link { padding: .3rem; font-size: .8rem; }
  #plugins-gui .accordion-button { padding: .25rem .75rem; font-size: .95rem; }
  .openseadragon-canvas:focus-visible::after { content: ""; position: absolute; inset: 0; z-index: 18; border: 3px solid #0b5ed7; pointer-events: none; }
  .sic-bare > svg, .sic-bare #gl_canvas, .sic-bare #SIC_picture, .sic-bare #colorbar_canvas { visibility: hidden; }
`;

/** Put TissUUmaps' own away that would confuse; returns how to bring it back. */
export function tidy() {
  const sheet = document.createElement("style"), scale = glUtils._globalMarkerScale, { viewport } = tmapp.ISS_viewer;
  const farthest = viewport.minZoomImageRatio; // see leaveRoom
  sheet.textContent = TIDY;
  document.head.append(sheet);
  const ruler = tmapp.ISS_viewer.scalebarInstance?.divElt; // ours tells the magnification too
  if (ruler) ruler.style.visibility = "hidden";
  glUtils._globalMarkerScale = 1;
  return () => {
    sheet.remove();
    if (ruler) ruler.style.visibility = "";
    glUtils._globalMarkerScale = scale;
    viewport.minZoomImageRatio = farthest;
    setBare(false);
  };
}

// TissUUmaps' keys on the slide: those hide what is shown, these hide the side bar and fill the screen.
const HIDING = ["m", "r"], FRAMING = ["0", "f"];

/** Keep TissUUmaps from taking for its keys what is none: one with Ctrl, or one that is typed over the slide; returns how to stop that. */
export function guardKeys() {
  const around = stage();
  /** @param {KeyboardEvent} event */
  const listener = (event) => {
    const isTyped = /** @type {Element} */ (event.target).closest("input, textarea, select"), isMore = event.ctrlKey || event.altKey || event.metaKey;
    if (HIDING.includes(event.key) || FRAMING.includes(event.key) && (isTyped || isMore)) event.stopPropagation();
  };
  around.addEventListener("keydown", listener);
  return () => around.removeEventListener("keydown", listener);
}

/** Show the slide alone, or all again. @param {boolean} isBare */
export function setBare(isBare) {
  tmapp.ISS_viewer.canvas.classList.toggle("sic-bare", isBare);
}

/** Keep what part of the slide is in view; returns how to bring it back. */
export function keepPlace() {
  const { viewport } = tmapp.ISS_viewer, bounds = viewport.getBounds();
  return () => { viewport.fitBounds(bounds, true); };
}

// Of the scale at which the slide fills the window: TissUUmaps goes no farther away, and we no farther than the second.
const FARTHEST = 0.9, LEAST = 0.7;

/** Where the whole slide is in view, let it begin below what lies over its upper edge. @param {number} room CSS pixels */
export function leaveRoom(room) {
  const { viewport, world } = tmapp.ISS_viewer, box = world.getHomeBounds(), { x: width, y: height } = viewport.getContainerSize();
  const nearness = viewport.getZoom() / viewport.getHomeZoom(), aside = viewport.getCenter().distanceTo(box.getCenter()) / box.width;
  const isWhole = nearness < 1.01 && nearness > FARTHEST && aside < 0.05; // TissUUmaps opens a little farther than its home is
  if (!world.getItemCount() || !isWhole || viewport.pixelFromPoint(box.getTopLeft()).y >= room) return;
  const fills = Math.min(width / box.width, height / box.height);
  const scale = Math.max(Math.min(width / box.width, (height - room) / box.height), LEAST * fills);
  viewport.minZoomImageRatio = Math.min(viewport.minZoomImageRatio, 0.999 * scale / fills); // or it comes nearer at the next touch
  const left = height - room - scale * box.height; // less than nothing where it does not fit: then it reaches below the message, not out of the window
  const top = Math.max(0, room + (left < 0 ? left : left / 2));
  viewport.fitBounds(new OpenSeadragon.Rect(box.x + box.width / 2 - width / scale / 2, box.y - top / scale, width / scale, height / scale), true);
}

/** Tell whether an element of the side bar is what it shows, now and whenever that changes; returns how to stop that. @param {Element} element @param {(isInFront: boolean) => void} tell */
export function watchFront(element, tell) {
  const look = () => tell(!element.closest(".tab-pane:not(.active), .accordion-collapse:not(.show)"));
  const observer = new MutationObserver(look);
  for (let each = element.closest(".tab-pane, .accordion-collapse"); each; each = each.parentElement?.closest(".tab-pane, .accordion-collapse") ?? null) {
    observer.observe(each, { attributeFilter: ["class"] });
  }
  look();
  return () => observer.disconnect();
}

/** What lies over the slide is put here. @returns {HTMLElement} */
export const stage = () => tmapp.ISS_viewer.canvas.parentElement;

/** Take something away that lies over the slide; the slide has the focus that it had. @param {Element | null} box */
export function takeAway(box) {
  const hadFocus = box?.contains(document.activeElement);
  box?.remove();
  if (hadFocus) tmapp.ISS_viewer.canvas.focus({ preventScroll: true });
}

/** What the project wants to show of h5ads, whether it is there or not. @returns {string[][]} of each the paths below the served folder that it may have */
export const wantedFiles = () => (projectUtils._activeState.markerFiles ?? []).map((/** @type {any} */ file) => [file.path].flat()[0])
  .filter((/** @type {any} */ path) => /\.h5ad$/i.test(path ?? ""))
  .map((/** @type {string} */ path) => [pathOf, String].map((decode) =>
    `${decode(dataUtils.getPath() ?? "")}/${pathOf(path)}`.replace(/^\/+/, ""))); // TissUUmaps' folder is an address or not
