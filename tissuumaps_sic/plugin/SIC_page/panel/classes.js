/** The classes, what each has, and what is done to them. */

import { tissueByLabel } from "../coverage.js";
import { button, count, html, share, sum, tellCount } from "../dom.js";
import { menu } from "../menus.js";
import { run } from "../runs.js";
import { addOffered, editClass, offerClasses, removeClass } from "../seeding.js";
import { signOf } from "../signs.js";
import { app, isBlind, isSlow, isUntold, isUsed, show, tables } from "../state.js";
import { suggest } from "../suggestions.js";
import { redo, undo } from "../undoing.js";
import { showAlone, showClass } from "../views.js";
import { nameField, newName, startNaming } from "./naming.js";

/** @import { Section } from "./section.js" */
/** @import { Session } from "../server.js" */

/** What each column is. */
const HEADS = ["A kind of tissue that you want to find", "Patches that you have shown as examples of the class", "Patches that the last run gave the class, and their share"];

/** @type {Section} */
export const classes = {
  shows: (state) => [state.classes, state.listed, state.seeds, state.borrowed, state.run, app.active, app.labels, app.looked?.tissue, app.looked?.isTissueTold, app.hidden,
    app.naming?.label, app.naming?.error, isSlow()],
  draw: (state) => [html("div", { class: "sic-classes-box" }, html("table", { class: "sic-classes" },
    html("thead", {}, html("tr", {},
      ...["Class", "Seeds", "Labelled"].map((each, i) => html("th", { scope: "col", class: i ? "sic-number" : "",
        title: HEADS[i] }, each)),
      ...["Shown", "More"].map((each) => html("th", { scope: "col" }, html("span", { class: "visually-hidden" }, each))))),
    html("tbody", {}, ...state.listed.map((label) => classRow(state, label)), ...goneRows(state)))),
  app.naming?.label === null ? newName() : null],
};

/** @param {Session} state @param {number} label */
function classRow(state, label) {
  const { name } = state.classes[label];
  const seeds = state.seeds.labels.filter((each) => each === label).length;
  const borrowed = sum(state.borrowed.map((loan) => loan.counts[label]));
  return html("tr", { class: label === app.active ? "sic-active" : "", "data-label": label,
    onclick: (event) => { if (event.altKey) alone(event, name); } },
  html("td", { class: "sic-class" }, classChoice(state, label)),
  html("td", { class: "sic-number sic-seeds", ...(borrowed ? { title: `${seeds} here, ${borrowed} borrowed` } : {}) },
    borrowed ? `${count(seeds)} + ${count(borrowed)}` : count(seeds)),
  labelledCell(state, label),
  html("td", {}, countOf(state, name) ? visibility(name, `sic-shown-${label}`) : ""),
  html("td", {}, state.classes.length > 2 ? removal(state, label) : ""));
}

/** @param {MouseEvent} event @param {string} name */
function alone(event, name) {
  event.preventDefault();
  showAlone(name);
}

/** What a class is chosen, coloured and named by. @param {Session} state @param {number} label */
function classChoice(state, label) {
  const { name, color } = state.classes[label], place = state.listed.indexOf(label) + 1, sign = signOf(place - 1);
  return html("div", { class: "sic-class-box" },
    html("input", {
      type: "radio", name: "sic-class", class: "form-check-input", checked: label === app.active,
      id: `sic-class-${label}`, title: `Seed “${name}”` + (place < 10 ? ` (key ${place})` : ""),
      onchange: () => show({ active: label, isPicked: true }),
      onclick: () => show({ isPicked: true }), // also of the one that is chosen already
    }),
    html("span", { class: "sic-color" },
      html("input", {
        type: "color", value: color, id: `sic-color-${label}`, title: `Colour of ${name}`, "aria-label": `Colour of ${name}`,
        onchange: (event) => editClass(label, { color: event.target.value }),
      }),
      sign ? html("span", { class: "sic-sign", "aria-hidden": "true" }, sign) : null),
    app.naming?.label === label ? nameField(label)
      : html("label", { for: `sic-class-${label}`, class: "sic-class-name", title: `${name} (double click or F2 to rename)`,
        "data-name": name,
        // The second of two clicks, whose first may have drawn the row anew.
        onclick: (event) => { if (event.detail > 1) startNaming(label); } }, name));
}

