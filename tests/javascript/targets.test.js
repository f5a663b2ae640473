import assert from "node:assert/strict";
import { test } from "node:test";

import { AS_NEW, chosenTarget, LEAVE_OUT, targetChoices, targetOf, tellClass, tellSeeds, toBase64 } from "../../tissuumaps_sic/plugin/SIC_page/targets.js";

const of = (name, target) => ({ name, target, color: null, count: 1, left_out: "", seeds: 1 });
const names = ["Tumour", "Other"];

test("a class of a file may become one of the session's, a new one, or nothing", () => {
  const values = (each) => targetChoices(each, names).map(({ value }) => value);
  assert.deepEqual(values(of("Stroma", "Stroma")), ["Tumour", "Other", AS_NEW, LEAVE_OUT]);
  assert.deepEqual(values(of("tumour ", "Tumour")), ["Tumour", "Other", LEAVE_OUT], "not new, however it is spelt");
  assert.deepEqual(values(of("", null)), ["Tumour", "Other", LEAVE_OUT], "what has no class has no name to be new by");
  assert.deepEqual(values(of("1", "Positive")).length, 4);
});

test("what is chosen is what the server says, and a choice says it back", () => {
  for (const [target, choice] of [["Tumour", "Tumour"], ["Stroma", AS_NEW], [null, LEAVE_OUT]]) {
    const each = of("Stroma", target);
    assert.equal(chosenTarget(each, names), choice);
    assert.equal(targetOf(each, choice), target);
  }
  assert.equal(targetOf(of("Stroma", null), AS_NEW), "Stroma");
  assert.equal(targetOf(of("Stroma", null), "Other"), "Other");
});

test("what would be added is told", () => {
  assert.equal(tellSeeds({ seeds: [] }), "No seed on this slide");
  assert.equal(tellSeeds({ seeds: [{ name: "A", n: 1 }] }), "1 seed: 1 of A");
  assert.equal(tellSeeds({ seeds: [{ name: "A", n: 1200 }, { name: "B", n: 2 }] }), "1,202 seeds: 1,200 of A, 2 of B");
  assert.equal(tellClass(of("", null)), "(no class)");
});

test("bytes become base64 whatever their number", () => {
  const bytes = Uint8Array.from({ length: 100_001 }, (_, i) => i % 251);
  assert.deepEqual(Uint8Array.from(atob(toBase64(bytes)), (letter) => letter.charCodeAt(0)), bytes);
});
