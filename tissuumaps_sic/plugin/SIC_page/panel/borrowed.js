/** Seeds of other slides, and the patches that are unlike any seed. */

import { button, html, sum, tellCount, toggle } from "../dom.js";
import { menu } from "../menus.js";
import { borrow, drop } from "../seeding.js";
import { app, isSlow } from "../state.js";
import { nextUnlike } from "../suggestions.js";
import { setView } from "../views.js";
import { lenders } from "../worklist.js";

/** @import { Session } from "../server.js" */

/** @type {import("./section.js").Section} */
export const borrowed = {
  shows: (state) => [app.worklist, state.borrowed, state.classes, app.unlike, app.labels !== null, app.view, isSlow()],
  draw: (state) => [lenderChoice(), borrowedRows(state)],
};

/** A choice of slides to borrow from; nothing where there are none. */
function lenderChoice() {
  const slides = lenders();
  if (!slides.length) return null;
  return menu("Seeds from ▾", (h5ad) => { for (const each of slides) if (each.h5ad === h5ad) borrow(each); },
    { id: "sic-borrow", disabled: isSlow(),
      title: "Let the seeds of another slide, of the same session and embedding, count here as well",
      "aria-label": "Take seeds of another slide" },
    slides.map((each) => ({ value: each.h5ad, text: `${each.name} (${tellCount(sum(Object.values(each.seeds)), "seed")})` })));
}

/** What is borrowed, a line a slide; nothing where nothing is. @param {Session} state */
function borrowedRows({ borrowed: loans, classes }) {
  if (!loans.length) return null;
  const isShown = app.view === "unlike";
  return html("div", { class: "sic-borrowed", id: "sic-borrowed" },
    ...loans.map((loan) => html("div", { class: "sic-borrowed-row", "data-path": loan.path },
      html("span", { title: `${loan.path}: ${loan.counts.map((n, label) => `${n} ${classes[label].name}`).join(", ")}` },
        `${tellCount(sum(loan.counts), "seed")} of ${loan.slide}`),
      button("×", `Drop the seeds of ${loan.slide}; can be undone`, () => drop(loan),
        { class: "btn btn-sm btn-outline-secondary sic-drop", disabled: isSlow(), "aria-label": `Drop the seeds of ${loan.slide}` }))),
    html("div", { class: "sic-borrowed-row" },
      html("span", { id: "sic-unlike", class: "text-muted" }, unlikeText()),
      toggle(isShown, "Show",
        "Show the patches that are unlike any seed, borrowed or not: their labels are guesses, so look at them first",
        () => setView(isShown ? "labels" : "unlike"), { id: "sic-view-unlike", disabled: isSlow() || !app.labels }),
      button("One by one", "Ask about them on a card (U)", nextUnlike, { id: "sic-next-unlike", disabled: isSlow() || !app.unlike?.count })));
}

function unlikeText() {
  if (!app.unlike) return app.labels ? "Looking for patches unlike any …" : "Run to label this slide from them";
  return app.unlike.count ? `${tellCount(app.unlike.count, "patch", "patches")} unlike any seed` : "Every patch is like some seed";
}
