/** How far a long request is, and stopping it. */

import { button, html } from "./dom.js";
import { postForState } from "./server.js";
import { app } from "./state.js";

const FIRST = 500, EVERY = 300; // ms
const LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz";
export const STOPPED = 499; // the server's status of what was stopped

/**
 * Do something that takes a token by which it can be asked about and stopped.
 *
 * `kind` is what the job is called among the page's own: "run" for labels, which a newer run makes useless.
 */
export async function followed(kind, work) {
  const job = { kind, h5ad: app.layer.h5ad, token: newToken(), stage: null, share: null, stopping: false, superseded: false };
  app.job ??= job;
  job.timer = setTimeout(() => ask(job), FIRST);
  try {
    return await work(job.token);
  } catch (error) {
    error.superseded = job.superseded;
    throw error;
  } finally {
    clearTimeout(job.timer);
    job.timer = null;
    if (app.job === job) app.job = null;
  }
}

/** Stop what is under way, if it can be; returns whether there was something. */
export function stop() {
  const { job } = app;
  if (!job) return false;
  if (!job.stopping) {
    job.stopping = true;
    // What goes wrong with it is told by the request itself.
    postForState("cancel", { h5ad: job.h5ad, job: job.token }).catch(() => { job.stopping = false; });
    show(job);
  }
  return true;
}

/** Stop what a change makes useless; returns its kind, or null. */
export function supersede() {
  const { job } = app;
  if (!job) return null;
  job.superseded = true;
  stop();
  return job.kind;
}

// Not crypto.randomUUID, which pages have on https and localhost only.
const newToken = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => LETTERS[byte % LETTERS.length]).join("");

async function ask(job) {
  try {
    Object.assign(job, await postForState("progress", { h5ad: job.h5ad, job: job.token }));
  } catch { /* the request itself tells what is wrong with the server */ }
  if (job.timer === null) return;
  show(job);
  job.timer = setTimeout(() => ask(job), EVERY);
}

const percent = (job) => (job.share === null ? null : Math.min(Math.floor(100 * job.share), 100));

/** What is done, in words. */
const words = (job) => (job.stopping ? "Stopping" : job.stage || app.busy);

/** Bring what is on the screen up to date, without making it anew under the pointer that is about to press it. */
function show(job) {
  const row = document.getElementById("sic-progress");
  if (!row || app.job !== job) return;
  const done = percent(job);
  row.querySelector(".sic-progress-stage").textContent = words(job);
  row.querySelector(".sic-progress-share").textContent = done === null ? "" : `${done} %`;
  row.querySelector(".progress-bar").style.width = `${done ?? 0}%`;
  const track = row.querySelector(".progress");
  if (done === null) track.removeAttribute("aria-valuenow"); else track.setAttribute("aria-valuenow", done);
  row.querySelector("button").disabled = job.stopping;
}

/** How far the job is, and how to stop it; as high as two lines of text. */
export function progressRow() {
  const { job } = app, done = percent(job);
  return html("div", { id: "sic-progress", class: "sic-progress" },
    html("div", { class: "sic-progress-text" },
      html("span", { class: "sic-progress-stage" }, words(job)),
      html("span", { class: "sic-progress-share sic-number" }, done === null ? "" : `${done} %`)),
    html("div", { class: "sic-progress-line" },
      html("div", { class: "progress", role: "progressbar", "aria-label": "How far it is", "aria-valuemin": 0,
        "aria-valuemax": 100, ...(done === null ? {} : { "aria-valuenow": done }) },
        html("div", { class: "progress-bar", style: `width: ${done ?? 0}%` })),
      button("Stop", "Stop and keep the labels as they were (Esc)", stop,
        { id: "sic-stop-run", disabled: job.stopping })));
}
