/** The panel in TissUUmaps' side bar. */

import {
  addClass, applyView, choose, clear, editClass, newSession, openSession, redo, removeClass, run,
  seedFromRegions, setView, suggest, toggleLive, toggleMap, toggleRegions, undo, write,
} from "./actions.js";
import { previewBorder, setBorder } from "./border.js";
import { borrowedOf, borrowedRows, lenderChoice } from "./borrowed.js";
import { compareBox } from "./compare.js";
import { button, count, html, share } from "./dom.js";
import { exportMenu } from "./exports.js";
import { mute } from "./gestures.js";
import { keyList } from "./keys.js";
import { progressRow } from "./progress.js";
import { gradient } from "./ramp.js";
import { seedList } from "./seedlist.js";
import { app, canView, sessionTitle, unseeded, user } from "./state.js";
import { style } from "./style.js";
import * as viewer from "./viewer.js";
import { whyBox } from "./why.js";

const METHODS = { refine: "Refined", sic: "As published" };
const VIEWS = { slide: "Slide", colors: "UMAP", labels: "Labels", confidence: "Confidence", tissue: "Tissue" };
const TOOLS = {
  lasso: ["Lasso", "Shift-drag around patches"],
  rectangle: ["Rectangle", "Shift-drag from corner to corner"],
  brush: ["Brush", "Shift-drag over patches"],
};
const SCALES = {
  confidence: ["unsure", "sure", "Score of the class that a patch is labelled with"],
  tissue: ["0 %", "100 %", "Share of the patch that is tissue"],
  unlike: ["like a seed", "unlike any", "Whether a patch is like some seed, borrowed or not"],
};
const SETTLED = 0.02; // share of labels that hang on single seeds, below which more clicks change little

let panel = null;
// Apart from what is rendered anew: a style that comes and goes makes the browser look at the whole page again.
let sheet = null;

/** Put the panel into an element of the page. */
export function show(container) {
  panel = html("div", { class: "sic px-1 pb-2" });
  sheet = style();
  container.replaceChildren(sheet, panel);
}

export function hide() {
  panel?.remove();
  sheet?.remove();
  panel = sheet = null;
}

function classRow(label) {
  const seedClass = app.state.classes[label];
  const seeds = app.state.seeds.labels.filter((each) => each === label).length;
  const borrowed = borrowedOf(label);
  const labelled = countOf(seedClass.name);
  const place = app.state.listed.indexOf(label) + 1;
  const visible = viewer.isClassVisible(seedClass.name);
  return html("tr", { class: label === app.active ? "sic-active" : "", "data-label": label },
    html("td", {}, html("input", {
      type: "radio", name: "sic-class", class: "form-check-input", checked: label === app.active,
      id: `sic-class-${label}`, title: `Seed “${seedClass.name}”` + (place < 10 ? ` (key ${place})` : ""),
      onchange: () => { app.active = label; render(); },
    })),
    html("td", {}, html("input", {
      type: "color", value: seedClass.color, title: "Colour of this class",
      "aria-label": `Colour of ${seedClass.name}`,
      onchange: (event) => editClass(label, { color: event.target.value }),
    })),
    html("td", {}, html("input", {
      type: "text", value: seedClass.name, class: "form-control form-control-sm", title: "Name of this class",
      "aria-label": "Name of the class", maxlength: 60,
      onchange: (event) => editClass(label, { name: event.target.value }),
      onkeydown: (event) => { if (event.key === "Enter") event.target.blur(); },
    })),
    html("td", { class: "sic-number sic-seeds", ...(borrowed ? { title: `${seeds} here, ${borrowed} borrowed` } : {}) },
      borrowed ? `${count(seeds)} + ${count(borrowed)}` : count(seeds)),
    html("td", { class: "sic-number sic-count" },
      labelled === undefined ? "–" : `${count(labelled)} (${share(labelled, app.state.n_patches)})`),
    html("td", {}, labelled === undefined ? "" : html("input", {
      type: "checkbox", class: "form-check-input", checked: visible, title: "Show this class's labels",
      "aria-label": `Show labels of ${seedClass.name}`,
      onchange: (event) => { viewer.setClassVisible(seedClass.name, event.target.checked); },
    })),
    html("td", {}, app.state.classes.length > 2 ? removal(label) : ""));
}

