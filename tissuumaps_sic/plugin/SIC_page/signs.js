/** What tells classes apart beside their colours, of which no more than seven are told apart by everybody. */

const COLORS = 7;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DASHES = ["8 4", "2 4", "10 3 2 3", "4 2"];

/** The letter of a class by its place in the list, from 0 on; "" of the first seven. @param {number} place */
export function signOf(place) {
  if (place < COLORS) return "";
  const n = place - COLORS, round = Math.floor(n / LETTERS.length);
  return LETTERS[n % LETTERS.length] + (round ? String(round + 1) : "");
}

/** How a class's line is dashed, as SVG has it; "" of the first seven, whose lines are whole. @param {number} place */
export const dashOf = (place) => (place < COLORS ? "" : DASHES[(place - COLORS) % DASHES.length]);
