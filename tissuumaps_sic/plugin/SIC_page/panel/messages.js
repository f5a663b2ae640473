/** What the person is told, and how far a long request is. */

import { button, html } from "../dom.js";
import { stop } from "../requests.js";
import { app, isSlow, show, subscribe } from "../state.js";

/** @import { Job } from "../state.js" */

/** The job that is under way, where a person wants to see it. */
const shownJob = () => (isSlow() ? app.busy?.job ?? null : null);

export const messages = () => [app.error, app.status, app.busy?.kind, isSlow(), shownJob()?.token,
  app.state?.run?.stale, app.state?.run?.outdated];

export function drawMessages() {
  const { busy, error, state } = app, job = shownJob();
  return [html("div", { class: "sic-messages" },
    error
      ? html("div", { class: "sic-error", role: "alert" }, html("span", { id: "sic-error" }, capitalise(error)),
        button("×", "Close (Esc)", () => show({ error: "" }), { id: "sic-error-close", "aria-label": "Close the message" }))
      : null,
    job ? progressRow(job) : null,
    html("div", { role: "status", id: "sic-status", hidden: job !== null },
      isSlow() ? html("span", { class: "me-1", "aria-hidden": "true" }, "⏳") : null,
      busy ? `${busy.kind} …` : app.status,
      state?.run?.stale && !busy
        ? html("div", { class: "sic-stale" },
          `The ${state.run.outdated ? "embeddings" : "seeds"} have changed since the last run.`)
        : null))];
}

/** A sentence begins with a capital, but where the name of a file does. @param {string} text */
const capitalise = (text) => (/^\S+\.\w+/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1));

/** How far the job is, and how to stop it; as high as two lines of text. @param {Job} job */
function progressRow(job) {
  const row = html("div", { id: "sic-progress", class: "sic-progress" },
    html("div", { class: "sic-progress-text" },
      html("span", { class: "sic-progress-stage" }), html("span", { class: "sic-progress-share sic-number" })),
    html("div", { class: "sic-progress-line" },
      html("div", { class: "progress", role: "progressbar", "aria-label": "How far it is", "aria-valuemin": 0, "aria-valuemax": 100 },
        html("div", { class: "progress-bar" })),
      button("Stop", "Stop and keep the labels as they were (Esc)", stop, { id: "sic-stop-run" })));
  fillProgress(row, job);
  return row;
}

/** @param {HTMLElement} row @param {Job} job */
function fillProgress(row, { stage, share: part, isStopping }) {
  const done = part === null ? null : Math.min(Math.floor(100 * part), 100);
  const [words, percent, track, bar, stopping] = [".sic-progress-stage", ".sic-progress-share", ".progress", ".progress-bar", "button"]
    .map((each) => /** @type {HTMLElement} */ (row.querySelector(each)));
  words.textContent = isStopping ? "Stopping" : stage || (app.busy?.kind ?? "");
  percent.textContent = done === null ? "" : `${done} %`;
  bar.style.width = `${done ?? 0}%`;
  if (done === null) track.removeAttribute("aria-valuenow"); else track.setAttribute("aria-valuenow", String(done));
  stopping.toggleAttribute("disabled", isStopping);
}

/** Bring the bar up to date without making it anew, under the pointer that is about to press its button. */
export const followProgress = () => subscribe(() => [app.busy?.job], () => {
  const row = document.getElementById("sic-progress"), job = shownJob();
  if (row && job) fillProgress(row, job);
});