/** What a class has got in the last run, under the name that it has now. */
function countOf(name) {
  const last = app.state.run;
  if (!last) return undefined;
  const counts = last.counts.filter((_, place) => last.classes[place].name === name);
  return counts.length ? counts.reduce((a, b) => a + b) : undefined;
}

function removal(label) {
  const { name } = app.state.classes[label];
  const others = app.state.listed.filter((each) => each !== label);
  return html("select", { class: "sic-removal", title: `Remove or merge “${name}”`,
    "aria-label": `Remove or merge ${name}`, disabled: Boolean(app.busy),
    onchange: (event) => {
      const into = event.target.value === "remove" ? null : Number(event.target.value);
      event.target.value = "";
      removeClass(label, into);
    } },
    html("option", { value: "", selected: true, hidden: true }, "⋯"),
    html("option", { value: "remove" }, "Remove with its seeds"),
    ...others.map((each) => html("option", { value: each }, `Merge into ${app.state.classes[each].name}`)));
}

export function render() {
  if (!panel) return;
  // A name that is being typed survives what happens meanwhile.
  if (panel.contains(document.activeElement) && document.activeElement.type === "text" && app.busy) return;
  const focused = panel.contains(document.activeElement) ? document.activeElement.id : "";
  const seeded = app.state?.seeds.patches.length;
  panel.replaceChildren(app.state ? body() : waiting(), messages(),
    ...(seeded || app.state?.borrowed.length ? [whyBox()] : []), ...(seeded ? [seedList()] : []),
    ...(app.state ? [keyList()] : []));
  if (focused) document.getElementById(focused)?.focus();
}

function waiting() {
  return html("p", { class: "text-muted mt-2" }, app.error ? "" : "Waiting for the patches of an h5ad to load …");
}

