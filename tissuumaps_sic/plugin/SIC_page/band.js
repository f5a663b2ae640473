/** A band that is drawn over pictures: what it touches is picked. */

import { boxOf, touch } from "./arranging.js";
import { html } from "./dom.js";

const LEAST = 6; // CSS pixels, of a drag that is no click

/**
 * Let a drag over an area draw a band.
 * @param {HTMLElement} area it scrolls
 * @param {() => HTMLElement[]} tiles
 * @param {(touched: HTMLElement[], isMore: boolean, isEnd: boolean) => void} tell what the band touches; more: beside what is picked
 */
export function drawBands(area, tiles, tell) {
  let wasDrag = false;
  area.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return; // a finger scrolls
    const start = placeIn(event), isMore = event.shiftKey || event.ctrlKey || event.metaKey;
    /** @type {HTMLElement | null} */
    let band = null;

    /** @param {PointerEvent} moved */
    function move(moved) {
      const box = boxOf(start, placeIn(moved));
      if (!band && Math.max(box.right - box.left, box.bottom - box.top) < LEAST) return;
      if (!band) area.append(band = html("div", { class: "sic-band", "aria-hidden": "true" }));
      const most = { x: area.scrollWidth, y: area.scrollHeight };
      const left = Math.max(0, box.left), top = Math.max(0, box.top);
      Object.assign(band.style, { left: `${left}px`, top: `${top}px`, width: `${Math.min(box.right, most.x) - left - 2}px`,
        height: `${Math.min(box.bottom, most.y) - top - 2}px` });
      tell(touchedBy(box), isMore, false);
    }

    /** @param {PointerEvent} up */
    function end(up) {
      document.removeEventListener("pointermove", move);
      document.removeEventListener("pointerup", end);
      document.removeEventListener("pointercancel", end);
      if (!band) return;
      band.remove();
      wasDrag = true;
      setTimeout(() => { wasDrag = false; }); // once the click that follows was heard
      tell(touchedBy(boxOf(start, placeIn(up))), isMore, true);
    }

    document.addEventListener("pointermove", move);
    document.addEventListener("pointerup", end);
    document.addEventListener("pointercancel", end);
  });
  area.addEventListener("click", (event) => { if (wasDrag) event.stopImmediatePropagation(); }, true);

  /** Where an event is in what the area scrolls. @param {PointerEvent} event */
  function placeIn(event) {
    const { left, top } = area.getBoundingClientRect();
    return { x: event.clientX - left + area.scrollLeft, y: event.clientY - top + area.scrollTop };
  }

  /** @param {import("./arranging.js").Box} band */
  function touchedBy(band) {
    return tiles().filter((tile) => touch(band, { left: tile.offsetLeft, top: tile.offsetTop,
      right: tile.offsetLeft + tile.offsetWidth, bottom: tile.offsetTop + tile.offsetHeight }));
  }
}
