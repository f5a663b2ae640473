/** The history as a list: what was done, by whom and when, and the way back to any point of it. */

import { groupSteps } from "../acts.js";
import { button, count, html, tellCount } from "../dom.js";
import { tellClock, tellDay } from "../days.js";
import { askOlder, choosePoint, openHistory, restore } from "../history.js";
import { takeFile } from "../outbox.js";
import { app, isSlow, show } from "../state.js";

/** @import { Act } from "../acts.js" */
/** @import { HistoryStep } from "../server.js" */

/** @type {import("./section.js").Section} */
export const history = {
  shows: (state) => [state.n_steps, app.historyOpen, app.history, app.point, app.unfolded, isSlow()],
  draw: (state) => [html("details", { id: "sic-history", open: app.historyOpen, ontoggle: (event) => {
    if (event.target.open !== app.historyOpen) openHistory(event.target.open);
  } },
  html("summary", { title: "Everything that was done to this session, also what was undone; goes back to any point of it" },
    `History (${count(state.n_steps)})`),
  ...(app.historyOpen ? inside() : []))],
};

function inside() {
  const found = app.history;
  return [
    ...(found ? [
      html("div", { class: "sic-history-steps", role: "list", "aria-label": "What was done, the newest first" },
        ...byDay(found.trunk, found.position),
        found.more ? button(`${count(found.more)} older …`, "Show older steps", askOlder, { id: "sic-older" }) : null,
        found.more ? null : stepRow({ branch: null, position: 0, text: "the beginning: no seeds", time: "", user: "" }, found.position),
        ...(found.branches.length ? [html("div", { class: "sic-history-day" }, "Undone, and then replaced by other steps"),
          ...groupSteps(found.branches, found.position).flatMap((act) => actRows(act, found.position))] : [])),
      ...pointBox(),
    ] : [html("p", { class: "text-muted" }, "Looking …")]),
    html("label", { class: "sic-clicks-file text-muted" }, "Clicks from a file",
      html("input", { type: "file", id: "sic-clicks-file", accept: ".json", class: "form-control form-control-sm",
        title: "Clicks that a page gave back as a file while the server was away",
        onchange: (event) => { if (event.target.files[0]) takeFile(event.target.files[0]); } })),
  ];
}

/** @param {HistoryStep[]} steps @param {number} position */
function byDay(steps, position) {
  const now = new Date();
  let day = "";
  return groupSteps(steps, position).flatMap((act) => {
    const its = tellDay(act.steps[0].time, now), head = its === day ? [] : [html("div", { class: "sic-history-day" }, its)];
    day = its;
    return [...head, ...actRows(act, position)];
  });
}

/** One line for all steps of an act, which leads to its end, and one for each where they are unfolded. @param {Act} act @param {number} present */
function actRows({ key, text, steps }, present) {
  if (steps.length < 2) return [stepRow(steps[0], present)];
  const isOpen = app.unfolded.includes(key);
  const fold = html("button", { type: "button", class: "sic-fold", id: `sic-fold-${key}`, "aria-expanded": String(isOpen),
    title: isOpen ? "Tell these steps as one" : "Tell each of these steps", onclick: () => show({
      unfolded: isOpen ? app.unfolded.filter((each) => each !== key) : [...app.unfolded, key] }) },
  `${isOpen ? "▾" : "▸"} ${tellCount(steps.length, "step")}`);
  return [html("div", { class: "sic-act", role: "listitem", "data-act": key }, stepRow({ ...steps[0], text }, present, false), fold),
    ...isOpen ? steps.map((step) => {
      const row = stepRow(step, present);
      row.classList.add("sic-part");
      return row;
    }) : []];
}

/** @param {Omit<HistoryStep, "n" | "together">} step @param {number} present */
function stepRow({ branch, position, text, time, user }, present, isItem = true) {
  const isNow = branch === null && position === present, isUndone = branch !== null || position > present;
  const isChosen = app.point?.branch === branch && app.point?.position === position;
  const when = !time ? "" : branch === null ? tellClock(time) : `${tellDay(time, new Date())} ${tellClock(time)}`;
  return html("button", { type: "button", ...isItem ? { role: "listitem" } : {}, disabled: isSlow() || isNow,
    class: `sic-step${isUndone ? " sic-undone" : ""}${isChosen ? " sic-chosen" : ""}`,
    "data-branch": branch ?? "", "data-position": position, title: isNow ? "This is where you are" : "Tell what going there would change",
    onclick: () => choosePoint({ branch, position }) },
  html("span", { class: "sic-step-text" }, text, isNow ? html("b", {}, " ← now") : isUndone ? " (undone)" : ""),
  html("span", { class: "sic-step-who" }, [user, when].filter(Boolean).join(", ")));
}

function pointBox() {
  if (!app.point) return [];
  return [html("div", { class: "sic-point", id: "sic-point", role: "status" },
    html("div", {}, `Going there: ${app.point.text}`),
    button("Go there", "Restore this point", restore, { id: "sic-restore", class: "btn btn-sm btn-primary", disabled: isSlow() }),
    button("Stay here", "Change nothing", () => show({ point: null }), { id: "sic-stay" }))];
}
