import assert from "node:assert/strict";
import { test } from "node:test";

import { daysAgo, tellDay, tellStep } from "../../tissuumaps_sic/plugin/SIC_page/days.js";
import { legendKeys, plainName } from "../../tissuumaps_sic/plugin/SIC_page/legend.js";
import { pairUp } from "../../tissuumaps_sic/plugin/SIC_page/pairs.js";
import { dashOf, signOf } from "../../tissuumaps_sic/plugin/SIC_page/signs.js";
import { reset, update } from "../../tissuumaps_sic/plugin/SIC_page/state.js";

const at = (day, hour = 12) => new Date(2026, 2, day, hour); // around the day when clocks are set in Europe, 29 March

test("days are those of the calendar, not of 24 hours", () => {
  assert.equal(daysAgo(at(28, 23).toISOString(), at(29, 0)), 1);
  assert.equal(daysAgo(at(29, 0).toISOString(), at(29, 23)), 0);
  assert.equal(daysAgo(at(20).toISOString(), at(30, 1)), 10);
  assert.equal(daysAgo("", at(1)), 0);
  assert.equal(tellDay(at(29).toISOString(), at(30)), "yesterday");
  assert.equal(tellDay(at(30).toISOString(), at(30)), "today");
  assert.equal(tellDay(at(3).toISOString(), at(30)), "March 3");
  assert.equal(tellDay(new Date(2025, 10, 3).toISOString(), at(30)), "November 3, 2025");
});

test("a step is told with its day and who did it, where that is not today and oneself", () => {
  const step = { text: "19 seeds of Other", time: at(29).toISOString(), user: "Anna" };
  assert.equal(tellStep(step, "Anna", at(29)), "19 seeds of Other");
  assert.equal(tellStep(step, "Anna", at(30)), "19 seeds of Other (yesterday)");
  assert.equal(tellStep(step, "Ben", at(30)), "19 seeds of Other (yesterday, Anna)");
});

test("names are given to TissUUmaps so that none is markup, and no two are one", () => {
  const names = ["Barrett's", "T & N", "<5 %", "a b", "a_b", "＜5 %", "__proto__", "constructor", "腫瘍"];
  const keys = legendKeys(names);
  assert.deepEqual([...keys.keys()], names);
  const ids = [...keys.values()].map((key) => key.replaceAll(" ", "_"));
  assert.equal(new Set(ids).size, names.length);
  for (const key of keys.values()) assert.ok(!/[<>&"']/.test(key) && !(key in {}), key);
  assert.equal(keys.get("a b"), "a b");
  assert.equal(plainName("<b>"), "＜b＞");
});

test("classes have the letters that the server has for them, and dashed lines where they have some", () => {
  assert.equal(signOf(1), ""); // before anything is known
  update({ tables: { methods: [], exports: [], most_classes: 64, signs: ["", "A", "B"] } });
  assert.deepEqual([0, 1, 2, 3].map(signOf), ["", "A", "B", ""]);
  assert.equal(dashOf(0), "");
  assert.notEqual(dashOf(1), dashOf(2));
  reset();
});

test("pairs are what one says and the other does not, by names, the most frequent first", () => {
  const mine = [{ name: "Other" }, { name: "Tumour" }], theirs = [{ name: "Tumour" }, { name: "Other" }, { name: "Tumour" }];
  // Same, parted both ways, and a class of theirs that was merged since.
  const { codes, list } = pairUp([0, 1, 0, 1, 0, 0], mine, [1, 0, 0, 1, 2, 0], theirs);
  assert.deepEqual(list.map(({ mine: one, theirs: other, n }) => [one, other, n]), [["Other", "Tumour", 3], ["Tumour", "Other", 1]]);
  assert.deepEqual([...codes], [0, 0, 1, 2, 1, 1]);
  assert.notEqual(list[0].color, list[1].color);
  assert.deepEqual(pairUp([], mine, [], theirs).list, []);
});