/** What a class got in the last run. @param {Session} state @param {number} label */
function labelledCell(state, label) {
  const labelled = countOf(state, state.classes[label].name);
  if (state.run && !labelled && !isUsed(label)) {
    return html("td", { class: "sic-number sic-count", title: "Not used on this slide: it has no seeds, so that the run left it out" },
      html("span", { class: "sic-unused" }, "not used"));
  }
  if (labelled === undefined) return html("td", { class: "sic-number sic-count" }, "–");
  const told = shareOf(state, state.classes[label].name), part = told ?? share(labelled, state.n_patches);
  return html("td", { class: "sic-number sic-count", title: `${tellCount(labelled, "patch", "patches")}, ${part} of ${told === null ? "all patches" : "the tissue"}` },
    count(labelled), html("small", {}, ` (${part})`));
}

/** @type {WeakMap<Uint8Array, { of: Float32Array, sums: Float64Array }>} */
const amounts = new WeakMap(); // how much tissue each class of a run has

/** Share of the tissue, of which patches at its rim have less, that a class has got in the last run; null until that is known. @param {Session} state @param {string} name */
function shareOf({ run: last }, name) {
  const tissue = app.looked?.isTissueTold ? app.looked.tissue : null;
  if (!last || !tissue || app.labels?.length !== tissue.length) return null;
  const kept = amounts.get(app.labels);
  const sums = kept?.of === tissue ? kept.sums : tissueByLabel(app.labels, tissue, last.classes.length);
  amounts.set(app.labels, { of: tissue, sums });
  return share(sum([...sums].filter((_, label) => last.classes[label].name === name)), sum([...sums]) || 1);
}

/** @param {string} name @param {string} id */
const visibility = (name, id) => html("input", {
  type: "checkbox", class: "form-check-input", id, checked: !app.hidden.includes(name),
  title: "Show this class's labels (Alt-click: these alone)", "aria-label": `Show labels of ${name}`,
  onchange: (event) => showClass(name, event.target.checked),
});

/** Classes of the last run that are no longer there: their labels stay until the next one. @param {Session} state */
function goneRows(state) {
  const known = new Set(state.classes.map((each) => each.name));
  const gone = new Map(state.run?.classes.filter(({ name }) => !known.has(name) && countOf(state, name)).map((each) => [each.name, each]));
  return [...gone.values()].map(({ name, color }, place) => html("tr", { class: "sic-gone", "data-gone": name },
    html("td", { class: "sic-class" }, html("div", { class: "sic-class-box" }, html("span", { class: "sic-chip", style: `background: ${color}` }),
      html("span", { class: "sic-class-name", title: `${name}: removed; the next run labels its patches anew` }, name))),
    html("td", { class: "sic-number" }, "removed"),
    html("td", { class: "sic-number sic-count" }, `${count(countOf(state, name) ?? 0)}, until the next run`),
    html("td", {}, visibility(name, `sic-shown-gone-${place}`)), html("td", {})));
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
  shows: (state) => [state.can_undo, state.can_redo, state.classes.length, isUntold(), app.tables, isSlow(), isBlind()],
  draw: (state) => [html("div", { class: "sic-buttons" },
    button("▶ Run", "Label every patch of the slide from your examples (Space)", run,
      { id: "sic-run", class: "btn btn-sm btn-primary", disabled: isSlow() || isBlind() }),
    button("↶ Undo", "Take the last change back (Z)", undo, { id: "sic-undo", disabled: isSlow() || !state.can_undo }),
    button("↷ Redo", "Do it again (Shift-Z)", redo, { id: "sic-redo", disabled: isSlow() || !state.can_redo }),
    button("Suggest", isUntold() ? "Show typical patches of this slide, one by one, to name a few of each class (N)"
      : "Ask about the patches whose seeds would tell most, one by one (N)", suggest, { id: "sic-suggest", disabled: isSlow() || isBlind() }),
    state.classes.length < tables().most_classes
      ? button("+ Class", "Add a class", () => startNaming(null), { id: "sic-add-class", disabled: isSlow() })
      : button("+ Class", "There can be no more classes; merge some", () => {}, { id: "sic-add-class", disabled: true }))],
};

/** The class list of the folder. @type {Section} */
export const scheme = {
  shows: (state) => [state.scheme, state.classes, app.facts?.unwritable, isSlow()],
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
          { id: "sic-offer", disabled: isSlow() || Boolean(app.facts?.unwritable) }))];
  },
};
