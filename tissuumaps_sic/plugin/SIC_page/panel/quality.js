/** How good the labels are, by a check: what was answered, what that tells of each class, and how far another reader agrees. */

import { beginCheck, compareAnswers, goOnChecking } from "../check.js";
import { button, classTag, count, html, tellCount } from "../dom.js";
import { choice } from "../menus.js";
import { app, isSlow, qualityHere, sessionTitle, tellWhole } from "../state.js";
import { tellFigure } from "../trust.js";

/** @import { Agreement, ClassQuality, Figure, Quality, Session } from "../server.js" */

const RANGE = "The small numbers are the range that holds the true figure 95 times in 100: more answers make it narrower";

/** What each column is, for who does not know its name. @type {[string, string][]} */
const HEADS = [
  ["Precision", "Of all that is labelled with the class, the share that is right (positive predictive value): low where too much is labelled so. 1 is perfect"],
  ["Recall", "Of all that truly is of the class, the share that is labelled so (sensitivity): low where some of it is missed. 1 is perfect"],
  ["F1", "Precision and recall in one number, nearer to the lower of the two. 1 is perfect"],
];

/** @type {import("./section.js").Section} */
export const quality = {
  shows: (state) => [state.run !== null, app.labels !== null, state.sample, qualityHere(), state.sessions, app.session, app.checkOther, tellWhole(), isSlow()],
  draw(state) {
    if (!state.run || !app.labels) return [];
    const { found = null, problem = "" } = qualityHere() ?? {};
    return [html("div", { id: "sic-quality", class: "sic-quality" },
      problem ? html("p", { class: "sic-stale" }, problem) : null,
      ...(found ? [...told(found), acts(state, found), ...otherReader(state, found)] : []))];
  },
};

/** @param {Quality} found */
function told(found) {
  if (found.state === "none") {
    return [html("p", { id: "sic-quality-told" }, "Patches are chosen at random and shown one by one with the labels hidden; say the class of each. "
      + "Answers are never used to label.")];
  }
  const lines = [html("p", { id: "sic-quality-told", class: found.state === "void" ? "sic-stale" : "" }, found.told)];
  if (found.state !== "ready") return lines;
  const { accuracy, halving, halved } = found;
  return [table(found.classes),
    accuracy ? html("p", { id: "sic-quality-accuracy", title: `Of all patches, the share whose label is right. ${RANGE}` },
      `Labels that are right: ${tellFigure(accuracy)}.`) : null,
    halving ? html("p", { id: "sic-quality-halving", title: `For the F1 of ${halved}. ${RANGE}` },
      `About ${tellCount(halving, "more answer")} would halve the range.`) : null,
    ...lines];
}

/** @param {ClassQuality[]} classes */
function table(classes) {
  const isMeasured = classes.every(({ area }) => area !== null);
  const last = isMeasured ? ["mm²", "How much tissue truly is of the class, as the answers say; by whole patches"]
    : ["Share", `Which share of ${tellWhole()} truly is of the class, as the answers say`];
  return html("table", { id: "sic-quality-table" },
    html("thead", {}, html("tr", {}, html("th", { scope: "col", title: "The classes of the labels and of your answers" }, "Class"),
      ...[...HEADS, last].map(([name, title]) => html("th", { scope: "col", class: "sic-number", title: `${title}. ${RANGE}` }, name)))),
    html("tbody", {}, ...classes.map((each) => {
      const { name, color, precision, recall, f1, area, share, patches, answers } = each;
      return html("tr", { "data-class": name },
        html("th", { scope: "row", title: `Labelled ${name}: ${tellCount(patches, "patch", "patches")}; answered ${name}: ${count(answers)}` },
          classTag(color || "#868e96", name)),
        ...[precision, recall, f1].map((figure) => cell(figure, 2)), isMeasured ? areaCell(area, each.labelled_area) : cell(share, 2));
    })));
}

