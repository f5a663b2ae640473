/** TissUUmaps' own legend of the labels. */

import { html } from "../dom.js";
import { legendKeys } from "../legend.js";

/** @typedef {{ hidden: string[], color: { name: string, color: string } | null }} Look names of classes that are not shown; the class
 * whose colour was changed, where it was that */

/** The names of classes as TissUUmaps has them. @type {Map<string, string>} */
let keys = new Map();

/** @param {string[]} names */
export function setNames(names) { keys = legendKeys(names); }

/** @param {string} name */
export const keyOf = (name) => keys.get(name) ?? name;

/** @template T @param {Record<string, T>} byName @returns {Record<string, T>} */
export const rekey = (byName) => Object.fromEntries(Object.entries(byName).map(([name, value]) => [keyOf(name), value]));

/** An input of a class: the box that shows it, or its colour. @param {string} layer @param {string} name @param {"check" | "color"} kind */
const inputOf = (layer, name, kind) =>
  /** @type {HTMLInputElement | null} */ (document.getElementById(`${layer}_${keyOf(name).replace(/ /g, "_")}_${kind}`));

/** @param {string} layer @param {string} name @param {boolean} visible */
export function setVisible(layer, name, visible) {
  const box = inputOf(layer, name, "check");
  if (!box || box.checked === visible) return;
  box.checked = visible;
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Whether all that a layer has is shown, by the boxes of its legend. @param {string} layer */
export const isWhole = (layer) =>
  [.../** @type {HTMLCollectionOf<HTMLInputElement>} */ (document.getElementsByClassName(`${layer}-marker-input`))].every((box) => box.checked);

/** Hear of the boxes of layers' legends; returns how to stop that. @param {() => { uid: string }[]} layers @param {() => void} listener */
export function watchBoxes(layers, listener) {
  /** @param {Event} event */
  const onInput = ({ target }) => {
    if (target instanceof Element && layers().some(({ uid }) => target.closest(`[id="${uid}_menu-UI"]`))) setTimeout(listener);
  };
  document.addEventListener("input", onInput, true);
  return () => document.removeEventListener("input", onInput, true);
}

/** Tell of what a person changes; returns how to stop that. @param {string} layer @param {(look: Look) => void} tell */
export function watch(layer, tell) {
  /** @param {Event} event */
  const listener = ({ target }) => {
    if (!(target instanceof Element) || !target.closest(`#${layer}_menu-UI`)) return;
    setTimeout(() => { // once TissUUmaps has done what a box of all classes does
      const names = [...keys.keys()];
      const name = names.find((each) => inputOf(layer, each, "color") === target);
      tell({ hidden: names.filter((each) => inputOf(layer, each, "check")?.checked === false),
        color: name === undefined ? null : { name, color: /** @type {HTMLInputElement} */ (target).value } });
    });
  };
  // When a colour is chosen, not at each that is tried.
  document.addEventListener("change", listener, true);
  return () => document.removeEventListener("change", listener, true);
}

/** Put the letter of each class that has one before its name. @param {string} layer @param {Record<string, string>} signs by the legend's keys */
export function mark(layer, signs) {
  for (const row of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(`#${layer}_menu-UI tbody tr`))) {
    const sign = signs[row.dataset.key ?? ""];
    if (!sign || row.querySelector("[data-sign]")) continue;
    row.children[1]?.prepend(html("b", { "data-sign": sign, title: "As in the panel and in reports: tells classes of alike colours apart",
      style: "display: inline-block; min-width: 1.4em; margin-right: .4em; padding: 0 .2em; text-align: center; border: 1px solid; border-radius: 3px" }, sign));
  }
}
