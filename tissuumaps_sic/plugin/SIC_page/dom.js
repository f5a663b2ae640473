/** Elements in a line each. */

const NS = "http://www.w3.org/2000/svg";

export const count = (n) => n.toLocaleString("en");
export const share = (part, whole) => `${((100 * part) / whole).toFixed(part && part / whole < 0.1 ? 1 : 0)} %`;

export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}) {
  return fill(document.createElementNS(NS, tag), attributes, []);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function button(text, title, onclick, more = {}) {
  return html("button", { type: "button", class: "btn btn-sm btn-outline-secondary", title, onclick, ...more }, text);
}
