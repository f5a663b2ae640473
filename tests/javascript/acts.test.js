import assert from "node:assert/strict";
import { test } from "node:test";

import { groupSteps } from "../../tissuumaps_sic/plugin/SIC_page/acts.js";

const step = (position, second, more = {}) => ({ branch: null, position, text: `step ${position}`, user: "Anna", n: 1, together: "seeds of Tumour",
  time: new Date(2026, 2, 1, 12, 0, second).toISOString(), ...more });
const told = (steps, present = steps[0].position) => groupSteps(steps, present).map((act) => [act.text, act.steps.length]);

test("clicks of one class, one soon after the other, are one act", () => {
  const steps = [step(4, 100), step(3, 50, { n: 12 }), step(2, 20), step(1, 0)];
  assert.deepEqual(told(steps), [["15 seeds of Tumour", 4]]);
  assert.deepEqual(told([step(3, 190), step(2, 20), step(1, 0)]), [["step 3", 1], ["2 seeds of Tumour", 2]]);
  assert.deepEqual(told([]
    .concat(step(2, 10, { together: "", n: 0 }), step(1, 0))), [["step 2", 1], ["step 1", 1]]);
});

test("another class, person, branch or pause begins another", () => {
  for (const more of [{ together: "seeds of Other" }, { user: "Ben" }, { branch: 1 }, { position: 5 }, { time: "" }]) {
    assert.equal(told([step(2, 10, more), step(1, 0)], 9).length, 2, JSON.stringify(more));
  }
});

test("no act reaches across the present point, so that it can be gone to and what is undone is told", () => {
  const steps = [step(4, 30), step(3, 20), step(2, 10), step(1, 0)];
  assert.deepEqual(told(steps, 2), [["2 seeds of Tumour", 2], ["2 seeds of Tumour", 2]]);
  assert.deepEqual(told(steps, 0), [["4 seeds of Tumour", 4]]);
});

test("an act keeps its key when steps join it", () => {
  const key = (steps) => groupSteps(steps, 9)[0].key;
  assert.equal(key([step(2, 10), step(1, 0)]), key([step(3, 20), step(2, 10), step(1, 0)]));
});
