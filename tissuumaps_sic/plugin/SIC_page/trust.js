/** How far one can trust the labels, and what to do next, in one sentence: as far as it is known. */

import { share } from "./dom.js";

const SETTLED = 0.02; // share of labels that hang on single seeds, below which more clicks change little

/**
 * @param {number | null} flips share of the labels that change when seeds are resampled
 * @param {number | null} accuracy share of the seeds whose class the others say too
 * @param {number} n seeds that the others contradict
 */
export function tellTrust(flips, accuracy, n) {
  const isSettled = flips !== null && flips < SETTLED;
  const parts = [
    flips === null ? "" : `${isSettled ? "settled: " : ""}${share(flips, 1)} of the labels hang on single seeds`,
    accuracy === null ? "" : `the seeds agree with each other on ${Math.floor(100 * accuracy)} in 100`,
  ].filter(Boolean).join("; ");
  return {
    isSettled,
    known: parts && `${parts.charAt(0).toUpperCase()}${parts.slice(1)}.`,
    advice: n ? `Look at ${n === 1 ? "the doubtful seed" : `${n} doubtful seeds`}.`
      : isSettled ? "Few labels would change with more clicks." : "Press N for the next patch.",
  };
}
