/** Seeds on their way to the server: kept in the page until they are there, whatever happens meanwhile. */

import { download } from "./downloads.js";
import { isHere, readKept, writeKept } from "./kept.js";
import { reload, takeState } from "./open.js";
import { drawSeeds } from "./overlay.js";
import { enqueue } from "./requests.js";
import * as server from "./server.js";
import { app, current, layer, noteSaved, sessionRequest, subscribe, tell, update, user } from "./state.js";

/** @import { Unsent } from "./state.js" */

const KEPT = "SIC.unsent"; // in this tab, so that a reload loses nothing and no other tab sends them too
const AGAIN = 2000; // ms until a server that was away is asked again
const MOST_CONFLICTS = 5;
// What is not for good: nobody there, or no room; what the server will not have is told and dropped.
const PASSING = [0, 403, 500, 502, 503, 504, 507], POLLED = [0, 502, 503, 504];

let timer = 0;

/** @returns {Unsent[]} */
const stored = () => readKept(KEPT);

/** Keep what is unsent of this session, and what is of others. @param {Unsent[]} unsent */
function keep(unsent) {
  writeKept(KEPT, unsent);
  update({ unsent });
}

/**
 * Seed patches, or (`label` null) take their seeds back; or answer a patch of the check, null where one cannot tell. What cannot be
 * sent now is kept.
 * @param {{ label: number | null, patches: number[], isAnswer?: boolean }} seeds
 */
export async function sendSeeds({ label, patches, isAnswer = false }) {
  // By its name: another tab may change which class has which number.
  const name = label === null ? null : current().classes[label].name;
  keep([...app.unsent, { h5ad: layer().h5ad, session: app.session, name, patches, user: user(), time: new Date().toISOString(), ...isAnswer ? { isAnswer } : {} }]);
  await sendAll();
}

/** Send what is kept, in order, on what others have changed meanwhile. */
async function sendAll() {
  let conflicts = 0;
  clearTimeout(timer);
  while (app.unsent.length) {
    const [first, ...rest] = app.unsent;
    try {
      const label = labelOf(first), { patches, isAnswer } = first, { flips } = app;
      takeState(await server.change(sessionRequest({ user: first.user,
        change: isAnswer ? { kind: "answer", label, patch: patches[0] } : { kind: "seed", label, patches } })));
      if (isAnswer) update({ flips }); // which seeds alone change
    } catch (error) {
      if (error instanceof server.ServerError && error.status === server.CONFLICT && conflicts++ < MOST_CONFLICTS) {
        await reload();
        continue;
      }
      throw explain(/** @type {Error} */ (error), rest);
    }
    keep(rest);
    noteSaved();
  }
}

/** @param {Unsent} seeds */
function labelOf({ name }) {
  if (name === null) return null;
  const label = current().classes.findIndex((each) => each.name === name);
  if (label < 0) {
    throw new Error(`The class “${name}” is no longer there. Clicks of it are kept: add the class again, or save them as a file.`);
  }
  return label;
}

/** Keep what can be sent later, drop what the server refuses; returns what is told. @param {Error} error @param {Unsent[]} rest */
function explain(error, rest) {
  if (!(error instanceof server.ServerError)) return error;
  if (!PASSING.includes(error.status)) {
    // A fault of the file is no fault of the click.
    if (error.status !== server.CONFLICT) keep(rest);
    return error;
  }
  if (POLLED.includes(error.status)) timer = setTimeout(sendAgain, AGAIN);
  drawSeeds();
  return new server.ServerError(error.status, error.status === 0
    ? "The server does not answer. Clicks are kept in this page, and sent when it is back."
    : `${error.message}. Clicks are kept in this page; save them as a file, or try again.`);
}

/** Try again to send what is kept. */
export function sendAgain() {
  return enqueue("Saving the clicks that were kept", async () => {
    const n = app.unsent.length;
    if (!n) return;
    await sendAll();
    drawSeeds();
    update({ status: n === 1 ? "The click that was kept is saved" : `All ${n} clicks that were kept are saved` });
  }, true);
}

/** Give what is kept back as a file. */
export function saveUnsent() {
  const { h5ad, session, unsent } = { ...layer(), session: app.session, unsent: app.unsent };
  const content = { schema: "tissuumaps-sic/clicks/1", h5ad, session, n_patches: current().n_patches, clicks: unsent };
  const name = `${current().slide}.clicks.json`;
  download(name, JSON.stringify(content, null, 1), "application/json");
  tell(`${name} is in your downloads; “Clicks from a file” in the history brings them back`);
}

/** Take clicks from a file of `saveUnsent`. @param {File} file */
export async function takeFile(file) {
  let content;
  try {
    content = JSON.parse(await file.text());
  } catch { /* told below */ }
  const { n_patches: n } = current();
  const isOurs = content?.schema === "tissuumaps-sic/clicks/1" && content.n_patches === n && Array.isArray(content.clicks)
    && content.clicks.every(isClick);
  if (!isOurs) {
    update({ error: `${file.name} holds no clicks of this slide: choose a file that “Save as a file” gave here` });
    return;
  }
  const here = content.clicks.map((/** @type {Unsent} */ each) => ({ ...each, h5ad: layer().h5ad, session: app.session }));
  keep([...app.unsent, ...here]);
  await sendAgain();
}

/** @param {Unsent} each */
const isClick = (each) => Array.isArray(each?.patches) && each.patches.length > 0 && each.patches.every(Number.isInteger)
  && (each.name === null || typeof each.name === "string") && typeof each.user === "string";

/** Keep to the session that is open, and send what was kept of it before; returns how to stop that. */
export function followOutbox() {
  const stop = subscribe(() => (app.state && !app.busy ? [app.layer, app.session] : null), () => {
    update({ unsent: stored().filter(isHere) });
    if (app.unsent.length) sendAgain();
  });
  return () => {
    clearTimeout(timer);
    stop();
  };
}
