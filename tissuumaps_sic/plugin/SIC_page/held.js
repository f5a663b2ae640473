/** A session that cannot lie beside its slide: the server keeps it until it stops, and the page holds what it has seen last. */

import { download } from "./downloads.js";
import { isHere, readKept, writeKept } from "./kept.js";
import { attempt } from "./requests.js";
import * as server from "./server.js";
import { app, current, isTemporary, layer, request, sessionRequest, subscribe, tell, update } from "./state.js";

/** @import { Session } from "./server.js" */
/** @import { Held } from "./state.js" */

const KEPT = "SIC.held"; // in this tab, so that it survives that the page is loaded again

/** @returns {Held[]} */
const stored = () => readKept(KEPT);

/** @param {Held} held */
function keep(held) {
  writeKept(KEPT, [held]);
  update({ held });
}

/** What is held of the session that is open, or null. */
const heldHere = () => (app.held && isHere(app.held) ? app.held : stored().find(isHere) ?? null);

/** Hold each state of a session that is not on disk; returns how to stop that. */
export const followHeld = () => subscribe(
  () => (app.state && !app.busy ? [app.layer, app.session, app.state.revision, isTemporary()] : null),
  async () => {
    const held = heldHere();
    update({ held });
    if (!isTemporary() || current().revision <= (held?.revision ?? 0)) return;
    const { h5ad } = layer(), { session } = app, { revision } = current();
    const found = await attempt("The session is not held", server.sessionFile(sessionRequest()));
    if (found && app.layer?.h5ad === h5ad && app.session === session) keep({ h5ad, session, revision, ...found });
  });

/** Give what is held to a server that has lost it, as one that was started anew has; returns the session's state. @param {Session} state */
export async function giveBack(state) {
  const held = heldHere();
  if (!isTemporary() || !held || state.revision) return state;
  return await attempt("The session was not given back", server.bring(request({ text: held.text }))) ?? state;
}

/** Have the session as a file: as it is now, or, where the server does not tell, as it was last. */
export async function saveHeld() {
  const found = await attempt("The session is not to be had", server.sessionFile(sessionRequest())) ?? heldHere();
  if (!found) {
    tell("There is nothing to save yet");
    return;
  }
  download(found.name, found.text, "application/json");
  tell(`${found.name} is in your downloads; put beside the slide, it opens again`);
}

/** Have what the server has lost as a file, where somebody has begun anew there meanwhile. */
export function saveLost() {
  const held = heldHere();
  if (held) download(held.name, held.text, "application/json");
}
