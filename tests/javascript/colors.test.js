import assert from "node:assert/strict";
import { test } from "node:test";

import { AGREED, gradient, shade, strengthen } from "../../tissuumaps_sic/plugin/SIC_page/ramp.js";
import { isShaded, shadedBy, shader } from "../../tissuumaps_sic/plugin/SIC_page/shading.js";

const brightness = (color) => [0.3, 0.6, 0.1].reduce((sum, weight, i) => sum + weight * parseInt(color.slice(1 + 2 * i, 3 + 2 * i), 16), 0);

test("the ramp goes from dark to bright without a step back, and stays at its ends", () => {
  const shades = Array.from({ length: 101 }, (_, i) => shade(i / 100));
  for (const color of shades) assert.match(color, /^#[0-9a-f]{6}$/);
  for (let i = 1; i < shades.length; i++) assert.ok(brightness(shades[i]) >= brightness(shades[i - 1]));
  assert.deepEqual([shade(-1), shade(2)], [shade(0), shade(1)]);
  assert.deepEqual([shade(0), shade(1)], ["#440154", "#fde725"]); // the ends of viridis
  assert.ok(gradient().includes(`right, ${shade(0)}, `) && gradient().endsWith(`, ${shade(1)})`));
});

test("a view is shaded by its own numbers, and by none before they are there", () => {
  const nothing = { scores: null, map: null, unlike: null, compared: null };
  const shown = { scores: { own: [1] }, map: { tissue: [2] }, unlike: { rows: [3] }, compared: { pairs: { codes: [4] } } };
  const views = ["confidence", "tissue", "unlike", "disputed"];
  assert.deepEqual(views.map((view) => shadedBy({ ...shown, view })), [[1], [2], [3], [4]]);
  for (const view of [...views, "labels", "slide"]) assert.equal(shadedBy({ ...nothing, view }), undefined);
  assert.equal(shadedBy({ ...shown, view: "tissue", map: { tissue: null } }), undefined);
  assert.deepEqual([...views, "labels", "slide", "colors"].filter(isShaded), views);
});

test("what is disputed has a colour for each pair, tissue one of the ramp, before there are numbers there is none", () => {
  const disputed = shader({ view: "disputed", compared: { pairs: { codes: [0, 1, 2, 1] } } }, null, []);
  const colors = [0, 1, 2, 3].map(disputed);
  assert.equal(colors[0], AGREED);
  assert.equal(colors[1], colors[3]);
  assert.equal(new Set(colors).size, 3);
  assert.equal(shader({ view: "tissue", map: { tissue: [0.3] } }, null, [])(0), shade(0.3));
  assert.equal(shader({ view: "confidence", scores: null }, null, []), null);
});

test("confidence is the strength of the label's own colour: white where all classes score the same", () => {
  const classes = [{ color: "#00a6fb" }, { color: "#ffb000" }], labels = Uint8Array.of(0, 1, 1, 0);
  const color = shader({ view: "confidence", scores: { own: [1, 1, 0.5, 0.75] } }, labels, classes);
  assert.deepEqual([color(0), color(1)], ["#00a6fb", "#ffb000"]);
  assert.equal(color(2), strengthen("#ffb000", 0));
  assert.ok(brightness(color(2)) > 240 && brightness(color(3)) > brightness(color(0)) && brightness(color(3)) < brightness(color(2)));
});
