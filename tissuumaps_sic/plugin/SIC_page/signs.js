/** What tells classes apart beside their colours, of which no more than a few are told apart by everybody. */

import { app } from "./state.js";

const DASHES = ["8 4", "2 4", "10 3 2 3", "4 2"];

/** The letter of a class by its place in the list, from 0 on; "" of those that colours tell. @param {number} place */
export const signOf = (place) => app.tables?.signs[place] ?? "";

/** How a class's line is dashed, as SVG has it; "" of those that colours tell, whose lines are whole. @param {number} place */
export const dashOf = (place) => (signOf(place) ? DASHES[place % DASHES.length] : "");
