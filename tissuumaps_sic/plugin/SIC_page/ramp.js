/** Colours for a number from 0 to 1, dark for low and bright for high, told apart without red and green too. */

const ANCHORS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // of viridis
const STEPS = 128;

const table = Array.from({ length: STEPS + 1 }, (_, step) => {
  const place = (step / STEPS) * (ANCHORS.length - 1);
  const low = Math.min(Math.floor(place), ANCHORS.length - 2);
  const mixed = ANCHORS[low].map((value, i) => Math.round(value + (ANCHORS[low + 1][i] - value) * (place - low)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
});

/** @param {number} value */
export const shade = (value) => table[Math.round(Math.min(Math.max(value, 0), 1) * STEPS)];

// Where readers say the same; no colour of classes.
export const AGREED = "#c4c9ce";

const PALE = 0.12, STRENGTHS = 32; // of the colour that the least sure patch still has; steps that are drawn
/** @type {Map<string, string[]>} */
const strengths = new Map();

/** A colour as strong as a number from 0 to 1: almost white for 0, itself for 1. @param {string} color @param {number} value */
export function strengthen(color, value) {
  const known = strengths.get(color) ?? Array.from({ length: STRENGTHS + 1 }, (_, step) => {
    const part = PALE + (1 - PALE) * (step / STRENGTHS);
    const mixed = [1, 3, 5].map((at) => Math.round(255 + (parseInt(color.slice(at, at + 2), 16) - 255) * part));
    return `#${mixed.map((each) => each.toString(16).padStart(2, "0")).join("")}`;
  });
  strengths.set(color, known);
  return known[Math.round(Math.min(Math.max(value, 0), 1) * STRENGTHS)];
}

/** From pale to strong, of some colours one below the other. @param {string[]} colors */
export const strengthGradient = (colors) => colors.map((color, place) =>
  `linear-gradient(to right, ${strengthen(color, 0)}, ${color}) 0 ${(100 * place) / Math.max(colors.length - 1, 1)}% / 100% ${
    100 / colors.length}% no-repeat`).join(", ");

export const gradient = () => `linear-gradient(to right, ${table.filter((_, step) => step % 16 === 0).join(", ")})`;
