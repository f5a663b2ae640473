/** Lists of what to do: nothing is done before one is chosen by Enter, Space or a click. */

import { button, html } from "./dom.js";

/** @import { Attributes, Child } from "./dom.js" */
/** @typedef {{ value: string | number, text: string, title?: string, mark?: Child, isChosen?: boolean }} Option mark: is shown before the text;
 * chosen: of a choice of one of several, whether it is that one */

/**
 * A list that is not shown yet.
 * @param {string} name
 * @param {Option[]} options
 * @param {(value: string) => void} choose
 * @param {() => void} leave called when the list is left without a choice
 */
export function menuList(name, options, choose, leave) {
  const items = options.map(({ value, text, title = text, mark = null, isChosen }) => html("button", { type: "button", tabindex: -1,
    ...isChosen === undefined ? { role: "menuitem" } : { role: "menuitemradio", "aria-checked": String(isChosen) },
    class: "sic-menu-item", "data-value": value, title, onclick: () => choose(String(value)) }, mark, text));
  const list = html("div", { role: "menu", class: "sic-menu", popover: "manual", "aria-label": name, onkeydown: onKey }, ...items);

  const isOpen = () => list.matches(":popover-open");

  /** Show it below a box of the window, or above. @param {{ left: number, top: number, bottom: number }} at */
  function open(at) {
    list.showPopover(); // over all that scrolls
    const { width, height } = list.getBoundingClientRect();
    list.style.left = `${Math.max(0, Math.min(at.left, window.innerWidth - width - 4))}px`;
    list.style.top = `${at.bottom + height < window.innerHeight ? at.bottom : Math.max(0, at.top - height)}px`;
    (items.find((each) => each.getAttribute("aria-checked") === "true") ?? items[0])?.focus();
  }

  function fold() {
    if (isOpen()) list.hidePopover();
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const place = items.findIndex((each) => each === document.activeElement), last = items.length - 1;
    /** @type {Record<string, number>} */
    const places = { ArrowDown: place === last ? 0 : place + 1, ArrowUp: place <= 0 ? last : place - 1, Home: 0, End: last };
    if (event.key in places) items[places[event.key]].focus();
    else if (event.key === "Escape") leave();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return { list, isOpen, open, fold };
}

/**
 * A button with a list of what to do.
 * @param {string} name
 * @param {(value: string) => void} act
 * @param {Attributes} attributes of the button
 * @param {Option[]} options
 */
export function menu(name, act, attributes, options) {
  const opener = button(name, "", () => (isOpen() ? close() : unfold()),
    { "aria-haspopup": "menu", "aria-expanded": "false", ...attributes });
  const { list, isOpen, open, fold } = menuList(String(attributes["aria-label"] ?? name), options, (value) => {
    close();
    act(value);
  }, close);

  function unfold() {
    open(opener.getBoundingClientRect());
    opener.setAttribute("aria-expanded", "true");
  }

  function leave() {
    fold();
    opener.setAttribute("aria-expanded", "false");
  }

  function close() {
    leave();
    opener.focus();
  }

  const box = html("span", { class: "sic-menu-box", onfocusout: (event) => {
    if (!box.contains(event.relatedTarget)) leave();
  } }, opener, list);
  opener.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" || isOpen()) return;
    event.preventDefault();
    unfold();
  });
  return box;
}

/**
 * A choice of one of several that does something: by Enter, Space or a click, where a `select` is changed by every arrow and letter.
 * @param {string} name what is chosen
 * @param {(value: string) => void} act
 * @param {Attributes} attributes of the button, which shows what is chosen
 * @param {Option[]} options
 * @param {string | number} chosen
 */
export function choice(name, act, attributes, options, chosen) {
  const shown = options.find(({ value }) => value === chosen)?.text ?? "none of these"; // a button without words would be nothing
  return menu(shown, (value) => { if (value !== String(chosen)) act(value); },
    { class: "form-select form-select-sm sic-choice", "aria-label": `${name}: ${shown}`, "data-value": chosen, ...attributes },
    options.map((option) => ({ ...option, isChosen: option.value === chosen })));
}
