/** What a check has asked and been told on cards: arithmetic alone. */

/** @import { Deck } from "./cards.js" */

/**
 * @typedef {object} Asked
 * @property {number} before patches of the check that were answered before the first of these
 * @property {number} unclear of them those that nobody could tell
 * @property {number} goal how many answers are wanted
 * @property {Map<number, number | null>} said the class of each patch that was answered here; null: one cannot tell
 * @typedef {Deck & { asked: Asked }} Check
 */

/** @param {Map<number, number | null>} said */
const unclearOf = (said) => [...said.values()].filter((label) => label === null).length;

/** How many classes were told, here and before. @param {Asked} asked */
const toldOf = ({ before, unclear, said }) => before - unclear + said.size - unclearOf(said);

/** Whether as many were told as are wanted. @param {Check} deck */
export const isEnough = ({ asked }) => toldOf(asked) >= asked.goal;

/** Which patch of how many it is; one that nobody can tell is asked for anew. @param {Check} deck */
export const placeOf = ({ place, asked: { before, unclear, goal, said } }) =>
  ({ number: before + place + 1, all: Math.max(goal + unclear + unclearOf(said), before + place + 1) });

/** The check with one more answer, at the next patch that has none: at -1 where there is none. @param {Check} deck @param {number} row @param {number | null} label @returns {Check} */
export function answered(deck, row, label) {
  const said = new Map(deck.asked.said).set(row, label);
  return { ...deck, place: deck.rows.findIndex((each, i) => i > deck.place && !said.has(each)), asked: { ...deck.asked, said } };
}

/**
 * The check as the server asks it now: goes on with what comes, back to an answer that was taken back, past one that was given elsewhere.
 * @param {Check} deck
 * @param {number[]} next the patches without an answer, in order
 * @param {{ answered: number, unclear: number }} sample what the server has
 * @param {Set<number>} onTheWay patches whose answers it has not got yet
 * @returns {Check}
 */
export function renewed(deck, next, sample, onTheWay) {
  const past = deck.rows.filter((row) => !next.includes(row)), rows = [...past, ...next];
  const said = new Map([...deck.asked.said].filter(([row]) => !next.includes(row) || onTheWay.has(row)));
  const present = deck.rows[deck.place], isPresent = next.includes(present) || said.has(present);
  const isBack = next.length > 0 && (!deck.rows.includes(next[0]) || deck.asked.said.has(next[0]) && !said.has(next[0]));
  const goOn = rows.findIndex((row) => next.includes(row) && !said.has(row));
  const here = new Map([...said].filter(([row]) => past.includes(row)));
  return { ...deck, rows, place: isBack || !isPresent ? goOn : rows.indexOf(present),
    asked: { ...deck.asked, said, before: sample.answered - past.length, unclear: sample.unclear - unclearOf(here) } };
}
