/** What a second opinion asks about on cards, pair of classes by pair: arithmetic alone. */

/** @import { Deck } from "./cards.js" */

/**
 * @typedef {{ names: [string, string], patches: number[], count: number }} Opinion patches to look at, of how many in all, on which one
 *   model says the one class and the other the other
 * @typedef {Deck & { pairs: Opinion[] }} Opinions
 */

/** The cards of some pairs, one pair after the other. @param {Opinion[]} pairs @returns {Opinions} */
export const deckOf = (pairs) => ({ kind: "opinion", rows: pairs.flatMap(({ patches }) => patches), place: -1, pairs });

/** The pair that a patch is asked about for, and which of its patches it is, from 1. @param {Opinions} deck @param {number} row */
export function pairOf({ pairs }, row) {
  const pair = pairs.find(({ patches }) => patches.includes(row)) ?? pairs[0];
  return { pair, number: pair.patches.indexOf(row) + 1, all: pair.patches.length };
}

/** The question that a person is asked. @param {Opinion} pair */
export const question = ({ names: [rare, common] }) => `${rare} or ${common}?`;

/** How many patches of a pair are still to be answered. @param {Opinion} pair @param {(row: number) => boolean} isDone */
export const left = ({ patches }, isDone) => patches.filter((row) => !isDone(row)).length;
