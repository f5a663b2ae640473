import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";

import { tellCount } from "../../tissuumaps_sic/plugin/SIC_page/dom.js";

const PAGE = join(import.meta.dirname, "../../tissuumaps_sic/plugin/SIC_page");
const modules = globSync("**/*.js", { cwd: PAGE });
const imports = new Map(modules.map((name) => [name,
  [...readFileSync(join(PAGE, name), "utf8").matchAll(/^(?:import|export) [^;]*? from "(\.[^"]+)";/gms)]
    .map(([, path]) => relative(PAGE, join(PAGE, dirname(name), path)))]));

test("imports run in no circle, and every module is used", () => {
  const done = new Set();
  const visit = (name, path) => {
    assert.ok(!path.includes(name), `a circle: ${[...path, name].join(" → ")}`);
    if (!done.has(name)) for (const each of imports.get(name)) visit(each, [...path, name]);
    done.add(name);
  };
  visit("main.js", []);
  assert.deepEqual([...done].sort(), modules.sort());
});

test("only server.js names an endpoint's address, and only state.js makes a store", () => {
  const namers = (text) => modules.filter((name) => readFileSync(join(PAGE, name), "utf8").includes(text));
  assert.deepEqual(namers("/plugins/SIC/"), ["server.js"]);
  assert.deepEqual(namers("makeStore("), ["state.js", "store.js"]);
});

test("a number and what it counts are told by tellCount, which knows one from many", () => {
  assert.deepEqual([0, 1, 2, 1200].map((n) => tellCount(n, "seed")), ["0 seeds", "1 seed", "2 seeds", "1,200 seeds"]);
  assert.equal(tellCount(1, "patch", "patches"), "1 patch");
  const told = /count\([^`]*?\)\} (?:more )?(?:seeds|patches|slides|notes|classes|answers|regions|clicks|steps)\b/;
  assert.deepEqual(modules.filter((name) => told.test(readFileSync(join(PAGE, name), "utf8"))), []);
});

// What need not begin anew with the plugin: elements, timers and ways to stop something, which are gone when it is closed ...
const GOES = new Set(["bar", "box", "bringBack", "canvas", "clicked", "close", "coming", "drawnOf", "drawnRow", "dropAsked", "frame", "gesture",
  "halo", "keep", "late", "lit", "measure", "openTile", "panel", "points", "rest", "restore", "ring", "rows", "ruler", "sheet", "stops", "stroke",
  "timer"]);
// ... and what a queue that goes on is in the middle of, a name that is just being taken, and what TissUUmaps shows.
const STAYS = { "requests.js": ["queue", "recover"], "runs.js": ["waiting", "owed", "wanted"], "panel/naming.js": ["isTaking"],
  "viewer/legend.js": ["keys"], "viewer/picture.js": ["shown", "opacity"] };

// What never changes, what hangs on nothing but what it was asked, and what is emptied by who fills it. Names in capitals are tables, and what a
// WeakMap has goes with what it hangs on.
const FIXED = { "keyboard.js": ["downs", "ups", "takers"], "painting.js": ["mouse"], "ramp.js": ["strengths"], "gallerybox.js": ["holders"] };

/** Constants of a module that hold something which may be filled, by name; what is exported as an object is a part of the panel. */
const filled = (text) => [/^(?:export )?const ([a-z]\w*) = (?:\/\*\*.*?\*\/ \()?(?:new (?!WeakMap|URL)|\[)/gm, /^const ([a-z]\w*) = (?:\/\*\*.*?\*\/ \()?\{/gm]
  .flatMap((pattern) => [...text.matchAll(pattern)].map(([, name]) => name));

test("nor does a module remember in a constant that is filled", () => {
  assert.deepEqual(filled("const seen = new Set();\nconst kept = /** @type {number[]} */ ([]);\nconst at = {\nconst TABLE = {\nconst of = new WeakMap();\n"
    + "const first = ({ a }) => a;\n"), ["seen", "kept", "at"]);
  const found = modules.flatMap((name) => filled(readFileSync(join(PAGE, name), "utf8")).map((constant) => [name, constant]));
  assert.deepEqual(found.filter(([name, constant]) => !FIXED[name]?.includes(constant)), []);
  for (const [name, constants] of Object.entries(FIXED)) {
    for (const constant of constants) assert.ok(found.some((each) => each.join() === [name, constant].join()), `${name} has no ${constant}`);
  }
});

test("what a module remembers is a `memory` of the store, so that it begins anew when the plugin is opened again", () => {
  const found = modules.flatMap((name) => [...readFileSync(join(PAGE, name), "utf8").matchAll(/^let ([^;]+);/gm)]
    .flatMap(([, declared]) => [...declared.matchAll(/(?:^|, )(\w+)(?= =|$)/g)].map(([, variable]) => [name, variable])));
  assert.ok(found.length > 20);
  assert.deepEqual(found.filter(([name, variable]) => !GOES.has(variable) && !STAYS[name]?.includes(variable)), []);
});
