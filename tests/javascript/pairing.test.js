import assert from "node:assert/strict";
import { test } from "node:test";

import { deckOf, left, pairOf, question } from "../../tissuumaps_sic/plugin/SIC_page/pairing.js";

const PAIRS = [
  { names: ["Tumour", "Glands"], patches: [5, 2, 9], count: 12 },
  { names: ["Glands", "Stroma"], patches: [7, 1], count: 2 },
];

test("cards ask pair by pair, and each tells which of its pair it is", () => {
  const deck = deckOf(PAIRS);
  assert.deepEqual(deck.rows, [5, 2, 9, 7, 1]);
  assert.deepEqual(deck.rows.map((row) => { const { pair, number, all } = pairOf(deck, row); return [question(pair), number, all]; }), [
    ["Tumour or Glands?", 1, 3], ["Tumour or Glands?", 2, 3], ["Tumour or Glands?", 3, 3], ["Glands or Stroma?", 1, 2], ["Glands or Stroma?", 2, 2]]);
});

test("what was answered or cannot be told is not left", () => {
  assert.equal(left(PAIRS[0], (row) => row === 2), 2);
  assert.equal(left(PAIRS[1], () => false), 2);
});