function body() {
  const { state } = app;
  const idle = !app.busy;
  const layers = viewer.patchLayers();
  return html("div", {},
    html("div", { class: "sic-head" },
      layers.length > 1
        ? html("select", { class: "form-select form-select-sm", title: "Which patches to label", id: "sic-layer",
            onchange: (event) => choose(layers[event.target.selectedIndex]) },
          ...layers.map((each) => html("option", { selected: each.uid === app.layer.uid }, each.h5ad)))
        : html("b", {}, state.slide),
      html("span", { class: "text-muted" }, `${count(state.n_patches)} patches`)),
    sessionRow(),
    compareBox(),
    html("table", { class: "sic-classes" },
      html("thead", {}, html("tr", {},
        ...["", "", "Class", "Seeds", "Labelled", "", ""].map((each, i) =>
          html("th", { class: i === 3 || i === 4 ? "sic-number" : "" }, each)))),
      html("tbody", {}, ...state.listed.map(classRow))),
    html("div", { class: "sic-buttons" },
      button("+ Class", "Add a class", () => addClass().then(selectName), { id: "sic-add-class", disabled: !idle }),
      button("↶ Undo", "Take the last change back (Z)", undo, { id: "sic-undo", disabled: !idle || !state.can_undo }),
      button("↷ Redo", "Do it again (Shift-Z)", redo, { id: "sic-redo", disabled: !idle || !state.can_redo }),
      button("Clear", "Remove all seeds; can be undone", clear,
        { id: "sic-clear", disabled: !idle || !state.seeds.patches.length })),
    lenderChoice(),
    borrowedRows(),
    html("div", { class: "form-check form-switch my-1" },
      html("input", { type: "checkbox", class: "form-check-input", id: "sic-seeding", checked: app.seeding,
        title: "Off: clicks only look",
        onchange: (event) => { app.seeding = event.target.checked; mute(); render(); } }),
      html("label", { class: "form-check-label", for: "sic-seeding" },
        "Click a patch to seed it, again to unseed")),
    html("div", { class: "sic-tools" },
      html("span", { class: "text-muted", title: "T chooses the next" }, "Shift-drag:"),
      html("div", { class: "btn-group btn-group-sm", role: "group", "aria-label": "What Shift-drag does" },
        ...Object.entries(TOOLS).map(([tool, [text, title]]) =>
          button(text, title, () => { app.tool = tool; render(); }, {
            id: `sic-tool-${tool}`, disabled: !app.seeding,
            class: `btn btn-sm ${tool === app.tool ? "btn-secondary" : "btn-outline-secondary"}`,
            "aria-pressed": String(tool === app.tool) }))),
      button("From regions", "Seed what lies in the regions drawn in TissUUmaps: with the class of that name, else the chosen one",
        seedFromRegions, { id: "sic-from-regions", disabled: !idle || !app.seeding })),
    html("div", { class: "sic-buttons" },
      button("▶ Run", "Label every patch from the seeds (Space)", run,
        { id: "sic-run", class: "btn btn-sm btn-primary", disabled: !idle }),
      html("select", { class: "form-select form-select-sm sic-method", id: "sic-method", disabled: !idle,
        title: "How seeds become labels. Refined: every correction counts, and a seeded patch keeps its class. "
          + "As published: seeds only start the clustering",
        "aria-label": "Method", onchange: (event) => { app.method = event.target.value; } },
        ...Object.entries(METHODS).map(([method, text]) =>
          html("option", { value: method, selected: method === app.method,
            // Its means are of one slide.
            disabled: method === "sic" && state.borrowed.length > 0 }, text))),
      html("div", { class: "form-check form-switch sic-live" },
        html("input", { type: "checkbox", class: "form-check-input", id: "sic-live", checked: app.live,
          title: "Run again after every seed (L)", onchange: toggleLive }),
        html("label", { class: "form-check-label", for: "sic-live" }, "Live")),
      button("Suggest", "Go to the patch whose seed would tell most (N)", suggest,
        { id: "sic-suggest", disabled: !idle || unseeded().length > 0 })),
    state.embeddings.length > 1
      ? html("div", { class: "sic-embedding" },
        html("label", { for: "sic-embedding" }, "Embedding"),
        html("select", { class: "form-select form-select-sm", id: "sic-embedding", disabled: !idle,
          title: "What the patches are compared by: another network, or another scale",
          onchange: (event) => { app.embedding = event.target.value; } },
          ...state.embeddings.map(({ name, title }) =>
            html("option", { value: name, selected: name === app.embedding }, title))))
      : null,
    html("div", { class: "sic-view" },
      html("div", { class: "btn-group btn-group-sm", role: "group", "aria-label": "What is drawn" },
        ...Object.entries(VIEWS).map(([view, text]) =>
          button(text, `Show ${text.toLowerCase()}`, () => setView(view), {
            id: `sic-view-${view}`, disabled: !canView(view) || !idle,
            class: `btn btn-sm ${view === app.view ? "btn-secondary" : "btn-outline-secondary"}`,
            "aria-pressed": String(view === app.view) }))),
      button("Map", "The feature space beside the slide, linked with it (M)", toggleMap,
        { id: "sic-map-toggle", disabled: !idle, "aria-pressed": String(app.mapOpen),
          class: `btn btn-sm ${app.mapOpen ? "btn-secondary" : "btn-outline-secondary"}` })),
    html("div", { class: "sic-border" },
      html("label", { for: "sic-opacity", class: "text-muted" }, "Opacity"),
      html("input", { type: "range", class: "form-range", id: "sic-opacity", min: 0.1, max: 1, step: 0.05,
        value: app.opacity, title: "Opacity", "aria-label": "Opacity", disabled: app.view === "slide",
        oninput: (event) => { app.opacity = Number(event.target.value); applyView(); } })),
    SCALES[app.view]
      ? html("div", { class: "sic-scale", id: "sic-scale", title: SCALES[app.view][2] },
        html("span", {}, SCALES[app.view][0]), html("span", { class: "sic-gradient", style: `background: ${gradient()}` }),
        html("span", {}, SCALES[app.view][1]))
      : null,
    state.run?.scored ? borderRow() : null,
    state.run
      ? html("div", { class: "sic-buttons" },
        button("Regions", "Show the labels as regions, with their areas (G)", toggleRegions,
          { id: "sic-regions", disabled: !idle, "aria-pressed": String(Boolean(app.regions)),
            class: `btn btn-sm ${app.regions ? "btn-secondary" : "btn-outline-secondary"}` }),
        exportMenu(),
        button("Write into h5ad", "Adds sic_label, sic_score and sic_seed to the file itself", write,
          { id: "sic-write", disabled: !idle || state.run.stale }))
      : null,
    app.regions ? areas() : null);
}

