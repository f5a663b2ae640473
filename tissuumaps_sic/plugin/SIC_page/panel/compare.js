/** Two readers of one slide: how far they agree, where they do not, and what both agree on. */

import { button, count, html, classTag, toggle } from "../dom.js";
import { choice } from "../menus.js";
import { compareWith, consensus, nextDisputed } from "../readers.js";
import { app, isSlow, sessionTitle } from "../state.js";
import { setView } from "../views.js";

/** @import { Compared } from "../server.js" */
/** @import { Pair } from "../pairs.js" */

/** A choice of another session and, once it is made, what came of it; nothing where there is no other. @type {import("./section.js").Section} */
export const compare = {
  shows: (state) => [state.sessions, app.session, app.compared, app.view, isSlow()],
  draw(state) {
    const others = state.sessions.filter((name) => name !== app.session);
    if (!others.length) return [];
    const found = app.compared, place = found ? others.indexOf(found.other) : -1, disabled = isSlow();
    return [html("div", { class: "sic-compare" },
      html("div", { class: "sic-session" },
        html("label", { for: "sic-compare", class: "text-muted" }, "Compare with"),
        choice("Compare with", (value) => compareWith(value === "none" ? null : others[Number(value)]),
          { id: "sic-compare", disabled, title: "See where another session's labels differ from these" },
        [{ value: "none", text: "nobody" }, ...others.map((name, value) => ({ value, text: sessionTitle(name) }))],
        place < 0 ? "none" : place), // it is gone, or the one that is being opened
        found ? html("span", { id: "sic-kappa", title: "Cohen's kappa, agreement beyond chance: 1 is full, 0 what chance alone would give; "
          + "the word is that of Landis and Koch, 1977" },
        found.kappa === null ? "no κ: one class alone" : `κ ${found.kappa.toFixed(2)}, ${found.word}`) : null),
      ...(found ? [html("div", { class: "sic-session", id: "sic-disputed" },
        html("b", {}, found.n_disputed ? `${count(found.n_disputed)} disputed` : "Nothing is disputed"),
        found.is_stale ? html("span", { class: "sic-stale",
          title: `The seeds of ${sessionTitle(found.other)} have changed since its last run` }, " (old labels)") : null,
        toggle(app.view === "disputed", "Show", "Colour the disputed patches by who says what",
          () => setView(app.view === "disputed" ? "labels" : "disputed"), { id: "sic-view-disputed", disabled }),
        button("Next", "Go to the next disputed place, the largest first (X)", nextDisputed,
          { id: "sic-next-disputed", disabled: disabled || !found.places.length }),
        button("Consensus …", "A new session of the seeds that neither of the two disputes; the others are asked about there",
          consensus, { id: "sic-consensus", disabled })),
      ...pairLines(found.pairs.list, found.other), table(found)] : []))];
  },
};

/** Who says what, in the colours of the slide. @param {Pair[]} pairs @param {string} other */
function pairLines(pairs, other) {
  return pairs.slice(0, 6).map(({ mine, theirs, n, color }) => html("div", { class: "sic-pair" },
    classTag(color, `${sessionTitle(app.session)} ${mine} / ${sessionTitle(other)} ${theirs}`),
    html("span", { class: "sic-number" }, count(n))));
}

/** Patches by the class of each reader. @param {Compared & { other: string, pairs: { list: Pair[] } }} found */
function table({ table: { names, counts }, other, pairs }) {
  const colorOf = (/** @type {string} */ mine, /** @type {string} */ theirs) =>
    pairs.list.find((pair) => pair.mine === mine && pair.theirs === theirs)?.color;
  return html("details", { class: "sic-pairs", id: "sic-pairs", open: true },
    html("summary", { title: "How many patches each of the two gave which class" }, "Who says what"),
    html("table", {},
      html("thead", {},
        html("tr", {}, html("td", {}), html("th", { colspan: names.length, scope: "colgroup" }, sessionTitle(other))),
        html("tr", {}, html("th", { scope: "row" }, sessionTitle(app.session)),
          ...names.map((name) => html("th", { class: "sic-number", scope: "col", title: name }, name)))),
      html("tbody", {}, ...names.map((mine, row) => html("tr", {}, html("th", { scope: "row", title: mine }, mine),
        ...names.map((theirs, column) => {
          const n = counts[row][column], color = n ? colorOf(mine, theirs) : undefined;
          return html("td", { class: `sic-number${row === column ? " sic-same" : ""}`, "data-pair": `${mine}/${theirs}`,
            ...(color ? { style: `box-shadow: inset 0 -3px ${color}` } : {}) }, count(n));
        }))))));
}
