/** How far one can trust the labels, and what to do next, in one sentence: as far as it is known. */

import { share, tellCount } from "./dom.js";

/** @import { Figure, Quality } from "./server.js" */

/**
 * @typedef {object} Known
 * @property {number | null} flips share of the labels that change when seeds are resampled
 * @property {{ accuracy: number | null, judged: number } | null} judged share of the judged seeds whose class the others say too, and how many those are
 * @property {number} doubtful seeds that the others contradict
 * @property {boolean} isThin whether some class has so few seeds that resampling them tells little
 * @property {boolean} isLabelled whether there are labels
 */

const SETTLED = 0.02; // share of labels that hang on single seeds, below which more clicks change little

/** @param {Known} known */
export function tellTrust({ flips, judged, doubtful, isThin, isLabelled }) {
  const isSettled = flips !== null && flips < SETTLED && !isThin;
  const parts = [
    flips === null ? "" : `${isSettled ? "settled: " : ""}${share(flips, 1)} of the labels hang on single seeds`,
    judged?.judged ? tellAgreed(judged) : "",
  ].filter(Boolean).join("; ");
  const look = doubtful === 1 ? "Look at the doubtful seed." : `Look at ${doubtful} doubtful seeds.`;
  const go = isSettled ? "Few labels would change with more clicks." : "Press N for the next patch.";
  return {
    isSettled,
    known: parts && `${parts.charAt(0).toUpperCase()}${parts.slice(1)}.`,
    advice: doubtful ? look : isLabelled ? go : "Run to see the labels (Space).",
  };
}

/** @param {{ accuracy: number | null, judged: number }} judged */
function tellAgreed({ accuracy, judged }) {
  const agreed = Math.round(judged * (accuracy ?? 0));
  if (agreed === judged && judged > 1) return `all ${judged} seeds agree with the others`;
  return `${agreed} of ${tellCount(judged, "seed")} ${agreed === 1 ? "agrees" : "agree"} with the others`;
}

/** A figure and where the true one lies, in words. @param {Figure} figure */
export const tellFigure = ({ value, low, high }) => `${value.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;

/** What a check tells of the labels, or that there is none, in a sentence. @param {Quality} quality */
export function tellCheck({ state, answers, wanted, accuracy, classes, halved }) {
  const f1 = classes.find(({ name }) => name === halved)?.f1, by = `by a check of ${tellCount(answers, "patch", "patches")}.`;
  if (state === "none") return `Check ${wanted} patches to know how good they are.`;
  if (state === "few") return `The check goes on: ${answers} of ${wanted} answered.`;
  if (state === "void") return "The check is void: begin another.";
  return f1 ? `F1 of ${halved}: ${tellFigure(f1)}, ${by}` : accuracy ? `Labels that are right: ${tellFigure(accuracy)}, ${by}` : `Judged ${by}`;
}
