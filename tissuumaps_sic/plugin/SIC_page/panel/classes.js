/** The classes, what each has, and what is done to them. */

import { button, count, html, menu, share, sum } from "../dom.js";
import { run } from "../runs.js";
import { addClass, editClass, redo, removeClass, undo } from "../seeding.js";
import { app, isSeeded, isSlow, show, tables } from "../state.js";
import { suggest } from "../suggestions.js";
import { showAlone, showClass } from "../views.js";

/** @import { Section } from "./section.js" */
/** @import { Session } from "../server.js" */

let draft = ""; // a name that was typed and not taken

/** @type {Section} */
export const classes = {
  shows: (state) => [state.classes, state.listed, state.seeds, state.borrowed, state.run, app.active, app.labels, app.hidden,
    app.naming, isSlow()],
  draw: (state) => [html("div", { class: "sic-classes-box" }, html("table", { class: "sic-classes" },
    html("thead", {}, html("tr", {},
      ...["Class", "Seeds", "Labelled"].map((each, i) => html("th", { scope: "col", class: i ? "sic-number" : "",
        ...(i === 1 ? { title: "Patches that you have shown as examples of the class" } : {}) }, each)),
      ...["Shown", "More"].map((each) => html("th", { scope: "col" }, html("span", { class: "visually-hidden" }, each))))),
    html("tbody", {}, ...state.listed.map((label) => classRow(state, label)))))],
};

/** @param {Session} state @param {number} label */
function classRow(state, label) {
  const { name } = state.classes[label];
  const seeds = state.seeds.labels.filter((each) => each === label).length;
  const borrowed = sum(state.borrowed.map((loan) => loan.counts[label]));
  const labelled = countOf(state, name);
  return html("tr", { class: label === app.active ? "sic-active" : "", "data-label": label,
    onclick: (event) => { if (event.altKey) alone(event, name); } },
  html("td", { class: "sic-class" }, classChoice(state, label)),
  html("td", { class: "sic-number sic-seeds", ...(borrowed ? { title: `${seeds} here, ${borrowed} borrowed` } : {}) },
    borrowed ? `${count(seeds)} + ${count(borrowed)}` : count(seeds)),
  html("td", { class: "sic-number sic-count", ...(labelled === undefined ? {} : { title: `${share(labelled, state.n_patches)} of all patches` }) },
    labelled === undefined ? "–" : count(labelled), labelled === undefined ? null : html("small", {}, ` (${share(labelled, state.n_patches)})`)),
  html("td", {}, labelled === undefined ? "" : html("input", {
    type: "checkbox", class: "form-check-input", id: `sic-shown-${label}`, checked: !app.hidden.includes(name),
    title: "Show this class's labels (Alt-click: these alone)", "aria-label": `Show labels of ${name}`,
    onchange: (event) => showClass(name, event.target.checked),
  })),
  html("td", {}, state.classes.length > 2 ? removal(state, label) : ""));
}

/** @param {MouseEvent} event @param {string} name */
function alone(event, name) {
  event.preventDefault();
  showAlone(name);
}

/** What a class is chosen, coloured and named by. @param {Session} state @param {number} label */
function classChoice(state, label) {
  const { name, color } = state.classes[label], place = state.listed.indexOf(label) + 1;
  return html("div", { class: "sic-class-box" },
    html("input", {
      type: "radio", name: "sic-class", class: "form-check-input", checked: label === app.active,
      id: `sic-class-${label}`, title: `Seed “${name}”` + (place < 10 ? ` (key ${place})` : ""),
      onchange: () => show({ active: label, isPicked: true }),
    }),
    html("input", {
      type: "color", value: color, id: `sic-color-${label}`, title: `Colour of ${name}`, "aria-label": `Colour of ${name}`,
      onchange: (event) => editClass(label, { color: event.target.value }),
    }),
    app.naming === label ? nameField(label, draft || name)
      : html("label", { for: `sic-class-${label}`, class: "sic-class-name", title: `${name} (double click or F2 to rename)`,
        // The second of two clicks, whose first may have drawn the row anew.
        onclick: (event) => { if (event.detail > 1) rename(label); } }, name));
}

/** @param {number} label */
function rename(label) {
  draft = "";
  show({ naming: label });
}

/** @param {number} label @param {string} value */
function nameField(label, value) {
  let isOver = false;
  const end = async (/** @type {boolean} */ isWanted) => {
    if (isOver) return;
    isOver = true;
    const typed = field.value.trim(), isSame = typed === app.state?.classes[label].name;
    show({ naming: null });
    document.getElementById(`sic-class-${label}`)?.focus();
    draft = "";
    if (!isWanted || isSame || !typed || await editClass(label, { name: typed })) return;
    draft = typed; // refused: to be mended, not to be typed again
    show({ naming: label });
  };
  /** @type {HTMLInputElement} */
  const field = html("input", {
    type: "text", value, class: "form-control form-control-sm", id: "sic-class-field", title: "Name of this class; Enter keeps it, Esc does not",
    "aria-label": "Name of the class", maxlength: 60, onblur: () => end(true),
    onkeydown: (event) => {
      if (event.key === "Enter") end(true);
      else if (event.key === "Escape") end(false);
    },
  });
  queueMicrotask(() => {
    field.focus();
    field.select();
  });
  return field;
}

/** What a class has got in the last run, under the name that it has now. @param {Session} state @param {string} name */
function countOf({ run: last }, name) {
  const counts = last?.counts.filter((_, place) => last.classes[place].name === name) ?? [];
  return counts.length ? sum(counts) : undefined;
}

/** @param {Session} state @param {number} label */
function removal(state, label) {
  const { name } = state.classes[label];
  const others = state.listed.filter((each) => each !== label);
  return menu("⋯", (value) => removeClass(label, value === "remove" ? null : Number(value)), { class: "sic-removal",
    id: `sic-removal-${label}`, title: `Remove or merge “${name}”`, "aria-label": `Remove or merge ${name}`, disabled: isSlow() },
  [{ value: "remove", text: "Remove with its seeds" },
    ...others.map((value) => ({ value, text: `Merge into ${state.classes[value].name}` }))]);
}

/** What is done most, always in sight. @type {Section} */
export const changes = {
  shows: (state) => [state.can_undo, state.can_redo, state.classes.length,
    isSeeded(), app.tables, isSlow()],
  draw: (state) => [html("div", { class: "sic-buttons" },
    button("▶ Run", "Label every patch of the slide from your examples (Space)", run,
      { id: "sic-run", class: "btn btn-sm btn-primary", disabled: isSlow() }),
    button("↶ Undo", "Take the last change back (Z)", undo, { id: "sic-undo", disabled: isSlow() || !state.can_undo }),
    button("↷ Redo", "Do it again (Shift-Z)", redo, { id: "sic-redo", disabled: isSlow() || !state.can_redo }),
    button("Suggest", isSeeded() ? "Ask about the patches whose seeds would tell most, one by one (N)" : "Each class needs a seed first", suggest,
      { id: "sic-suggest", disabled: isSlow() || !isSeeded() }),
    state.classes.length < tables().most_classes
      ? button("+ Class", "Add a class", addNamed, { id: "sic-add-class", disabled: isSlow() })
      : button("+ Class", "There can be no more classes; merge some", addNamed, { id: "sic-add-class", disabled: true }))],
};

/** What was just added is called what one types next. */
async function addNamed() {
  if (await addClass()) rename(app.active);
}
