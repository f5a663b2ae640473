import assert from "node:assert/strict";
import { test } from "node:test";

import { ease } from "../../tissuumaps_sic/plugin/SIC_page/easing.js";
import { makeGrid } from "../../tissuumaps_sic/plugin/SIC_page/grid.js";
import { nameOf } from "../../tissuumaps_sic/plugin/SIC_page/keynames.js";
import { KEYS, onKey, onKeyUp, takeKeys } from "../../tissuumaps_sic/plugin/SIC_page/keyboard.js";
import { ofGrid, outline } from "../../tissuumaps_sic/plugin/SIC_page/outlines.js";
import { stepsOf } from "../../tissuumaps_sic/plugin/SIC_page/panel/steps.js";
import { barOf, magnificationOf } from "../../tissuumaps_sic/plugin/SIC_page/ruler.js";
import { app, canView, isSeeding, reset, update } from "../../tissuumaps_sic/plugin/SIC_page/state.js";

const key = (name, more = {}) => ({ key: name, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...more });

/** A press of a key as the page hears it, on an element of some kinds. */
function press(name, { on = [], ...more } = {}) {
  const event = { ...key(name, more), stopped: 0, target: { closest: (selector) => on.some((each) => selector.includes(each)) || null },
    preventDefault() {}, stopPropagation() { this.stopped++; } };
  onKey(event);
  return event.stopped > 0;
}

test("a key is called the same on every keyboard", () => {
  assert.equal(nameOf(key("z")), "z");
  assert.equal(nameOf(key("Z")), "z"); // Caps Lock
  assert.equal(nameOf(key("Z", { shiftKey: true })), "Shift-z");
  assert.equal(nameOf(key("z", { metaKey: true })), "Ctrl-z");
  assert.equal(nameOf(key("Z", { ctrlKey: true, shiftKey: true })), "Ctrl-Shift-z");
  assert.equal(nameOf(key("?", { shiftKey: true })), "?");
  assert.equal(nameOf(key("[", { ctrlKey: true, altKey: true })), "[");
  assert.equal(nameOf(key("z", { altKey: true })), null);
  assert.equal(nameOf(key("ArrowLeft", { shiftKey: true })), "Shift-ArrowLeft");
  assert.equal(nameOf(key(" ")), "Space");
  assert.equal(nameOf(key("Escape", { shiftKey: true })), "Escape"); // of a Shift-drag
});

test("no key has two meanings, and each that does something is in words", () => {
  const names = KEYS.flatMap(({ acts = {} }) => Object.keys(acts));
  assert.deepEqual(names, [...new Set(names)]);
  assert.ok(KEYS.every(({ name, does }) => name && does));
});

test("our keys are heard by nobody else, whether they repeat or not, and others' by all", () => {
  reset();
  update({ state: { classes: [{}, {}], listed: [1, 0] } });
  assert.ok(press("2"));
  assert.equal(app.active, 0);
  assert.ok(press("1", { repeat: true }));
  assert.equal(app.active, 0);
  assert.ok(!press("f"));
  assert.ok(!press("2", { on: ["textarea"] }));
  assert.ok(!press("ArrowLeft", { on: ["input"] })); // of a slider
  const seen = [], free = takeKeys((name) => seen.push(name) > 0 && name === "1");
  assert.ok(press("1"));
  assert.equal(app.active, 0);
  free();
  assert.ok(press("1"));
  assert.equal(app.active, 1);
  assert.deepEqual(seen, ["1"]);
  onKeyUp({ ...key("q"), target: { closest: () => null } });
});

test("Enter or Space that is held presses a button, or what a list has, once; in a text both go on", () => {
  reset();
  for (const isOpen of [false, true]) {
    if (isOpen) update({ state: { classes: [{}, {}], listed: [1, 0] } });
    for (const on of [["button"], ["summary"], ["[role^=menuitem]", "[role=menu]"]]) {
      for (const name of ["Enter", " "]) {
        assert.ok(!press(name, { on }));
        assert.ok(press(name, { on, repeat: true }), `${name} on ${on}`);
      }
    }
    assert.ok(press("Enter", { on: ["a[href]"], repeat: true }));
    assert.ok(press("Enter", { on: ["input"], repeat: true }));
    assert.ok(!press(" ", { on: ["input:not"], repeat: true }));
    for (const name of ["Enter", " "]) assert.ok(!press(name, { on: ["textarea"], repeat: true }));
  }
});

test("seeds are made only where the panel is in front and the slide is not bare", () => {
  reset();
  assert.ok(!isSeeding());
  update({ state: {} });
  assert.ok(isSeeding());
  for (const off of [{ isInFront: false }, { seeding: false }, { isBare: true }]) {
    update(off);
    assert.ok(!isSeeding());
    update({ isInFront: true, seeding: true, isBare: false });
  }
  assert.ok(!canView("outlines"));
});

test("colours fade from 10x to 40x and no further", () => {
  assert.equal(ease(0.5, 10), 0.5);
  assert.equal(ease(0.5, 64), 0.5);
  assert.ok(ease(0.5, 128) < 0.5 && ease(0.5, 128) > 0.2);
  assert.ok(Math.abs(ease(0.5, 256) - 0.2) < 1e-9);
  assert.equal(ease(0.5, 5000), ease(0.5, 256));
});

test("a ruler is round and fits, and magnification is that of microscopes", () => {
  assert.equal(magnificationOf(0.25), "40x");
  assert.equal(magnificationOf(10), "1x");
  assert.equal(magnificationOf(4), "2.5x");
  for (const mpp of [0.03, 0.25, 0.5, 7.3, 40]) {
    const { width, text } = barOf(mpp, 120);
    assert.ok(width <= 120 && width > 40);
    assert.match(text, /^[125]0*(\.\d+)? (µm|mm)$|^0\.\d+ (µm|mm)$/);
  }
  assert.deepEqual(barOf(10, 120), { width: 100, text: "1 mm" });
});

test("an outline runs inside its class and closes, around notches too", () => {
  // An L of class 1 in a square of class 0.
  const places = [], labels = [];
  for (let y = 0; y < 4; y++) for (let x = 0; x < 4; x++) {
    places.push([100 * x, 100 * y]);
    labels.push(x === 1 && y >= 1 && y <= 2 || x === 2 && y === 2 ? 1 : 0);
  }
  const grid = makeGrid({ x: Float64Array.from(places, ([x]) => x), y: Float64Array.from(places, ([, y]) => y) });
  for (const { label, lines } of outline(ofGrid(grid), labels)) {
    const ends = new Map();
    for (let at = 0; at < lines.length; at += 2) {
      const row = grid.at({ x: lines[at], y: lines[at + 1] });
      assert.equal(labels[row], label);
      const end = `${lines[at].toFixed(3)} ${lines[at + 1].toFixed(3)}`;
      ends.set(end, (ends.get(end) ?? 0) + 1);
    }
    assert.ok([...ends.values()].every((n) => n === 2), `${label}: ${[...ends]}`);
  }
});

test("steps tick themselves off", () => {
  const session = (labels) => ({ classes: [{}, {}, {}], seeds: { patches: labels, labels } });
  const done = (...args) => stepsOf(...args).map((each) => each.isDone);
  assert.deepEqual(done(session([]), false), [false, false, false]);
  assert.deepEqual(done(session([]), true), [true, false, false]);
  assert.deepEqual(done(session([0, 0, 0, 1, 1]), false), [true, false, false]);
  assert.deepEqual(done(session([0, 0, 0, 1, 1, 1]), false), [true, true, false]);
});
