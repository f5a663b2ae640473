/** The classes, what each has, and what is done to them. */

import { button, count, html, menu, share, sum } from "../dom.js";
import { addClass, addOffered, clear, editClass, offerClasses, removeClass } from "../seeding.js";
import { signOf } from "../signs.js";
import { app, isSlow, isUsed, show, tables, update } from "../state.js";
import { redo, undo } from "../undoing.js";
import * as viewer from "../viewer.js";

/** @import { Section } from "./section.js" */
/** @import { Session } from "../server.js" */

/** @type {Section} */
export const classes = {
  // The boxes tell what TissUUmaps shows, which is made anew with the view.
  shows: (state) => [state.classes, state.listed, state.seeds, state.borrowed, state.run, app.active, app.labels, app.view,
    app.naming?.label, app.naming?.error, isSlow()],
  draw: (state) => [html("table", { class: "sic-classes" },
    html("thead", {}, html("tr", {},
      ...["", "", "Class", "Seeds", "Labelled", "", ""].map((each, i) =>
        html("th", { class: i === 3 || i === 4 ? "sic-number" : "" }, each)))),
    html("tbody", {}, ...state.listed.map((label) => classRow(state, label)), ...goneRows(state))),
  app.naming?.label === null ? newName() : null],
};

/** @param {Session} state @param {number} label */
function classRow(state, label) {
  const { name } = state.classes[label];
  const seeds = state.seeds.labels.filter((each) => each === label).length;
  const borrowed = sum(state.borrowed.map((loan) => loan.counts[label]));
  const place = state.listed.indexOf(label) + 1;
  return html("tr", { class: label === app.active ? "sic-active" : "", "data-label": label },
    html("td", {}, html("input", {
      type: "radio", name: "sic-class", class: "form-check-input", checked: label === app.active,
      id: `sic-class-${label}`, title: `Seed “${name}”` + (place < 10 ? ` (key ${place})` : ""), "aria-label": `Seed ${name}`,
      onchange: () => show({ active: label }),
    })),
    html("td", {}, swatch(state, label)),
    html("td", { class: "sic-class-cell" }, app.naming?.label === label ? nameField(label) : nameText(state, label)),
    html("td", { class: "sic-number sic-seeds", ...(borrowed ? { title: `${seeds} here, ${borrowed} borrowed` } : {}) },
      borrowed ? `${count(seeds)} + ${count(borrowed)}` : count(seeds)),
    html("td", { class: "sic-number sic-count" }, labelledText(state, label)),
    html("td", {}, countOf(state, name) ? visibility(name) : ""),
    html("td", {}, state.classes.length > 2 ? removal(state, label) : ""));
}

/** The colour of a class, and its letter where colours alone do not tell it. @param {Session} state @param {number} label */
function swatch(state, label) {
  const { name, color } = state.classes[label], sign = signOf(state.listed.indexOf(label));
  return html("span", { class: "sic-swatch" },
    html("input", { type: "color", value: color, title: "Colour of this class", "aria-label": `Colour of ${name}`,
      onchange: (event) => editClass(label, { color: event.target.value }) }),
    sign ? html("span", { class: "sic-sign", "aria-hidden": "true" }, sign) : null);
}

/** The name, whole; it becomes a field on a double click, Enter or F2. @param {Session} state @param {number} label */
function nameText(state, label) {
  const { name } = state.classes[label], rename = () => startNaming(label, name);
  return html("label", { class: "sic-class-name", for: `sic-class-${label}`, title: `${name} (double click renames it)`,
    tabindex: 0, "data-name": name, ondblclick: rename,
    onkeydown: (event) => {
      if (event.key !== "Enter" && event.key !== "F2") return;
      event.preventDefault();
      rename();
    } }, name);
}

/** @param {number | null} label @param {string} text */
function startNaming(label, text) {
  show({ naming: { label, text, error: "" } });
  /** @type {HTMLInputElement | null} */ (document.querySelector("#sic-class-naming"))?.select();
}

/** The field for a name; what was typed stays in it until it is taken or given up. @param {number | null} label */
function nameField(label) {
  const { text, error } = app.naming ?? { text: "", error: "" };
  const end = (/** @type {boolean} */ takes) => {
    if (isTaking || !app.naming) return;
    if (takes) take(label); else giveUp();
  };
  return html("span", { class: "sic-naming" },
    html("input", { type: "text", id: "sic-class-naming", class: "form-control form-control-sm", value: text,
      "aria-label": label === null ? "Name of the new class" : "Name of the class", "aria-invalid": String(Boolean(error)),
      placeholder: "Name of the class", autocomplete: "off",
      oninput: (event) => { if (app.naming) update({ naming: { ...app.naming, text: event.target.value } }); },
      onkeydown: (event) => {
        if (event.key === "Enter") end(true);
        if (event.key === "Escape") end(false);
      },
      // Left for something else: an empty name, or the old one, is none; all else is taken.
      onblur: () => end(Boolean(app.naming?.text.trim())) }),
    error ? html("span", { class: "sic-naming-error", role: "alert" }, error) : null);
}

