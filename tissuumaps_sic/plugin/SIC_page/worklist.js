/** The slides of the folder: how far each is, and the way from one to the next. */

import { enqueue } from "./actions.js";
import { button, count, html } from "./dom.js";
import { postForState } from "./server.js";
import { app, changed, request } from "./state.js";

const STATES = {
  new: ["○", "not begun"], seeded: ["◐", "seeded"], labelled: ["●", "labelled"], changed: ["◍", "changed since"],
};
const PROBLEM = ["⚠", "cannot be read"];
const KEPT = "SIC.kept"; // what goes along to the next slide, in this tab
const CARRIED = ["session", "tool", "live", "opacity", "seeding", "method"];

let box = null;
let rows = new Map(); // of the list, by the slide's h5ad
let asked = ""; // the session that the list is of
let told = ""; // what the row of this slide tells, so that it is drawn again only when that changes

/** Put the worklist into an element of the page, above what is there. */
export function showWorklist(container) {
  box = html("div", { class: "sic-worklist px-1", hidden: true });
  container.prepend(box);
}

export function hideWorklist() {
  box?.remove();
  box = null;
  rows = new Map();
}

/** Take what the person chose on the slide before. */
export function recall() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
    for (const name of CARRIED) if (typeof kept[name] === typeof app[name]) app[name] = kept[name];
  } catch { /* not ours: begin as ever */ }
}

function remember() {
  sessionStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(CARRIED.map((name) => [name, app[name]]))));
}

/** Ask which slides there are; a folder whose list cannot be had is one that has none. */
export async function loadWorklist() {
  asked = app.session;
  try {
    app.worklist = await postForState("worklist", request());
  } catch (error) {
    app.worklist = null;
    console.warn(`No list of slides: ${error.message}`);
  }
  draw();
  changed();
}

const here = () => app.worklist.slides.findIndex((each) => each.h5ad === app.worklist.here);

/** Slides whose seeds this one can borrow. */
export const lenders = () => (app.worklist?.slides ?? []).filter((each) => each.lends);

/** Go to the slide so many places further in the list. */
export function step(by) {
  if (!app.worklist) return;
  const next = app.worklist.slides[here() + by];
  if (next) goTo(next);
}

function goTo(slide) {
  // After what is still being saved.
  return enqueue("Opening the slide", async () => {
    remember();
    window.location.assign(slide.page);
  });
}

/** Keep the row of this slide, and what goes along, as they are now. */
export function follow() {
  if (!app.state || !box) return;
  remember();
  if (!app.worklist) return;
  if (asked !== app.session && !app.busy) {
    loadWorklist();
    return;
  }
  const slide = app.worklist.slides[here()];
  const { state } = app;
  slide.n_seeds = state.seeds.labels.length;
  slide.borrowed = state.borrowed.reduce((sum, each) => sum + each.counts.reduce((a, b) => a + b), 0);
  slide.state = state.run ? (state.run.stale ? "changed" : "labelled")
    : slide.n_seeds + slide.borrowed ? "seeded" : "new";
  slide.problem = "";
  const now = `${slide.state} ${slide.n_seeds} ${slide.borrowed}`;
  if (now === told) return;
  told = now;
  summarize();
  const old = rows.get(slide.h5ad);
  if (!old) return;
  const row = item(slide);
  row.hidden = old.hidden;
  old.replaceWith(row);
  rows.set(slide.h5ad, row);
}

