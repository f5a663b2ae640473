/** Requests: one after another, how far the present one is, how it is stopped, and what is told when one fails. */

import * as server from "./server.js";
import { app, flush, hold, layer, release, update } from "./state.js";

/** @import { Job } from "./state.js" */

const SLOW = 500, FIRST = 500, EVERY = 300; // ms
const LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz";

let queue = Promise.resolve(true);
let recover = /** @type {() => Promise<unknown>} */ (async () => {});

/** Set what is done when the session was changed by somebody else. @param {() => Promise<unknown>} reload */
export function onConflict(reload) { recover = reload; }

/**
 * Do one thing after another: a change must start from the revision that the one before it made.
 * @param {string} kind in words
 * @param {() => Promise<void>} work
 * @param {boolean} isQuiet whether nobody wants to see that it takes long
 * @returns {Promise<boolean>} whether nothing went wrong; what did is told
 */
export function enqueue(kind, work, isQuiet = false) {
  queue = queue.then(() => perform(kind, work, isQuiet));
  return queue;
}

/** @type {typeof enqueue} */
async function perform(kind, work, isQuiet) {
  update({ busy: { kind, job: null, isSlow: false }, error: "" });
  // Seen when it is done or takes long, not at every click, where it would flicker; and nothing that turns, since
  // without a graphics card every frame of it redraws the page, a tenth of a second of the processors that the
  // clustering wants.
  hold();
  const slow = isQuiet ? 0 : setTimeout(() => {
    patchBusy({ isSlow: true });
    release();
  }, SLOW);
  try {
    await work();
  } catch (error) {
    fail(/** @type {Error} */ (error));
    if (error instanceof server.ServerError && error.status === server.CONFLICT) {
      await recover().catch((again) => update({ error: again.message }));
    }
  }
  clearTimeout(slow);
  update({ busy: null });
  release();
  flush();
  return !app.error;
}

/** @param {Error} error */
function fail(error) {
  if (!(error instanceof server.ServerError)) console.error(error);
  else if (error.status === server.STOPPED) {
    update({ status: error.isSuperseded ? "" : "Stopped; the labels are as they were" });
    return;
  }
  update({ error: error.message, status: "" });
}

/**
 * Do something that nobody waits for: that it cannot be had is no more than noted.
 * @template T
 * @param {string} what
 * @param {Promise<T>} work
 * @returns {Promise<T | null>}
 */
export const attempt = (what, work) => work.catch((error) => {
  console.warn(`${what}: ${error.message}`);
  return null;
});

/** @param {Partial<import("./state.js").Request>} patch */
function patchBusy(patch) {
  if (app.busy) update({ busy: { ...app.busy, ...patch } });
}

/** @param {string} token @param {Partial<Job>} patch */
function patchJob(token, patch) {
  if (app.busy?.job?.token === token) patchBusy({ job: { ...app.busy.job, ...patch } });
}

/**
 * Do something that takes a token by which it can be asked about and stopped.
 *
 * `kind` is what the job is called among the page's own: "run" for labels, which a newer run makes useless.
 * @template T
 * @param {string} kind
 * @param {(token: string) => Promise<T>} work
 */
export async function follow(kind, work) {
  const { h5ad } = layer(), token = newToken();
  patchBusy({ job: { kind, h5ad, token, stage: null, share: null, isStopping: false, isSuperseded: false } });
  let timer = setTimeout(ask, FIRST);
  try {
    return await work(token);
  } catch (error) {
    if (error instanceof server.ServerError) error.isSuperseded = app.busy?.job?.isSuperseded ?? false;
    throw error;
  } finally {
    clearTimeout(timer);
    timer = 0;
    patchBusy({ job: null });
  }

  async function ask() {
    try {
      patchJob(token, await server.progress({ h5ad, job: token }));
    } catch { /* the request itself tells what is wrong with the server */ }
    if (timer) timer = setTimeout(ask, EVERY);
  }
}

/** Stop what is under way, if it can be; returns whether there was something. */
export function stop() {
  const job = app.busy?.job;
  if (!job) return false;
  if (!job.isStopping) {
    patchJob(job.token, { isStopping: true });
    // What goes wrong with it is told by the request itself.
    server.cancel({ h5ad: job.h5ad, job: job.token }).catch(() => patchJob(job.token, { isStopping: false }));
  }
  return true;
}

/** Stop what a change makes useless; returns its kind, or null. */
export function supersede() {
  const job = app.busy?.job;
  if (!job) return null;
  patchJob(job.token, { isSuperseded: true });
  stop();
  return job.kind;
}

// Not crypto.randomUUID, which pages have on https and localhost only.
export const newToken = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => LETTERS[byte % LETTERS.length]).join("");
