/** Lists that this tab keeps, of one session beside those of others: a reload loses nothing, and no other tab has them too. */

import { app } from "./state.js";

/** @typedef {{ h5ad: string, session: string }} Place of a session */

/** Whether something is of the session that is open. @param {Place} each */
export const isHere = (each) => each.h5ad === app.layer?.h5ad && each.session === app.session;

/** @param {string} key @returns {any[]} */
export function readKept(key) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(key) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

/** Keep what is of the session that is open, in place of what was. @param {string} key @param {Place[]} mine */
export function writeKept(key, mine) {
  try {
    sessionStorage.setItem(key, JSON.stringify([...readKept(key).filter((each) => !isHere(each)), ...mine]));
  } catch { /* no room, such as for a lasso of a million: it is kept in the page alone */ }
}
