import assert from "node:assert/strict";
import { test } from "node:test";

import { answered, isEnough, placeOf, renewed } from "../../tissuumaps_sic/plugin/SIC_page/asked.js";
import { app, flush, isBlind, isSeeding, reset, seededNow, update } from "../../tissuumaps_sic/plugin/SIC_page/state.js";
import { tellCheck } from "../../tissuumaps_sic/plugin/SIC_page/trust.js";

const begin = (rows, more = {}) => ({ kind: "check", rows, place: 0, asked: { before: 0, unclear: 0, goal: 40, said: new Map(), ...more } });
const row = ({ rows, place }) => rows[place];

test("answers go on to the next patch without one, and are counted with those of before", () => {
  let deck = begin([7, 3, 9, 5], { before: 12, unclear: 1 });
  assert.deepEqual(placeOf(deck), { number: 13, all: 41 });
  deck = answered(deck, 7, 1);
  assert.equal(row(deck), 3);
  // One that nobody can tell is made up for by another.
  deck = answered(deck, 3, null);
  assert.deepEqual(placeOf(deck), { number: 15, all: 42 });
  // Back, and another answer: on to where one was.
  deck = answered({ ...deck, place: 0 }, 7, 0);
  assert.equal(row(deck), 9);
  assert.deepEqual([...deck.asked.said], [[7, 0], [3, null]]);
  assert.equal(answered({ ...deck, place: 3 }, 5, 1).place, -1);
});

test("enough are answered when as many classes were told as are wanted", () => {
  const deck = begin([7, 3, 9], { before: 39, unclear: 1 });
  assert.ok(!isEnough(deck));
  assert.ok(!isEnough(answered(deck, 7, 1)));
  assert.ok(!isEnough(answered(answered(deck, 7, 1), 3, null)));
  assert.ok(isEnough(answered(answered(deck, 7, 1), 3, 0)));
});

test("what the server asks next goes on, leads back to what was undone, and past what was answered elsewhere", () => {
  const none = new Set();
  let deck = answered(answered(begin([7, 3, 9, 5]), 7, 1), 3, null);
  // Both are there: no move, more patches.
  deck = renewed(deck, [9, 5, 2, 4], { answered: 2, unclear: 1 }, none);
  assert.deepEqual([deck.rows, row(deck)], [[7, 3, 9, 5, 2, 4], 9]);
  assert.deepEqual(placeOf(deck), { number: 3, all: 41 });
  // An answer that is still on its way is not one that was taken back.
  const fast = answered(deck, 9, 1);
  assert.equal(row(renewed(fast, [9, 5, 2, 4], { answered: 2, unclear: 1 }, new Set([9]))), 5);
  assert.equal(row(renewed(fast, [9, 5, 2, 4], { answered: 2, unclear: 1 }, none)), 9);
  // Undone, also from before this sitting.
  const undone = renewed(deck, [3, 9, 5, 2], { answered: 1, unclear: 0 }, none);
  assert.deepEqual([row(undone), undone.asked.said.has(3)], [3, false]);
  assert.deepEqual(placeOf(undone), { number: 2, all: 40 });
  const earlier = renewed(begin([7, 3], { before: 5 }), [8, 7, 3], { answered: 4, unclear: 0 }, none);
  assert.deepEqual([row(earlier), placeOf(earlier).number], [8, 5]);
  // Done again, or by another window.
  assert.equal(row(renewed(undone, [9, 5, 2, 4], { answered: 2, unclear: 1 }, none)), 9);
  // Who has gone back stays there.
  assert.equal(row(renewed({ ...deck, place: 0 }, [9, 5, 2, 4], { answered: 2, unclear: 1 }, none)), 7);
});

test("while a check asks nothing is seeded, and its answers are no seeds", () => {
  reset();
  const state = { classes: [{ name: "Other" }, { name: "Tumour" }], seeds: { patches: [4], labels: [0] } };
  update({ state, unsent: [{ name: "Tumour", patches: [8], isAnswer: true }, { name: "Tumour", patches: [9] }] });
  flush();
  assert.ok(isSeeding() && !isBlind());
  assert.deepEqual([...seededNow()], [[4, 0], [9, 1]]);
  update({ card: begin([7]) });
  assert.ok(isBlind() && !isSeeding());
  update({ isClosed: true });
  assert.ok(!isBlind());
  assert.equal(app.card.kind, "check");
  reset();
});

test("the sentence tells of the check: that there is none, how far it is, what it says, or that it is void", () => {
  const quality = { state: "none", wanted: 40, answers: 0, accuracy: null, classes: [], halved: "" };
  assert.equal(tellCheck(quality), "Check 40 patches to know how good they are.");
  assert.equal(tellCheck({ ...quality, state: "few", answers: 6 }), "The check goes on: 6 of 40 answered.");
  assert.equal(tellCheck({ ...quality, state: "void", answers: 30 }), "The check is void: begin another.");
  const figure = { value: 0.9136, low: 0.84, high: 0.9649 };
  const ready = { ...quality, state: "ready", answers: 42, halved: "Tumour", accuracy: { value: 0.9, low: 0.8, high: 0.95 },
    classes: [{ name: "Other", f1: null }, { name: "Tumour", f1: figure }] };
  assert.equal(tellCheck(ready), "F1 of Tumour: 0.91 (0.84 to 0.96), by a check of 42 patches.");
  assert.equal(tellCheck({ ...ready, halved: "Other" }), "Labels that are right: 0.90 (0.80 to 0.95), by a check of 42 patches.");
});