/** @param {Figure | null} figure @param {number} digits @param {string} [title] */
function cell(figure, digits, title = "") {
  if (!figure) return html("td", { class: "sic-number", title: "The answers tell nothing of this" }, "–");
  const [value, low, high] = [figure.value, figure.low, figure.high].map((each) => each.toFixed(digits));
  return html("td", { class: "sic-number", ...title ? { title } : {} }, value, html("span", { class: "sic-range" }, `${low}–`, html("wbr"), high));
}

/** @param {Figure | null} area @param {number | null} labelled */
function areaCell(area, labelled) {
  const digits = !area || area.high < 10 ? 2 : area.high < 100 ? 1 : 0;
  return cell(area, digits, labelled === null ? "" : `Labelled so: ${labelled.toFixed(digits)} mm²`);
}

/** @param {Session} state @param {Quality} found */
function acts({ sample }, { state, wanted }) {
  const n = sample ? sample.answered - sample.unclear : 0, disabled = isSlow();
  const first = { none: `Check ${wanted} patches`, void: "Begin another check", few: "", ready: "" }[state];
  // What is done first has one name in all states, since the focus comes back to that.
  return html("div", { class: "sic-buttons" },
    button(first || (n < wanted ? `${n} of ${wanted} answered: go on` : "Answer 20 more"),
      first ? "Be asked about patches that chance chooses, while all that tells their labels is hidden (C)"
        : "Go on with the check where it was left (C)", goOnChecking,
      { id: "sic-check-go", disabled, ...first || n < wanted ? { class: "btn btn-sm btn-primary" } : {} }),
    first ? null : button("Begin another check", "Choose other patches, in place of this check; Undo brings it back", () => { beginCheck(); },
      { id: "sic-check-anew", disabled }));
}

/** What another reader says of the same patches, where others have sessions. @param {Session} state @param {Quality} found */
function otherReader(state, { agreement }) {
  const others = state.sessions.filter((name) => name !== app.session);
  if (!others.length) return [];
  const place = others.indexOf(app.checkOther ?? "\n"), other = others[place];
  return [html("div", { class: "sic-session" },
    html("label", { for: "sic-check-other", class: "text-muted" }, "Compare answers with"),
    choice("Compare answers with", (value) => compareAnswers(value === "none" ? null : others[Number(value)]), { id: "sic-check-other",
      disabled: isSlow(), title: "How far another reader's answers agree with these, on patches that both were asked about" },
    [{ value: "none", text: "nobody" }, ...others.map((name, value) => ({ value, text: sessionTitle(name) }))], place < 0 ? "none" : place),
    other === undefined ? null : button("Ask me the same", `Be asked about the patches of ${sessionTitle(other)}'s check${
      state.sample ? ", in place of this check; Undo brings it back" : ""}`,
    () => { beginCheck(other); }, { id: "sic-check-like", disabled: isSlow() })),
  ...(other !== undefined && agreement ? agreed(agreement, sessionTitle(other)) : [])];
}

/** @param {Agreement} agreement @param {string} other */
function agreed({ patches, share, kappa, names, table: counts }, other) {
  if (!patches || !share) return [html("p", { id: "sic-agreement" }, `${other} and you have answered none of the same patches yet.`)];
  const shown = names.flatMap((_, i) => (counts[i].some(Boolean) || counts.some((row) => row[i]) ? [i] : []));
  return [html("p", { id: "sic-agreement", title: `Kappa is agreement beyond chance: 1 is full, 0 what chance alone would give. ${RANGE}` },
    `You agree on ${tellFigure(share)} of ${tellCount(patches, "patch", "patches")} that both answered${kappa ? `; kappa ${tellFigure(kappa)}` : ""}.`),
  html("table", { id: "sic-agreement-table", "aria-label": `Your answers by those of ${other}` },
    html("thead", {}, html("tr", {}, html("th", { scope: "col", title: "Your answers in rows, the other's in columns" }, `you / ${other}`),
      ...shown.map((i) => html("th", { scope: "col", class: "sic-number", title: `${other} said ${names[i]}` }, names[i])))),
    html("tbody", {}, ...shown.map((row) => html("tr", {}, html("th", { scope: "row" }, names[row]),
      ...shown.map((column) => html("td", { class: `sic-number${row === column ? " sic-same" : ""}` }, count(counts[row][column])))))))];
}
