/** The list of the folder's slides above the panel: how far each is. */

import { atRoot } from "../address.js";
import { button, count, html, sum, tellCount } from "../dom.js";
import { app, subscribe } from "../state.js";
import { goTo, loadWorklist, places, step } from "../worklist.js";

/** @import { Slide } from "../server.js" */

/** @type {Record<string, [string, string]>} */
const STATES = {
  new: ["○", "not begun"], seeded: ["◐", "seeded"], labelled: ["●", "labelled"], changed: ["◍", "changed since the run"],
  problem: ["⚠", "cannot be read"],
};

/** @type {HTMLElement | null} */
let box = null;
/** @type {Map<string, HTMLElement>} */
let rows = new Map(); // of the list, by the slide's h5ad
/** @type {(() => void)[]} */
let stops = [];

/** Put the worklist into an element of the page, above what is there. @param {Element} container */
export function showWorklist(container) {
  box = html("div", { class: "sic-worklist px-1", hidden: true });
  container.prepend(box);
  stops = [
    subscribe(() => [app.worklist], draw),
    subscribe(() => (app.worklist && app.state && !app.busy
      ? [app.worklist, app.state.checked, app.state.notes, app.state.seeds, app.state.borrowed, app.state.run] : null), drawPresent),
  ];
}

export function hideWorklist() {
  for (const stop of stops) stop();
  box?.remove();
  box = null;
  rows = new Map();
}

/** A slide as the list shows it: this one as it is now. @param {Slide} slide */
function describe(slide) {
  const { state } = app, n_seeds = sum(Object.values(slide.seeds));
  if (slide.h5ad !== app.worklist?.here || !state) return { ...slide, n_seeds, state: slide.problem ? "problem" : slide.state };
  const n = state.seeds.labels.length, borrowed = sum(state.borrowed.flatMap((loan) => loan.counts));
  const isChecked = state.checked?.is_current, by = `${state.checked?.user || "somebody"}`;
  return { ...slide, problem: "", n_seeds: n, borrowed, checked: isChecked ? by : state.checked ? "" : null, notes: state.notes.length,
    state: state.run ? (state.run.stale ? "changed" : "labelled") : n + borrowed ? "seeded" : "new" };
}

/** @template {HTMLElement} E @param {string} selector @returns {E | null} */
const find = (selector) => box?.querySelector(selector) ?? null;

function draw() {
  if (!box) return;
  rows = new Map();
  const { place, last } = places();
  box.hidden = last < 1;
  const open = /** @type {HTMLDetailsElement | null} */ (find("details"))?.open ?? false;
  const filter = /** @type {HTMLInputElement | null} */ (find("input"))?.value ?? "";
  box.replaceChildren();
  if (last < 1) return;
  box.append(
    html("div", { class: "sic-worklist-row" },
      button("‹", "The slide before ([)", () => step(-1),
        { id: "sic-previous", disabled: place <= 0, "aria-label": "The slide before" }),
      html("span", { id: "sic-place", class: "sic-worklist-place" }, `${count(place + 1)} of ${count(last + 1)}`),
      button("›", "The next slide (])", () => step(1),
        { id: "sic-next", disabled: place >= last, "aria-label": "The next slide" }),
      html("span", { id: "sic-labelled", class: "text-muted" }),
      html("a", { id: "sic-start", href: atRoot("/"), title: "All slides of the folder with pictures, states and notes" }, "Overview")),
    html("details", { id: "sic-slides", open, ontoggle: onToggle },
      html("summary", { title: "All slides of the folder" }, "Slides"),
      html("input", { type: "search", id: "sic-slides-filter", class: "form-control form-control-sm",
        placeholder: "Name, or: not begun, seeded, labelled …", value: filter, "aria-label": "Show slides by name or state",
        title: "Shows slides by a part of their name, or by their state", oninput: (event) => sift(event.target.value) }),
      html("div", { class: "sic-worklist-list", role: "list" })));
  summarize();
  if (open) fill(filter);
}

