/** What tells classes apart beside their colours, of which no more than a few are told apart by everybody. */

import { app } from "./state.js";

const DASHES = ["8 4", "2 4", "10 3 2 3", "4 2"];

/** The letter of a class by its place in the list, from 0 on; "" of those that colours tell. @param {number} place */
export const signOf = (place) => app.tables?.signs[place] ?? "";

/** How a class's line is dashed, as SVG has it; "" of those that colours tell, whose lines are whole. @param {number} place */
export const dashOf = (place) => (signOf(place) ? DASHES[place % DASHES.length] : "");

const DARK = "#111", PALE = "#fff", LEAST = 2; // lines under coloured ones; contrast of these two

/** Luminance of a colour, as WCAG has it. @param {string} color #rrggbb */
function luminanceOf(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** The line under one of a class's colour: dark, so that it is seen on glass and on its own label, but under what is dark itself. @param {string} color */
export const backingOf = (color) => ((luminanceOf(color) + 0.05) / (luminanceOf("#111111") + 0.05) < LEAST ? PALE : DARK);
