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

// What readers label otherwise, and what they do not; neither is a colour of classes that come by default.
export const DISPUTED = "#e6007a";
export const AGREED = "#c4c9ce";

export const gradient = () => `linear-gradient(to right, ${table.filter((_, step) => step % 16 === 0).join(", ")})`;
