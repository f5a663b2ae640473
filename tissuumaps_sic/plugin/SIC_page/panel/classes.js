/** The classes, what each has, and what is done to them. */

import { button, count, html, menu, share, sum } from "../dom.js";
import { addClass, clear, editClass, redo, removeClass, undo } from "../seeding.js";
import { app, isSlow, show, tables } from "../state.js";
import * as viewer from "../viewer.js";

/** @import { Section } from "./section.js" */
/** @import { Session } from "../server.js" */

/** @type {Section} */
export const classes = {
  // The boxes tell what TissUUmaps shows, which is made anew with the view.
  shows: (state) => [state.classes, state.listed, state.seeds, state.borrowed, state.run, app.active, app.labels, app.view, isSlow()],
  draw: (state) => [html("table", { class: "sic-classes" },
    html("thead", {}, html("tr", {},
      ...["", "", "Class", "Seeds", "Labelled", "", ""].map((each, i) =>
        html("th", { class: i === 3 || i === 4 ? "sic-number" : "" }, each)))),
    html("tbody", {}, ...state.listed.map((label) => classRow(state, label))))],
};

/** @param {Session} state @param {number} label */
function classRow(state, label) {
  const { name, color } = state.classes[label];
  const seeds = state.seeds.labels.filter((each) => each === label).length;
  const borrowed = sum(state.borrowed.map((loan) => loan.counts[label]));
  const labelled = countOf(state, name);
  const place = state.listed.indexOf(label) + 1;
  return html("tr", { class: label === app.active ? "sic-active" : "", "data-label": label },
    html("td", {}, html("input", {
      type: "radio", name: "sic-class", class: "form-check-input", checked: label === app.active,
      id: `sic-class-${label}`, title: `Seed “${name}”` + (place < 10 ? ` (key ${place})` : ""),
      onchange: () => show({ active: label }),
    })),
    html("td", {}, html("input", {
      type: "color", value: color, title: "Colour of this class", "aria-label": `Colour of ${name}`,
      onchange: (event) => editClass(label, { color: event.target.value }),
    })),
    html("td", {}, html("input", {
      type: "text", value: name, class: "form-control form-control-sm", title: "Name of this class",
      "aria-label": "Name of the class", maxlength: 60,
      onchange: (event) => editClass(label, { name: event.target.value }),
      onkeydown: (event) => { if (event.key === "Enter") event.target.blur(); },
    })),
    html("td", { class: "sic-number sic-seeds", ...(borrowed ? { title: `${seeds} here, ${borrowed} borrowed` } : {}) },
      borrowed ? `${count(seeds)} + ${count(borrowed)}` : count(seeds)),
    html("td", { class: "sic-number sic-count" },
      labelled === undefined ? "–" : `${count(labelled)} (${share(labelled, state.n_patches)})`),
    html("td", {}, labelled === undefined ? "" : html("input", {
      type: "checkbox", class: "form-check-input", checked: viewer.isClassVisible(name), title: "Show this class's labels",
      "aria-label": `Show labels of ${name}`,
      onchange: (event) => viewer.setClassVisible(name, event.target.checked),
    })),
    html("td", {}, state.classes.length > 2 ? removal(state, label) : ""));
}

/** What a class has got in the last run, under the name that it has now. @param {Session} state @param {string} name */
function countOf({ run }, name) {
  const counts = run?.counts.filter((_, place) => run.classes[place].name === name) ?? [];
  return counts.length ? sum(counts) : undefined;
}

/** @param {Session} state @param {number} label */
function removal(state, label) {
  const { name } = state.classes[label];
  const others = state.listed.filter((each) => each !== label);
  return menu("⋯", (value) => removeClass(label, value === "remove" ? null : Number(value)), { class: "sic-removal",
    title: `Remove or merge “${name}”`, "aria-label": `Remove or merge ${name}`, disabled: isSlow() },
  [{ value: "remove", text: "Remove with its seeds" },
    ...others.map((value) => ({ value, text: `Merge into ${state.classes[value].name}` }))]);
}

/** @type {Section} */
export const changes = {
  shows: (state) => [state.can_undo, state.can_redo, state.seeds.patches.length > 0, state.classes.length, app.tables, isSlow()],
  draw: (state) => [html("div", { class: "sic-buttons" },
    state.classes.length < tables().most_classes
      ? button("+ Class", "Add a class", addNamed, { id: "sic-add-class", disabled: isSlow() })
      : button("+ Class", "There can be no more classes; merge some", addNamed, { id: "sic-add-class", disabled: true }),
    button("↶ Undo", "Take the last change back (Z)", undo, { id: "sic-undo", disabled: isSlow() || !state.can_undo }),
    button("↷ Redo", "Do it again (Shift-Z)", redo, { id: "sic-redo", disabled: isSlow() || !state.can_redo }),
    button("Clear", "Remove all seeds; can be undone", clear,
      { id: "sic-clear", disabled: isSlow() || !state.seeds.patches.length }))],
};

/** What was just added is called what one types next. */
async function addNamed() {
  if (!await addClass()) return;
  const row = document.querySelector(`.sic-classes tr[data-label="${app.active}"]`);
  /** @type {HTMLInputElement | null | undefined} */ (row?.querySelector("input[type=text]"))?.select();
}
