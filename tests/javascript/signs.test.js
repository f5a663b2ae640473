import assert from "node:assert/strict";
import { test } from "node:test";

import { tissueByLabel } from "../../tissuumaps_sic/plugin/SIC_page/coverage.js";
import { backingOf } from "../../tissuumaps_sic/plugin/SIC_page/signs.js";

test("under a dark colour lies a pale line, and under every other one a dark line", () => {
  for (const dark of ["#000000", "#111111", "#2b0a12", "#101040"]) assert.equal(backingOf(dark), "#fff", dark);
  for (const other of ["#ffb000", "#00a6fb", "#8a4b00", "#dc267f", "#ffffff", "#648fff"]) assert.equal(backingOf(other), "#111", other);
});

test("patches count by their tissue", () => {
  assert.deepEqual([...tissueByLabel(Uint8Array.of(0, 1, 1, 0), Float32Array.of(1, 0.5, 0.25, 0), 3)], [1, 0.75, 0]);
});
