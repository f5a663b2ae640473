import assert from "node:assert/strict";
import { test } from "node:test";

import { app, doubtfulSeeds, flush, isUntold, reset, update } from "../../tissuumaps_sic/plugin/SIC_page/state.js";
import { forgetSuggested, goOn, noteGiven, showCard } from "../../tissuumaps_sic/plugin/SIC_page/cards.js";
import { tellTrust } from "../../tissuumaps_sic/plugin/SIC_page/trust.js";

const session = (labels, more = {}) => ({
  classes: [{ name: "Other" }, { name: "Tumour" }], listed: [1, 0], skipped: [], borrowed: [], run: null,
  seeds: { patches: labels.map((_, row) => row), labels }, ...more,
});

/** Begin with a session, or go on with another state of it. */
const open = (state, isFirst = true) => {
  if (isFirst) {
    reset();
    forgetSuggested();
  }
  update({ state, tables: { methods: [], exports: [], most_classes: 64, fewest_seeds: 6, signs: [] } });
  flush();
};

test("seeds tell what is in doubt from six of two classes on, borrowed ones and those on their way among them", () => {
  open(session([1, 1, 1, 1, 1, 1, 1]));
  assert.ok(isUntold());
  assert.ok(!isUntold(new Map([[90, 0]])));
  open(session([1, 0, 1, 0, 1]));
  assert.ok(isUntold());
  assert.ok(isUntold(new Map([[4, 0]]))); // a seed anew
  assert.ok(!isUntold(new Map([[90, 0]])));
  open(session([1], { borrowed: [{ counts: [5, 0] }] }));
  assert.ok(!isUntold());
});

test("typical patches give way once seeds tell more, also those that are not saved yet", () => {
  open(session([1, 0, 1, 0]));
  showCard({ kind: "suggested", rows: [20, 21, 22, 23], place: 0, isCold: true });
  noteGiven(20, 1);
  assert.ok(goOn("suggested"));
  assert.equal(app.card.place, 1);
  noteGiven(21, 0);
  assert.ok(!goOn("suggested"));
  // What comes then is of what is in doubt, and stays to its end.
  showCard({ kind: "suggested", rows: [30, 31], place: 0, isCold: false });
  assert.ok(goOn("suggested"));
  assert.ok(!goOn("suggested"));
});

test("a doubtful seed is one as long as it is of the class that was doubted", () => {
  open(session([1, 0, 1]));
  assert.deepEqual(doubtfulSeeds(), []);
  const doubts = [{ patch: 0, label: 1, expected: 0, score: 0.9 }, { patch: 2, label: 1, expected: 0, score: 0.8 }];
  update({ doubts: { of: "", doubtful: doubts, accuracy: 0.5, judged: 3 } });
  assert.deepEqual(doubtfulSeeds().map(({ patch }) => patch), [0, 2]);
  open(session([0, 0, 1]), false);
  assert.deepEqual(doubtfulSeeds().map(({ patch }) => patch), [2]);
});

test("one sentence tells what is known, and what to do next", () => {
  const nothing = { flips: null, judged: null, doubtful: 0, isThin: false, isLabelled: true };
  assert.deepEqual(tellTrust(nothing), { isSettled: false, known: "", advice: "Press N for the next patch." });
  assert.deepEqual(tellTrust({ ...nothing, flips: 0.124, judged: { accuracy: 11 / 12, judged: 12 } }), { isSettled: false,
    known: "12 % of the labels hang on single seeds; 11 of 12 seeds agree with the others.", advice: "Press N for the next patch." });
  assert.deepEqual(tellTrust({ ...nothing, flips: 0.011 }), { isSettled: true, known: "Settled: 1.1 % of the labels hang on single seeds.",
    advice: "Few labels would change with more clicks." });
  assert.equal(tellTrust({ ...nothing, flips: 0.011, doubtful: 2 }).advice, "Look at 2 doubtful seeds.");
  assert.equal(tellTrust({ ...nothing, judged: { accuracy: 0.9, judged: 10 }, doubtful: 1 }).advice, "Look at the doubtful seed.");
  assert.equal(tellTrust({ ...nothing, judged: { accuracy: 1, judged: 4 } }).known, "All 4 seeds agree with the others.");
  assert.equal(tellTrust({ ...nothing, judged: { accuracy: null, judged: 0 } }).known, "");
  // A class of one seed is the same however its seeds are drawn.
  assert.equal(tellTrust({ ...nothing, flips: 0, isThin: true }).advice, "Press N for the next patch.");
  assert.equal(tellTrust({ ...nothing, flips: 0, isLabelled: false }).advice, "Run to see the labels (Space).");
});
