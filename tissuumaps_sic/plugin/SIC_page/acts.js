/** Steps of the history that were one act: clicks of one class by one person, one soon after the other. */

import { count } from "./dom.js";

/** @import { HistoryStep } from "./server.js" */

/** @typedef {{ key: string, text: string, steps: HistoryStep[] }} Act key: the same when steps join it; steps: the newest first */

const SOON = 60_000; // ms between two steps of one act

/**
 * Put steps together that were one act; none reaches across the present point, what lies beyond it is undone.
 * @param {HistoryStep[]} steps the newest first
 * @param {number} present
 * @returns {Act[]}
 */
export function groupSteps(steps, present) {
  /** @type {HistoryStep[][]} */
  const groups = [];
  for (const step of steps) {
    const last = groups.at(-1)?.at(-1);
    if (last && isOne(step, last, present)) groups[groups.length - 1].push(step);
    else groups.push([step]);
  }
  return groups.map((group) => {
    const oldest = group[group.length - 1], n = group.reduce((sum, each) => sum + each.n, 0);
    return { key: `${oldest.branch ?? ""}/${oldest.position}`, steps: group,
      text: group.length > 1 ? `${count(n)} ${oldest.together}` : oldest.text };
  });
}

/** Whether a step and the one after it are of one act. @param {HistoryStep} step @param {HistoryStep} next @param {number} present */
function isOne(step, next, present) {
  const pause = new Date(next.time).getTime() - new Date(step.time).getTime();
  return Boolean(step.together) && step.together === next.together && step.user === next.user && step.branch === next.branch
    && next.position === step.position + 1 && pause <= SOON
    && (step.branch !== null || step.position > present || next.position <= present);
}