/** Draw what the list says of this slide. */
function drawPresent() {
  summarize();
  const slide = app.worklist?.slides[places().place], old = slide && rows.get(slide.h5ad);
  if (!old) return;
  const row = item(describe(slide));
  row.hidden = old.hidden;
  old.replaceWith(row);
  rows.set(slide.h5ad, row);
}

/** How many slides have labels. */
function summarize() {
  const line = find("#sic-labelled");
  if (!line || !app.worklist) return;
  const { here, slides } = app.worklist;
  const states = slides.map((each) => (each.h5ad === here ? describe(each) : each).state);
  line.textContent = `${count(states.filter((each) => each === "labelled" || each === "changed").length)} labelled`;
}

/** Rows are made when they are first seen; what other people did meanwhile is asked for each time. @param {Event} event */
function onToggle(event) {
  const list = /** @type {HTMLDetailsElement} */ (event.target);
  if (!list.open || list.dataset.asked) return;
  fill(/** @type {HTMLInputElement} */ (find("#sic-slides-filter")).value);
  list.addEventListener("toggle", () => { if (list.open) loadWorklist(); });
}

/** @param {string} filter */
function fill(filter) {
  /** @type {HTMLElement} */ (find("details")).dataset.asked = "yes";
  rows = new Map(app.worklist?.slides.map((slide) => [slide.h5ad, item(describe(slide))]));
  find(".sic-worklist-list")?.replaceChildren(...rows.values());
  sift(filter);
  rows.get(app.worklist?.here ?? "")?.scrollIntoView({ block: "nearest" });
}

/** @param {string} text */
function sift(text) {
  const wanted = text.trim().toLowerCase();
  for (const row of rows.values()) row.hidden = !row.dataset.words?.includes(wanted);
}

/** @param {ReturnType<typeof describe>} slide */
function item(slide) {
  const { h5ad, name, folder, page, state, problem, n_patches, n_seeds, seeds } = slide;
  const [mark, words] = STATES[state];
  const isPresent = h5ad === app.worklist?.here;
  const classes = Object.entries(seeds).map(([each, n]) => `${count(n)} ${each}`).join(", ");
  const borrowed = slide.borrowed ? ` + ${count(slide.borrowed)}` : "";
  const title = problem ? `${name}: ${problem}`
    : `${h5ad}: ${words}${n_patches === null ? "" : `, ${tellCount(n_patches, "patch", "patches")}`}`
      + `${slide.checked ? `, reviewed by ${slide.checked}` : slide.checked === "" ? ", changed since it was reviewed" : ""}`
      + `${slide.notes ? `, ${tellCount(slide.notes, "note")}` : ""}`
      + `${classes && !isPresent ? `, seeds: ${classes}` : ""}${slide.borrowed ? `, ${tellCount(slide.borrowed, "seed")} borrowed` : ""}`;
  return html("a", {
    href: atRoot(page), role: "listitem", class: `sic-worklist-item sic-state-${state}`,
    title, "data-h5ad": h5ad, "data-words": `${h5ad} ${words}${slide.checked ? " reviewed" : " to review"}${slide.notes ? " notes" : ""}`.toLowerCase(),
    ...(isPresent ? { "aria-current": "page" } : {}),
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // into a tab of its own
      event.preventDefault();
      if (!isPresent) goTo(slide);
    },
  },
  html("span", { class: "sic-worklist-mark", "aria-hidden": "true" }, mark),
  html("span", { class: "sic-worklist-name" }, name, folder ? html("span", { class: "text-muted" }, ` ${folder}`) : null),
  html("span", { class: "sic-number" }, n_seeds || borrowed ? `${count(n_seeds)}${borrowed} ${n_seeds === 1 && !borrowed ? "seed" : "seeds"}` : ""),
  html("span", { class: "sic-worklist-state" }, words, slide.checked ? html("span", { class: "sic-worklist-checked" }, " ✓ reviewed") : null));
}
