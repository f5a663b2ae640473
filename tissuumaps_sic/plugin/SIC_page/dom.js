/** Elements in a line each. */

/**
 * @typedef {Record<string, string | number | boolean | ((event: any) => void)>} Attributes `on…` is what is done at an event
 * @typedef {Node | string | null} Child
 */

const NS = "http://www.w3.org/2000/svg";

/** @param {number} n */
export const count = (n) => n.toLocaleString("en");

/** A number with what it counts: 1 seed, 2 seeds. @param {number} n @param {string} one @param {string} [more] */
export const tellCount = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

/** @param {number} part @param {number} whole */
export const share = (part, whole) => `${((100 * part) / whole).toFixed(part && part / whole < 0.1 ? 1 : 0)} %`;

/** @param {number[]} numbers */
export const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} attributes
 */
export function svg(tag, attributes = {}) {
  return fill(document.createElementNS(NS, tag), attributes, []);
}

/**
 * @template {Element} E
 * @param {E} element
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** @param {string} text @param {string} title @param {() => void} onclick @param {Attributes} more */
export function button(text, title, onclick, more = {}) {
  return html("button", { type: "button", class: "btn btn-sm btn-outline-secondary", title, onclick, ...more }, text);
}

/** A button that shows whether it is on. @type {(isOn: boolean, ...how: Parameters<typeof button>) => HTMLButtonElement} */
export const toggle = (isOn, text, title, onclick, more = {}) => button(text, title, onclick,
  { "aria-pressed": String(isOn), class: `btn btn-sm ${isOn ? "btn-secondary" : "btn-outline-secondary"}`, ...more });

/**
 * A choice between a few; one of them may be disabled.
 * @param {Attributes} attributes
 * @param {{ value: string | number, text: string, title?: string, disabled?: boolean }[]} options
 * @param {string | number} [chosen]
 */
export const select = (attributes, options, chosen) => html("select", { class: "form-select form-select-sm", ...attributes },
  ...options.map(({ text, ...option }) => html("option", { ...option, selected: option.value === chosen }, text)));

/** A switch with its words. @param {string} text @param {string} className @param {Attributes} attributes */
export const switchBox = (text, className, attributes) => html("div", { class: `form-check form-switch ${className}` },
  html("input", { type: "checkbox", class: "form-check-input", ...attributes }),
  html("label", { class: "form-check-label", for: /** @type {string} */ (attributes.id) }, text));

/** The name of a class beside its colour. @param {string} color @param {Child[]} name */
export const classTag = (color, ...name) => html("span", { class: "sic-why-name", style: `border-color: ${color}` }, ...name);
