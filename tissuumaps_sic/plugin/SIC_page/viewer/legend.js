/** TissUUmaps' own legend of the labels. */

import { html } from "../dom.js";

/** Put the letter of each class that has one before its name. @param {string} layer @param {Record<string, string>} signs by the legend's keys */
export function markLegend(layer, signs) {
  for (const row of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(`#${layer}_menu-UI tbody tr`))) {
    const sign = signs[row.dataset.key ?? ""];
    if (!sign || row.querySelector("[data-sign]")) continue;
    row.children[1]?.prepend(html("b", { "data-sign": sign, title: "As in the panel and in reports: tells classes of alike colours apart",
      style: "display: inline-block; min-width: 1.4em; margin-right: .4em; padding: 0 .2em; text-align: center; border: 1px solid; border-radius: 3px" }, sign));
  }
}