function draw() {
  if (!box) return;
  rows = new Map();
  told = "";
  const many = (app.worklist?.slides.length ?? 0) > 1;
  box.hidden = !many;
  if (!many) {
    box.replaceChildren();
    return;
  }
  for (const slide of app.worklist.slides) {
    slide.n_seeds = Object.values(slide.seeds).reduce((a, b) => a + b, 0);
  }
  const open = box.querySelector("details")?.open ?? false;
  const filter = box.querySelector("input")?.value ?? "";
  const place = here(), last = app.worklist.slides.length - 1;
  box.replaceChildren(
    html("div", { class: "sic-worklist-row" },
      button("‹", "The slide before ([)", () => step(-1),
        { id: "sic-previous", disabled: place <= 0, "aria-label": "The slide before" }),
      html("span", { id: "sic-place", class: "sic-worklist-place" }, `${count(place + 1)} of ${count(last + 1)}`),
      button("›", "The next slide (])", () => step(1),
        { id: "sic-next", disabled: place >= last, "aria-label": "The next slide" }),
      html("span", { id: "sic-labelled", class: "text-muted" })),
    html("details", { id: "sic-slides", open, ontoggle: onToggle },
      html("summary", { title: "All slides of the folder" }, "Slides"),
      html("input", { type: "search", id: "sic-slides-filter", class: "form-control form-control-sm",
        placeholder: "Name, or: not begun, seeded, labelled …", value: filter, "aria-label": "Show slides by name or state",
        title: "Shows slides by a part of their name, or by their state", oninput: (event) => sift(event.target.value) }),
      html("div", { class: "sic-worklist-list", role: "list" })));
  summarize();
  if (open) fill(filter);
}

/** How many slides have labels. */
function summarize() {
  const line = box.querySelector("#sic-labelled");
  if (!line) return;
  const done = app.worklist.slides.filter((each) => each.state === "labelled" || each.state === "changed").length;
  line.textContent = `${count(done)} labelled`;
}

/** Rows are made when they are first seen; what other people did meanwhile is asked for each time. */
function onToggle(event) {
  const list = event.target;
  if (!list.open || list.dataset.asked) return;
  list.dataset.asked = "yes";
  fill(box.querySelector("#sic-slides-filter").value);
  list.addEventListener("toggle", () => { if (list.open) loadWorklist(); });
}

function fill(filter) {
  box.querySelector("details").dataset.asked = "yes";
  rows = new Map(app.worklist.slides.map((slide) => [slide.h5ad, item(slide)]));
  box.querySelector(".sic-worklist-list").replaceChildren(...rows.values());
  sift(filter);
  rows.get(app.worklist.here)?.scrollIntoView({ block: "nearest" });
}

function sift(text) {
  const wanted = text.trim().toLowerCase();
  for (const row of rows.values()) row.hidden = !row.dataset.words.includes(wanted);
}

function item(slide) {
  const [mark, state] = slide.problem ? PROBLEM : STATES[slide.state];
  const present = slide.h5ad === app.worklist.here;
  const classes = Object.entries(slide.seeds).map(([name, n]) => `${count(n)} ${name}`).join(", ");
  const borrowed = slide.borrowed ? ` + ${count(slide.borrowed)}` : "";
  const title = slide.problem ? `${slide.name}: ${slide.problem}`
    : `${slide.h5ad}: ${state}${slide.n_patches === null ? "" : `, ${count(slide.n_patches)} patches`}`
      + `${classes && !present ? `, seeds: ${classes}` : ""}${slide.borrowed ? `, ${count(slide.borrowed)} seeds borrowed` : ""}`;
  return html("a", {
    href: slide.page, role: "listitem", class: `sic-worklist-item sic-state-${slide.problem ? "problem" : slide.state}`,
    title, "data-h5ad": slide.h5ad, "data-words": `${slide.h5ad} ${state}`.toLowerCase(),
    ...(present ? { "aria-current": "page" } : {}),
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // into a tab of its own
      event.preventDefault();
      if (!present) goTo(slide);
    },
  },
    html("span", { class: "sic-worklist-mark", "aria-hidden": "true" }, mark),
    html("span", { class: "sic-worklist-name" }, slide.name,
      slide.folder ? html("span", { class: "text-muted" }, ` ${slide.folder}`) : null),
    html("span", { class: "sic-number" }, slide.n_seeds || borrowed ? `${count(slide.n_seeds)}${borrowed} seeds` : ""),
    html("span", { class: "sic-worklist-state" }, state));
}
