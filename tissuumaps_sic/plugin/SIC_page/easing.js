/** Colours over the slide that fade as one comes nearer, where it is the tissue that one wants to see. */

const FAR = 64, NEAR = 256; // CSS pixels of a patch on the screen: at 10x and at 40x, as patches are made
const LEAST = 0.4; // of the opacity that was chosen
const STEPS = 20; // so that not every step of the wheel draws the labels anew

/** The opacity of colours over patches that are so large on the screen. @param {number} opacity @param {number} side */
export function ease(opacity, side) {
  const nearness = Math.min(1, Math.max(0, Math.log(side / FAR) / Math.log(NEAR / FAR)));
  return opacity * (1 - (1 - LEAST) * Math.round(nearness * STEPS) / STEPS);
}
