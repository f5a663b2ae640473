import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { mount, mountSection, unmount } from "../../tissuumaps_sic/plugin/SIC_page/panel/section.js";
import { app, canView, flush, isSeeded, isUsed, reset, seededLabels, seededNow, show, tellSeeds, update } from "../../tissuumaps_sic/plugin/SIC_page/state.js";

/** As much of an element as a section needs. */
class Fake {
  children = [];
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  contains(other) { return this === other || this.children.some((each) => each.contains?.(other)); }
  focus() { globalThis.document.activeElement = this; }
  listeners = {};
  addEventListener(type, listener) { this.listeners[type] = listener; }
  isUnfolded = false; // whether a list within it is open
  querySelector() { return this.isUnfolded ? this : null; }
  querySelectorAll() { return this.children.filter((each) => each instanceof Fake); }
}

const session = (more = {}) => ({
  classes: [{ name: "Other" }, { name: "Tumour" }], listed: [1, 0], seeds: { patches: [7, 3], labels: [0, 1] }, borrowed: [], run: null, ...more,
});

beforeEach(() => {
  reset();
  flush();
  globalThis.document = { activeElement: null, createElement: () => new Fake(), getElementById: () => null };
});

afterEach(() => {
  unmount();
  delete globalThis.document;
});

test("a section is drawn anew when what it shows has changed, and no other one", () => {
  const panel = new Fake(), drawn = { seeds: 0, classes: 0 };
  for (const part of ["seeds", "classes"]) {
    mountSection(panel, { shows: (state) => [state[part]], draw: () => [`${part} ${++drawn[part]}`] });
  }
  assert.deepEqual(panel.children.map((each) => each.children), [[], []]); // no slide is open
  show({ state: session() });
  assert.deepEqual(panel.children.map((each) => each.children), [["seeds 1"], ["classes 1"]]);
  show({ state: session({ seeds: { patches: [7], labels: [0] } }) });
  show({ state: session({ seeds: { patches: [7], labels: [0] } }), status: "Saved" });
  assert.deepEqual(drawn, { seeds: 2, classes: 1 });
  unmount();
  show({ state: session() });
  assert.deepEqual(drawn, { seeds: 2, classes: 1 });
});

test("a name that is being typed survives a request, and is drawn anew after it", () => {
  const panel = new Fake(), name = Object.assign(new Fake(), { type: "text", id: "" });
  let draws = 0;
  mount(panel, () => [app.status], () => { draws++; return [name]; });
  name.focus();
  show({ busy: { kind: "Running", job: null, isSlow: true }, status: "a" });
  assert.equal(draws, 1);
  show({ busy: null });
  assert.equal(draws, 2);
});

test("a list that is open survives what happens meanwhile, and what holds it is drawn anew once it is closed", async () => {
  const panel = new Fake();
  let draws = 0;
  mount(panel, () => [app.status], () => { draws++; return [new Fake()]; });
  const [node] = panel.children;
  node.isUnfolded = true;
  show({ status: "a" });
  assert.equal(draws, 1);
  node.isUnfolded = false;
  node.listeners.toggle();
  await null; // the store tells once the present task is through
  assert.equal(draws, 2);
});

test("what had the focus has it again", () => {
  const panel = new Fake(), made = [];
  globalThis.document.getElementById = (id) => made.findLast((each) => each.id === id);
  mount(panel, () => [app.active], () => {
    made.push(Object.assign(new Fake(), { type: "radio", id: "sic-class-1" }));
    return [made.at(-1)];
  });
  made[0].focus();
  show({ active: 0 });
  assert.equal(made.length, 2);
  assert.equal(globalThis.document.activeElement, made[1]);
});

test("a run needs two classes with seeds, here or borrowed; one without is not used", () => {
  update({ state: session() });
  assert.ok(isSeeded());
  update({ state: session({ seeds: { patches: [7], labels: [0] } }) });
  assert.ok(!isSeeded());
  update({ state: session({ seeds: { patches: [7], labels: [0] }, borrowed: [{ counts: [0, 2] }] }) });
  assert.ok(isSeeded());
  const more = { classes: [{ name: "Other" }, { name: "Tumour" }, { name: "Necrosis" }], listed: [1, 0, 2] };
  update({ state: session(more) });
  assert.ok(isSeeded() && isUsed(0) && !isUsed(2));
  update({ state: session({ ...more, seeds: { patches: [7], labels: [2] } }) });
  assert.ok(!isSeeded());
  assert.equal(tellSeeds(), "Tumour 0, Other 0, Necrosis 1");
});

test("the class of a seeded patch is known by its row, made once of the same seeds", () => {
  update({ state: session() });
  const known = seededLabels();
  assert.deepEqual([...known], [[7, 0], [3, 1]]);
  update({ state: session({ run: { scored: true } }) });
  assert.equal(seededLabels(), known);
  update({ state: session({ seeds: { patches: [7], labels: [1] } }) });
  assert.deepEqual([...seededLabels()], [[7, 1]]);
});

test("what the server has not got yet counts in the page, in order", () => {
  update({ state: session(), unsent: [{ name: "Tumour", patches: [9, 7] }, { name: null, patches: [3] }] });
  assert.deepEqual([...seededNow()], [[7, 1], [9, 1]]);
  update({ unsent: [] });
  assert.equal(seededNow(), seededLabels());
});

test("a view can be chosen once there is what it draws", () => {
  const views = ["slide", "colors", "labels", "confidence", "tissue", "disputed"];
  update({ state: session() });
  assert.deepEqual(views.filter(canView), ["slide", "colors", "tissue"]);
  update({ labels: new Uint8Array(1), compared: {}, state: session({ run: { scored: true } }) });
  assert.deepEqual(views.filter(canView), views);
});
