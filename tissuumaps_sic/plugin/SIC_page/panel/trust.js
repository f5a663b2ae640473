/** When one may stop: one sentence under Run, with what a check says of the labels. */

import { html, sum } from "../dom.js";
import { showQuality } from "../check.js";
import { app, doubtfulSeeds, isBlind, isUsed, qualityHere } from "../state.js";
import { tellCheck, tellTrust } from "../trust.js";
import { showDoubtful } from "./doubts.js";
import { FEW } from "./steps.js";

/** @import { Session } from "../server.js" */

const WHAT_IT_IS = "Labels that hang on single seeds: the share that would be another if a few of your examples were left out. "
  + "Seeds that agree: every seed is left out in turn and judged by all others; that is said of the seeds, and not of the slide";

const CHECK = "Open “How good is it”. F1 tells in one number how many of the labels are right, and how much was missed: 1 is perfect";

const BLIND = "A check asks: labels, seeds and all that would tell them are hidden until it is left. Esc leaves it; the answers stay.";

/** @type {import("./section.js").Section} */
export const trust = {
  shows: (state) => [app.flips, app.doubts, state.seeds, state.run !== null, app.labels !== null, qualityHere(), isBlind()],
  draw(state) {
    const isLabelled = state.run !== null && app.labels !== null, doubtful = doubtfulSeeds().length;
    if (isBlind()) return [html("div", { id: "sic-stop", class: "sic-stop", role: "status" }, BLIND)];
    if (!isLabelled && app.flips === null) return [];
    const { isSettled, known, advice } = tellTrust({ flips: app.flips, judged: app.doubts, doubtful, isLabelled,
      isThin: state.listed.some((label) => isUsed(label) && nSeeds(state, label) < FEW) });
    return [html("div", { id: "sic-stop", class: "sic-stop", role: "status", title: WHAT_IT_IS },
      known ? html("span", { class: isSettled ? "sic-settled" : "" }, `${known} `) : null,
      doubtful ? html("button", { type: "button", id: "sic-look-doubtful", class: "sic-link", title: "Open the list of seeds, the doubtful ones first",
        onclick: showDoubtful }, advice) : advice,
      isLabelled ? " " : null, isLabelled ? check() : null)];
  },
};

/** What a check says, which leads to all that it says; nothing until the server has told. */
function check() {
  const found = qualityHere()?.found;
  return found ? html("button", { type: "button", id: "sic-look-quality", class: "sic-link", title: CHECK,
    onclick: showQuality }, tellCheck(found)) : null;
}

/** Seeds of a class, here and borrowed. @param {Session} state @param {number} label */
const nSeeds = ({ seeds, borrowed }, label) => seeds.labels.filter((each) => each === label).length
  + sum(borrowed.map((loan) => loan.counts[label]));
