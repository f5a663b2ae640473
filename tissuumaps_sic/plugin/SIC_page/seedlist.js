/** The seeds as pictures by class: a wrong one among them is seen at a glance, and found on the slide. */

import { unseed } from "./actions.js";
import { count, html } from "./dom.js";
import { drawPointed } from "./overlay.js";
import { app, point } from "./state.js";
import * as viewer from "./viewer.js";

const SIDE = 40; // CSS pixels of a picture
const MOST = 60; // pictures of a class
const REST = 250; // ms that the pointer rests before the view goes to a seed that is not in it

let isOpen = false;
let pictures = new Map(); // canvas of each patch, drawn once
let drawnOf = null; // the layer that they are of
let rest = 0;

export function seedList() {
  const { patches, labels } = app.state.seeds;
  if (!patches.length) return null;
  if (drawnOf !== app.layer) {
    pictures = new Map();
    drawnOf = app.layer;
  }
  const list = html("details", { id: "sic-seeds", open: isOpen, ontoggle: (event) => {
    if (event.target.open === isOpen) return;
    isOpen = event.target.open;
    if (isOpen) list.append(...walls());
    else list.replaceChildren(list.firstChild);
  } }, html("summary", { title: "Every seed, with its picture" },
    `Seeds (${count(patches.length)})`), ...(isOpen ? walls() : []));
  return list;

  function walls() {
    return app.state.listed.map((label) => wall(label, patches.filter((_, i) => labels[i] === label)))
      .filter((each) => each !== null);
  }
}

function wall(label, rows) {
  if (!rows.length) return null;
  const { name, color } = app.state.classes[label];
  const more = rows.length - MOST;
  return html("div", { class: "sic-wall", "data-label": label },
    html("div", { class: "sic-wall-name" }, html("span", { class: "sic-why-name", style: `border-color: ${color}` }, name),
      html("span", { class: "text-muted" }, count(rows.length))),
    html("div", { class: "sic-wall-seeds" }, ...rows.slice(0, MOST).map((row) => seedTile(row, name, color)),
      more > 0 ? html("span", { class: "text-muted" }, `and ${count(more)} more`) : null));
}

function seedTile(row, name, color) {
  const tile = html("div", { class: "sic-seed", style: `border-color: ${color}`, "data-patch": row,
    onpointerenter: () => find(row), onpointerleave: lose },
  html("button", { type: "button", id: `sic-seed-${row}`, title: `Go to this seed of ${name} (Delete takes it back)`,
    "aria-label": `Seed of ${name}, patch ${row}`,
    onfocus: () => find(row), onblur: lose, onclick: () => lookAt(row),
    onkeydown: (event) => { if (event.key === "Delete" || event.key === "Backspace") remove(row, tile, event); } },
  picture(row, color)),
  html("button", { type: "button", class: "sic-seed-remove", title: "Take this seed back", tabindex: -1,
    "aria-label": `Take the seed of patch ${row} back`, disabled: Boolean(app.busy),
    onclick: (event) => remove(row, tile, event) }, "×"));
  return tile;
}

function picture(row, color) {
  if (!pictures.has(row)) {
    const canvas = html("canvas", { width: 2 * SIDE, height: 2 * SIDE });
    pictures.set(row, canvas);
    viewer.drawSlide(canvas, app.grid.x[row], app.grid.y[row], app.grid.spacing * 2)
      .then((drawn) => { if (!drawn) fillWith(canvas, color); })
      .catch(() => fillWith(canvas, color));
  }
  return pictures.get(row);
}

/** Without an image a seed has the colour that its patch has on the slide. */
function fillWith(canvas, color) {
  const context = canvas.getContext("2d");
  context.fillStyle = color;
  context.fillRect(0, 0, canvas.width, canvas.height);
}

const lookAt = (row) => viewer.lookAt(app.grid.x[row], app.grid.y[row]);

function find(row) {
  drawPointed(row);
  point(row);
  clearTimeout(rest);
  rest = setTimeout(() => lookAt(row), REST);
}

function lose() {
  clearTimeout(rest);
  drawPointed(null);
  point(null);
}

async function remove(row, tile, event) {
  event.preventDefault();
  const next = (tile.nextElementSibling ?? tile.previousElementSibling)?.dataset.patch;
  const byKey = event.type === "keydown";
  lose();
  await unseed([row]);
  if (byKey && next !== undefined) document.getElementById(`sic-seed-${next}`)?.focus();
}