/** What was just added is called what one types next. */
function selectName() {
  if (!app.error) panel?.querySelector(`tr[data-label="${app.active}"] input[type=text]`)?.select();
}

/** How much of the tissue each region has. */
function areas() {
  const known = app.regions[0]?.area !== null;
  return html("table", { class: "sic-areas", id: "sic-areas" },
    html("thead", {}, html("tr", {}, html("th", {}, "Region"),
      html("th", { class: "sic-number" }, known ? "Area, mm²" : ""), html("th", { class: "sic-number" }, "Share"))),
    html("tbody", {}, ...app.regions.map(({ name, color, area, share: part }) => html("tr", {},
      html("td", {}, html("span", { class: "sic-why-name", style: `border-color: ${color}` }, name)),
      html("td", { class: "sic-number" }, known ? area.toFixed(area < 10 ? 3 : 1) : ""),
      html("td", { class: "sic-number" }, share(part, 1))))));
}

/** From which score on a patch is of the positive class. */
function borderRow() {
  const { name } = app.state.classes[1];
  const idle = !app.busy;
  return html("div", { class: "sic-border" },
    html("label", { for: "sic-border", class: "text-muted" }, "Border"),
    html("input", { type: "range", class: "form-range", id: "sic-border", min: 0, max: 1, step: 0.01,
      value: app.border ?? 0.5, disabled: !idle, "aria-label": `Score from which a patch is ${name}`,
      title: `Left: more patches are ${name}; right: only the surest are`,
      oninput: (event) => {
        const border = Number(event.target.value);
        document.getElementById("sic-border-value").textContent = border.toFixed(2);
        previewBorder(border);
      },
      onchange: (event) => setBorder(Number(event.target.value)) }),
    html("span", { id: "sic-border-value", class: "sic-number" }, app.border === null ? "auto" : app.border.toFixed(2)),
    button("Auto", "Where the score of the class is the highest", () => setBorder(null),
      { id: "sic-border-auto", disabled: !idle || app.border === null }));
}

function sessionRow() {
  const { state } = app;
  const names = [...new Set([...state.sessions, app.session, ""])].sort();
  return html("div", { class: "sic-session" },
    html("label", { for: "sic-session", class: "text-muted" }, "Session"),
    html("select", { class: "form-select form-select-sm", id: "sic-session", disabled: Boolean(app.busy),
      title: "Whose seeds: each session is a file of its own beside the slide's",
      onchange: (event) => openSession(event.target.value) },
      ...names.map((name) => html("option", { value: name, selected: name === app.session }, sessionTitle(name)))),
    button("New …", "Begin a session of its own, for a second reader or another question", newSession,
      { id: "sic-new-session", disabled: Boolean(app.busy) }),
    html("input", { type: "text", class: "form-control form-control-sm", id: "sic-user", value: user(),
      maxlength: 60, placeholder: "Your name", title: "Kept with every seed that you make",
      "aria-label": "Your name", onchange: (event) => localStorage.setItem("SIC.user", event.target.value.trim()) }));
}

/** The stop sign: what is known of how much more clicks would change. */
function stopSign() {
  if (app.flips === null) return null;
  const settled = app.flips < SETTLED;
  return html("div", { id: "sic-stop", class: settled ? "sic-settled" : "" },
    settled
      ? `Settled: ${share(app.flips, 1)} of the labels hang on single seeds; more clicks will change little.`
      : `${share(app.flips, 1)} of the labels hang on single seeds: more seeds will help.`);
}

function messages() {
  const stale = app.state?.run?.stale && !app.busy;
  return html("div", { class: "sic-messages" },
    app.error
      ? html("div", { class: "alert alert-danger py-1 px-2 mb-1", role: "alert", id: "sic-error" },
        app.error.charAt(0).toUpperCase() + app.error.slice(1))
      : null,
    app.slow && app.job ? progressRow() : null,
    html("div", { class: "text-muted", role: "status", id: "sic-status", hidden: Boolean(app.slow && app.job) },
      app.slow ? html("span", { class: "me-1", "aria-hidden": "true" }, "⏳") : null,
      app.busy ? `${app.busy} …` : app.status,
      app.busy ? null : stopSign(),
      stale
        ? html("div", { class: "sic-stale" },
          `The ${app.state.run.outdated ? "embeddings" : "seeds"} have changed since the last run.`)
        : null));
}
