/** Where somebody wants to go who came by a link from another slide: its page's address tells a patch, and a session. */

import { app, layer, update } from "./state.js";
import * as viewer from "./viewer.js";

const asked = () => new URLSearchParams(window.location.hash.slice(1));

/** Take the session that the address tells. */
export function recallSession() {
  const session = asked().get("sic-session");
  if (session !== null) update({ session });
}

/** Go to the patch that the address tells, once. */
export function goToAsked() {
  const patch = asked().get("sic-patch");
  if (patch === null || !app.layer) return;
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
  const row = Number(patch), { x, y, spacing } = layer().grid;
  if (!Number.isInteger(row) || row < 0 || row >= x.length) return;
  viewer.lookClosely(x[row], y[row], spacing);
  update({ pointed: row });
}
