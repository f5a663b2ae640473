/** Two readers of one slide: how far they agree, where they do not, and what both agree on. */

import { setView } from "./actions.js";
import { button, count, html } from "./dom.js";
import { DISPUTED } from "./ramp.js";
import { compareWith, consensus, nextDisputed } from "./readers.js";
import { app, sessionTitle } from "./state.js";

/** A choice of another session and, once it is made, what came of it; nothing where there is no other. */
export function compareBox() {
  const others = app.state.sessions.filter((name) => name !== app.session);
  if (!others.length) return null;
  const found = app.compared, idle = !app.busy;
  return html("div", { class: "sic-compare" },
    html("div", { class: "sic-session" },
      html("label", { for: "sic-compare", class: "text-muted" }, "Compare with"),
      html("select", { class: "form-select form-select-sm", id: "sic-compare", disabled: !idle,
        title: "See where another session's labels differ from these",
        onchange: (event) => compareWith(event.target.value === "none" ? null : others[event.target.value]) },
        html("option", { value: "none", selected: !found }, "nobody"),
        ...others.map((name, place) =>
          html("option", { value: place, selected: found?.other === name }, sessionTitle(name)))),
      found ? html("span", { id: "sic-kappa", title: "Cohen's kappa: 1 is full agreement, 0 that of chance" },
        found.kappa === null ? "one class alone" : `κ ${found.kappa.toFixed(2)}`) : null),
    found ? html("div", { class: "sic-session", id: "sic-disputed" },
      html("span", { class: "sic-why-name", style: `border-color: ${DISPUTED}` },
        found.n_disputed ? `${count(found.n_disputed)} disputed` : "Nothing is disputed",
        found.is_stale ? html("span", { class: "sic-stale",
          title: `The seeds of ${sessionTitle(found.other)} have changed since its last run` }, " (old labels)") : null),
      button("Show", "Colour the disputed patches", () => setView(app.view === "disputed" ? "labels" : "disputed"),
        { id: "sic-view-disputed", disabled: !idle, "aria-pressed": String(app.view === "disputed"),
          class: `btn btn-sm ${app.view === "disputed" ? "btn-secondary" : "btn-outline-secondary"}` }),
      button("Next", "Go to the next disputed place, the largest first (X)", nextDisputed,
        { id: "sic-next-disputed", disabled: !idle || !found.places.length }),
      button("Consensus …", "A new session of the seeds that neither of the two disputes", consensus,
        { id: "sic-consensus", disabled: !idle })) : null);
}
