/** Patches that one is asked about one by one, on a card. */

import { app, current, isUntold, memory, seededLabels, show } from "./state.js";

/** @import { Asked } from "./asked.js" */
/** @import { Opinion } from "./pairing.js" */

/** @typedef {"suggested" | "disputed" | "unlike" | "opinion" | "check"} Kind */
/** @typedef {{ what: "suggest" | "opinion", method: string, embedding: string, n: number, shown: number[], revision: number }} Source what patches were asked
 * for by, and of which revision of the session */
/** @typedef {{ kind: Kind, rows: number[], place: number, isCold?: boolean, asked?: Asked, pairs?: Opinion[], source?: Source }} Deck cold: typical of the
 * slide, while too few seeds tell what is in doubt; asked: what a check has been told; pairs: of classes that a second opinion takes for each other */

/** Where the next patch is that `isDone` does not hold of; -1 where there is none. @param {Deck} deck @param {(row: number) => boolean} isDone */
export const nextPlace = ({ rows, place }, isDone) => rows.findIndex((row, i) => i > place && !isDone(row));

const suggested = memory(() => ({ kept: /** @type {Deck | null} */ (null), given: /** @type {Map<number, number>} */ (new Map()) })); // kept: for
// when the card was closed; given: classes that were given on its cards, which may not be saved yet

/** Whether the person has said something of a patch. @param {number} row */
export const isDone = (row) => seededLabels().has(row) || current().skipped.includes(row);

/** Show a card. @param {Deck} deck */
export function showCard(deck) {
  if (deck.kind === "suggested" && deck.rows !== suggested.kept?.rows) suggested.given.clear();
  if (deck.kind === "suggested") suggested.kept = deck;
  show({ card: deck });
}

export function closeCard() {
  show({ card: null, suggested: null });
}

/** Forget what was suggested: of another slide or session, or seen to its end. */
export function forgetSuggested() {
  suggested.kept = null;
  suggested.given.clear();
}

/** Note the class that was given to the patch on a card. @param {number} row @param {number} label */
export const noteGiven = (row, label) => { suggested.given.set(row, label); };

/** Whether suggestions made without seeds are to give way to those that seeds make. @param {Deck} deck */
const isOutgrown = (deck) => Boolean(deck.isCold) && !isUntold(suggested.given);

/** Go on to the next of the patches of a kind that nothing was said of; returns whether there is one. @param {Kind} kind */
export function goOn(kind) {
  const deck = app.card?.kind === kind ? app.card : kind === "suggested" ? suggested.kept : null;
  const place = deck ? nextPlace(deck, isDone) : -1;
  if (!deck || place < 0 || isOutgrown(deck)) return false;
  showCard({ ...deck, place });
  return true;
}

export function goBack() {
  if (app.card && app.card.place > 0) showCard({ ...app.card, place: app.card.place - 1 });
}
