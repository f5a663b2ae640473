/** The seeds as pictures by class: a wrong one among them is seen at a glance, and found on the slide. */

import { count, html, classTag } from "../dom.js";
import { drawPointed } from "../overlay.js";
import { unseed } from "../seeding.js";
import { app, doubtfulSeeds, isSlow, layer, show, update } from "../state.js";
import * as viewer from "../viewer.js";
import { doubtsBox } from "./doubts.js";
import { makePictures } from "./pictures.js";

/** @import { Session } from "../server.js" */

const SIDE = 40; // CSS pixels of a picture
const MOST = 60; // pictures of a class
const REST = 250; // ms that the pointer rests before the view goes to a seed that is not in it

const picture = makePictures(SIDE);
let rest = 0;

/** @type {import("./section.js").Section} */
export const seeds = {
  shows: (state) => [state.seeds, state.classes, state.listed, app.layer, app.doubts, app.seedsOpen, isSlow()],
  draw(state) {
    const { patches } = state.seeds;
    if (!patches.length) return [];
    const doubtful = doubtfulSeeds().length;
    const list = html("details", { id: "sic-seeds", open: app.seedsOpen, ontoggle: () => {
      if (list.open !== app.seedsOpen) show({ seedsOpen: list.open });
    } }, html("summary", { id: "sic-seeds-summary", title: doubtful ? "Every seed, with its picture; first those that all others contradict"
      : "Every seed, with its picture" }, `Seeds (${count(patches.length)})`,
    doubtful ? html("span", { class: "sic-doubts-count" }, `${doubtful} doubtful`) : null),
    ...(app.seedsOpen ? [...doubtsBox(), ...walls(state)] : []));
    return [list];
  },
};

/** @param {Session} state */
const walls = ({ classes, listed, seeds: { patches, labels } }) => listed
  .map((label) => ({ label, rows: patches.filter((_, i) => labels[i] === label) }))
  .filter(({ rows }) => rows.length).map(({ label, rows }) => wall(label, rows, classes[label]));

/** @param {number} label @param {number[]} rows @param {import("../server.js").SeedClass} of */
function wall(label, rows, { name, color }) {
  const more = rows.length - MOST;
  return html("div", { class: "sic-wall", "data-label": label },
    html("div", { class: "sic-wall-name" }, classTag(color, name), html("span", { class: "text-muted" }, count(rows.length))),
    html("div", { class: "sic-wall-seeds" }, ...rows.slice(0, MOST).map((row) => seedTile(row, name, color)),
      more > 0 ? html("span", { class: "text-muted" }, `and ${count(more)} more`) : null));
}

/** @param {number} row @param {string} name @param {string} color */
function seedTile(row, name, color) {
  /** @type {HTMLElement} */
  const tile = html("div", { class: "sic-seed", style: `border-color: ${color}`, "data-patch": row,
    onpointerenter: () => find(row), onpointerleave: lose },
  html("button", { type: "button", id: `sic-seed-${row}`, title: `Go to this seed of ${name} (Delete takes it back)`,
    "aria-label": `Seed of ${name}, patch ${row}`,
    onfocus: () => find(row), onblur: lose, onclick: () => lookAt(row),
    onkeydown: (event) => { if (event.key === "Delete" || event.key === "Backspace") remove(row, tile, event); } },
  picture(row, color)),
  html("button", { type: "button", class: "sic-seed-remove", title: "Take this seed back", tabindex: -1,
    "aria-label": `Take the seed of patch ${row} back`, disabled: isSlow(),
    onclick: (event) => remove(row, tile, event) }, "×"));
  return tile;
}

/** @param {number} row */
const lookAt = (row) => viewer.lookAt(layer().grid.x[row], layer().grid.y[row]);

/** @param {number} row */
function find(row) {
  drawPointed(row);
  update({ pointed: row });
  clearTimeout(rest);
  rest = setTimeout(() => lookAt(row), REST);
}

function lose() {
  clearTimeout(rest);
  drawPointed(null);
  update({ pointed: null });
}

/** @param {number} row @param {HTMLElement} tile @param {Event} event */
async function remove(row, tile, event) {
  event.preventDefault();
  const next = /** @type {HTMLElement | null} */ (tile.nextElementSibling ?? tile.previousElementSibling)?.dataset.patch;
  lose();
  await unseed([row]);
  if (event.type === "keydown" && next !== undefined) document.getElementById(`sic-seed-${next}`)?.focus();
}
