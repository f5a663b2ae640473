/** Two readers of one slide: how far they agree, where they do not, and what both agree on. */

import { button, count, html, classTag, select, toggle } from "../dom.js";
import { DISPUTED } from "../ramp.js";
import { compareWith, consensus, nextDisputed } from "../readers.js";
import { app, isSlow, sessionTitle } from "../state.js";
import { setView } from "../views.js";

/** A choice of another session and, once it is made, what came of it; nothing where there is no other. @type {import("./section.js").Section} */
export const compare = {
  shows: (state) => [state.sessions, app.session, app.compared, app.view, isSlow()],
  draw(state) {
    const others = state.sessions.filter((name) => name !== app.session);
    if (!others.length) return [];
    const found = app.compared, disabled = isSlow();
    return [html("div", { class: "sic-compare" },
      html("div", { class: "sic-session" },
        html("label", { for: "sic-compare", class: "text-muted" }, "Compare with"),
        select({ id: "sic-compare", disabled, title: "See where another session's labels differ from these",
          onchange: (event) => compareWith(event.target.value === "none" ? null : others[event.target.value]) },
        [{ value: "none", text: "nobody" }, ...others.map((name, value) => ({ value, text: sessionTitle(name) }))],
        found ? others.indexOf(found.other) : "none"),
        found ? html("span", { id: "sic-kappa", title: "Cohen's kappa: 1 is full agreement, 0 that of chance; from 0.4 it is called moderate, from 0.6 substantial" },
          found.kappa === null ? "one class alone" : `κ ${found.kappa.toFixed(2)}`) : null),
      found ? html("div", { class: "sic-session", id: "sic-disputed" },
        classTag(DISPUTED, found.n_disputed ? `${count(found.n_disputed)} disputed` : "Nothing is disputed",
          found.is_stale ? html("span", { class: "sic-stale",
            title: `The seeds of ${sessionTitle(found.other)} have changed since its last run` }, " (old labels)") : null),
        toggle(app.view === "disputed", "Show", "Colour the disputed patches",
          () => setView(app.view === "disputed" ? "labels" : "disputed"), { id: "sic-view-disputed", disabled }),
        button("Next", "Go to the next disputed place, the largest first (X)", nextDisputed,
          { id: "sic-next-disputed", disabled: disabled || !found.places.length }),
        button("Consensus …", "A new session of the seeds that neither of the two disputes", consensus,
          { id: "sic-consensus", disabled })) : null)];
  },
};