let isTaking = false; // a field that is drawn anew or goes is left, too, and must not take the name once more

function giveUp() {
  isTaking = true;
  show({ naming: null });
  isTaking = false;
}

/** Take the name that was typed; where it is refused it stays, with the reason. @param {number | null} label */
async function take(label) {
  const { naming, state } = app;
  if (!naming || !state || isTaking) return;
  const name = naming.text.trim();
  if (label !== null && name === state.classes[label].name) {
    giveUp();
    return;
  }
  isTaking = true;
  const done = await (label === null ? addClass(name) : editClass(label, { name }));
  show({ naming: done ? null : { label, text: naming.text, error: app.error || "Not saved" } });
  isTaking = false;
  if (!done) document.getElementById("sic-class-naming")?.focus();
}

const newName = () => html("div", { class: "sic-new-class" }, nameField(null),
  button("Add", "Add the class (Enter)", () => take(null), { onpointerdown: (event) => event.preventDefault() }),
  button("Cancel", "Add none (Esc)", giveUp, { onpointerdown: (event) => event.preventDefault() }));

/** @param {Session} state @param {number} label */
function labelledText(state, label) {
  const labelled = countOf(state, state.classes[label].name);
  if (state.run && !labelled && !isUsed(label)) return html("span", { class: "sic-unused" }, "not used on this slide");
  return labelled === undefined ? "–" : `${count(labelled)} (${share(labelled, state.n_patches)})`;
}

/** @param {string} name */
const visibility = (name) => html("input", {
  type: "checkbox", class: "form-check-input", checked: viewer.isClassVisible(name), title: "Show this class's labels",
  "aria-label": `Show labels of ${name}`,
  onchange: (event) => viewer.setClassVisible(name, event.target.checked),
});

/** Classes of the last run that are no longer there: their labels stay until the next one. @param {Session} state */
function goneRows(state) {
  const known = new Set(state.classes.map((each) => each.name));
  const gone = new Map(state.run?.classes.filter(({ name }) => !known.has(name) && countOf(state, name)).map((each) => [each.name, each]));
  return [...gone.values()].map(({ name, color }) => html("tr", { class: "sic-gone", "data-gone": name },
    html("td", {}), html("td", {}, html("span", { class: "sic-chip", style: `background: ${color}` })),
    html("td", { class: "sic-class-cell" }, html("span", { class: "sic-class-name", title: `${name}: removed; the next run labels its patches anew` }, name)),
    html("td", { class: "sic-number" }, "removed"),
    html("td", { class: "sic-number sic-count" }, `${count(countOf(state, name) ?? 0)}, until the next run`),
    html("td", {}, visibility(name)), html("td", {})));
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
      ? button("+ Class", "Add a class", () => startNaming(null, ""), { id: "sic-add-class", disabled: isSlow() })
      : button("+ Class", "There can be no more classes; merge some", () => {}, { id: "sic-add-class", disabled: true }),
    button("↶ Undo", "Take the last change back (Z)", undo, { id: "sic-undo", disabled: isSlow() || !state.can_undo }),
    button("↷ Redo", "Do it again (Shift-Z)", redo, { id: "sic-redo", disabled: isSlow() || !state.can_redo }),
    button("Clear", "Remove all seeds; can be undone", clear,
      { id: "sic-clear", disabled: isSlow() || !state.seeds.patches.length }))],
};

/** The class list of the folder. @type {Section} */
export const scheme = {
  shows: (state) => [state.scheme, state.classes, isSlow()],
  draw({ scheme: list, classes: present }) {
    const names = list?.names ?? [];
    const isSame = names.length === present.length && !list?.missing.length;
    return [html("div", { class: "sic-scheme", id: "sic-scheme" },
      list?.problem ? html("span", { class: "sic-stale" }, list.problem) : null,
      list?.missing.length ? button(`Add ${list.missing.length} of the folder's classes`,
        `Of the folder's class list are missing here: ${list.missing.join(", ")}`, addOffered,
        { id: "sic-add-offered", disabled: isSlow() }) : null,
      isSame ? html("span", { class: "text-muted", title: "classes.json of the folder" }, "These are the folder's classes.")
        : button("Offer these classes to new slides",
          "Slides and sessions of this folder that are begun from now on have these classes (classes.json)", offerClasses,
          { id: "sic-offer", disabled: isSlow() }))];
  },
};
