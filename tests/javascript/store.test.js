import assert from "node:assert/strict";
import { test } from "node:test";

import { makeStore } from "../../tissuumaps_sic/plugin/SIC_page/store.js";

/** A store, and how often each of its fields was told of. */
function watched(initial) {
  const store = makeStore(initial);
  const told = Object.fromEntries(Object.keys(initial).map((name) => [name, 0]));
  for (const name of Object.keys(initial)) store.subscribe(() => [store.view[name]], () => { told[name]++; });
  return { ...store, told };
}

test("what is held is read through the view and written by update alone", () => {
  const { view, update } = makeStore({ active: 1, name: "a" });
  update({ active: 2 });
  assert.deepEqual({ ...view }, { active: 2, name: "a" });
  assert.throws(() => { view.active = 3; }, TypeError);
  assert.throws(() => { view.other = 3; }, TypeError);
  assert.throws(() => update({ other: 3 }), /no field “other”/);
  assert.equal(view.active, 2);
});

test("those who look at a field are told once of all that a task changes, and others not", async () => {
  const { update, told } = watched({ a: 0, b: 0 });
  update({ a: 1 });
  update({ a: 2 });
  assert.deepEqual(told, { a: 0, b: 0 });
  await null;
  assert.deepEqual(told, { a: 1, b: 0 });
  update({ a: 3 });
  update({ a: 2 });
  await null;
  assert.deepEqual(told, { a: 1, b: 0 });
});

test("an equal answer changes nothing, and of another one only the parts that differ", async () => {
  const answer = () => ({ classes: [{ name: "Other", color: "#fff" }], seeds: { patches: [1, 2] }, run: null });
  const { view, update, flush, subscribe, told } = watched({ state: answer() });
  const before = view.state;
  update({ state: answer() });
  flush();
  assert.equal(view.state, before);
  let seeds = 0;
  subscribe(() => [view.state.seeds], () => { seeds++; });
  update({ state: { ...answer(), run: { method: "sic" } } });
  flush();
  assert.equal(view.state.seeds, before.seeds);
  assert.equal(view.state.classes, before.classes);
  assert.deepEqual(view.state.run, { method: "sic" });
  update({ state: { ...answer(), seeds: { patches: [1, 2, 3] } } });
  flush();
  assert.deepEqual([told.state, seeds], [2, 1]);
});

test("arrays of numbers are other ones whenever they are not the same", () => {
  const { view, update } = makeStore({ labels: Uint8Array.of(1, 2) });
  const labels = Uint8Array.of(1, 2);
  update({ labels });
  assert.equal(view.labels, labels);
});

test("while it is held nobody is told, but by flush, and then at once", async () => {
  const { update, hold, release, flush, told } = watched({ a: 0 });
  hold();
  update({ a: 1 });
  await null;
  assert.equal(told.a, 0);
  flush();
  assert.equal(told.a, 1);
  update({ a: 2 });
  await null;
  assert.equal(told.a, 1);
  release();
  await null;
  assert.equal(told.a, 2);
});

test("who is prompt is told while others are held", async () => {
  const { view, update, hold, subscribe, told } = watched({ pointed: null });
  let prompt = 0;
  subscribe(() => [view.pointed], () => { prompt++; }, true);
  hold();
  update({ pointed: 3 });
  await null;
  assert.deepEqual([prompt, told.pointed], [1, 0]);
});

test("who is not ready is told later", () => {
  const { view, update, flush, subscribe } = makeStore({ a: 0, isTyping: false });
  const seen = [];
  subscribe(() => (view.isTyping ? null : [view.a]), () => seen.push(view.a));
  update({ a: 1, isTyping: true });
  flush();
  assert.deepEqual(seen, []);
  update({ isTyping: false });
  flush();
  assert.deepEqual(seen, [1]);
});

test("who has gone is not told, even by what another one does at that moment", () => {
  const { view, update, flush, subscribe } = makeStore({ a: 0 });
  let calls = 0;
  subscribe(() => [view.a], () => stop());
  const stop = subscribe(() => [view.a], () => { calls++; });
  update({ a: 1 });
  flush();
  assert.equal(calls, 0);
});

test("a listener that fails leaves the others to be told, and is heard of", (context) => {
  const soon = [];
  context.mock.method(globalThis, "queueMicrotask", (work) => soon.push(work));
  const { view, update, flush, subscribe } = makeStore({ a: 0 });
  let calls = 0;
  subscribe(() => [view.a], () => { throw new Error("broken"); });
  subscribe(() => [view.a], () => { calls++; });
  update({ a: 1 });
  flush();
  assert.equal(calls, 1);
  assert.throws(() => soon.forEach((work) => work()), /broken/);
});

test("reset brings back how everything began", () => {
  const { view, update, reset } = makeStore({ a: 0, list: [] });
  update({ a: 1, list: [1] });
  reset();
  assert.deepEqual({ ...view }, { a: 0, list: [] });
});

test("what a module remembers begins anew with the rest", () => {
  const { memory, reset } = makeStore({ a: 0 });
  const own = memory(() => ({ asked: "", given: new Set() })), { given } = own;
  own.asked = "row 3";
  own.given.add(3);
  reset();
  assert.deepEqual(own, { asked: "", given: new Set() });
  assert.notEqual(own.given, given);
});
