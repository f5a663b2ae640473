/** How far one can trust the labels, and what to do next, in one sentence: as far as it is known. */

import { share } from "./dom.js";

/**
 * @typedef {object} Known
 * @property {number | null} flips share of the labels that change when seeds are resampled
 * @property {number | null} accuracy share of the seeds whose class the others say too
 * @property {number} doubtful seeds that the others contradict
 * @property {boolean} isThin whether some class has so few seeds that resampling them tells little
 * @property {boolean} isLabelled whether there are labels
 */

const SETTLED = 0.02; // share of labels that hang on single seeds, below which more clicks change little

/** @param {Known} known */
export function tellTrust({ flips, accuracy, doubtful, isThin, isLabelled }) {
  const isSettled = flips !== null && flips < SETTLED && !isThin;
  const parts = [
    flips === null ? "" : `${isSettled ? "settled: " : ""}${share(flips, 1)} of the labels hang on single seeds`,
    accuracy === null ? "" : `the seeds agree with each other on ${Math.floor(100 * accuracy)} in 100`,
  ].filter(Boolean).join("; ");
  const look = doubtful === 1 ? "Look at the doubtful seed." : `Look at ${doubtful} doubtful seeds.`;
  const go = isSettled ? "Few labels would change with more clicks." : "Press N for the next patch.";
  return {
    isSettled,
    known: parts && `${parts.charAt(0).toUpperCase()}${parts.slice(1)}.`,
    advice: doubtful ? look : isLabelled ? go : "Run to see the labels (Space).",
  };
}
