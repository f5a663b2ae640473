/** Seeds of other slides: taken over, shown, dropped; and the patches that are unlike any seed. */

import { change, setView } from "./actions.js";
import { button, count, html } from "./dom.js";
import { app } from "./state.js";
import { lenders } from "./worklist.js";

const total = (loan) => loan.counts.reduce((a, b) => a + b);

function borrow(slide) {
  app.method = "refine"; // the published method knows no other slide
  return change(
    () => ({ kind: "borrow", source: slide.h5ad, session: app.session, embedding: app.embedding }),
    `The seeds of ${slide.name} count here too; run to label this slide`,
  );
}

const drop = (loan) => change(() => ({ kind: "return", path: loan.path }), `The seeds of ${loan.slide} are dropped`);

/** A choice of slides to borrow from; nothing where there are none. */
export function lenderChoice() {
  const slides = lenders();
  if (!slides.length) return null;
  return html("select", { class: "form-select form-select-sm sic-lenders", id: "sic-borrow", disabled: Boolean(app.busy),
    title: "Let the seeds of another slide, of the same session and embedding, count here as well",
    "aria-label": "Take seeds of another slide",
    onchange: (event) => {
      const slide = slides[event.target.selectedIndex - 1];
      event.target.value = "";
      borrow(slide);
    } },
    html("option", { value: "", selected: true, hidden: true }, "Seeds from …"),
    ...slides.map((each) => html("option", { value: each.h5ad },
      `${each.name} (${count(Object.values(each.seeds).reduce((a, b) => a + b))} seeds)`)));
}

/** What is borrowed, a line a slide; nothing where nothing is. */
export function borrowedRows() {
  const { borrowed, classes } = app.state;
  if (!borrowed.length) return null;
  return html("div", { class: "sic-borrowed", id: "sic-borrowed" },
    ...borrowed.map((loan) => html("div", { class: "sic-borrowed-row", "data-path": loan.path },
      html("span", { title: `${loan.path}: ${loan.counts.map((n, label) => `${n} ${classes[label].name}`).join(", ")}` },
        `${count(total(loan))} seeds of ${loan.slide}`),
      button("×", `Drop the seeds of ${loan.slide}; can be undone`, () => drop(loan),
        { class: "btn btn-sm btn-outline-secondary sic-drop", disabled: Boolean(app.busy), "aria-label": `Drop the seeds of ${loan.slide}` }))),
    html("div", { class: "sic-borrowed-row" },
      html("span", { id: "sic-unlike", class: "text-muted" }, unlikeText()),
      button("Show", "Show the patches that are unlike any seed, borrowed or not: their labels are guesses, so look at them first",
        () => setView(app.view === "unlike" ? "labels" : "unlike"),
        { id: "sic-view-unlike", disabled: Boolean(app.busy) || !app.labels, "aria-pressed": String(app.view === "unlike"),
          class: `btn btn-sm ${app.view === "unlike" ? "btn-secondary" : "btn-outline-secondary"}` })));
}

function unlikeText() {
  if (!app.unlike) return app.labels ? "Looking for patches unlike any …" : "Run to label this slide from them";
  return app.unlike.count
    ? `${count(app.unlike.count)} patches unlike any seed`
    : "Every patch is like some seed";
}

/** How many seeds of a class are borrowed. */
export const borrowedOf = (label) => app.state.borrowed.reduce((sum, loan) => sum + loan.counts[label], 0);
