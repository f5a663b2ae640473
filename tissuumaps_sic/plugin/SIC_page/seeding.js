/** What a person changes in a session: seeds, classes, what is borrowed. */

import { tellCount } from "./dom.js";
import { plainName } from "./legend.js";
import { takeState } from "./open.js";
import { enqueue } from "./requests.js";
import { change } from "./runs.js";
import * as server from "./server.js";
import { app, current, layer, seededNow, sessionRequest, show, tell, update } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Loan, SeedClass, Slide } from "./server.js" */

/** Seed patches with the active class; where all of them have it already, take it from them. @param {number[]} patches */
export function seed(patches) {
  const label = app.active, isOwn = patches.every((row) => seededNow().get(row) === label);
  return change(() => {
    const known = seededNow();
    const all = patches.every((row) => known.get(row) === label);
    return { kind: "seed", label: all ? null : label, patches };
  }, isOwn ? "Saved" : seededWords(patches, label));
}

/** Seed patches with a class, and say whose seeds of other classes that changes. @param {number[]} patches @param {number} label */
export function seedAs(patches, label) {
  return change(() => ({ kind: "seed", label, patches }), seededWords(patches, label));
}

/** What seeding patches comes to, in words. @param {number[]} patches @param {number} label */
function seededWords(patches, label) {
  const { classes } = current(), known = seededNow();
  /** @type {Map<string, number>} */
  const changed = new Map();
  for (const row of patches) {
    const before = known.get(row);
    if (before !== undefined && before !== label) changed.set(classes[before].name, (changed.get(classes[before].name) ?? 0) + 1);
  }
  if (!changed.size) return patches.length > 1 ? `${tellCount(patches.length, "patch", "patches")} seeded as ${classes[label].name}` : "Saved";
  const whose = [...changed].map(([name, n]) => `${tellCount(n, "seed")} of ${name}`).join(", ");
  return `${whose} now ${classes[label].name}; Undo brings ${changed.size > 1 || patches.length > 1 ? "all of it" : "it"} back`;
}

/** Take the seeds of patches back, whatever their class. @param {number[]} patches */
export const unseed = (patches) => change(() => ({ kind: "seed", label: null, patches }));

export const clear = () => change(() => ({ kind: "clear" }), "Seeds cleared; Undo brings them back");

/** Add a class, which is then chosen; returns whether it is there. @param {string} name */
export async function addClass(name) {
  const done = await change(() => ({ kind: "add-class", name }), `“${name}” is added; click patches of it`);
  if (done) show({ active: current().classes.length - 1 });
  return done;
}

/** Add the classes of the folder's list that are not there. */
export const addOffered = () => change(() => ({ kind: "add-offered" }), "The folder's classes are added");

/** Let new slides and sessions of the folder begin with these classes. */
export const offerClasses = () => enqueue("Offering the classes", async () => {
  takeState(await server.offer(sessionRequest()));
  update({ status: "New slides and sessions of this folder begin with these classes (classes.json)" });
});

/** @param {number} label @param {number | null} into */
export function removeClass(label, into) {
  const { name } = current().classes[label];
  return change(
    () => ({ kind: "remove-class", label, into }),
    into === null ? `“${name}” is removed; Undo brings it back` : `“${name}” is merged; Undo parts them`,
  );
}

/** @param {number} label @param {Partial<SeedClass>} edit */
export const editClass = (label, edit) =>
  change(() => ({ kind: "class", label, ...current().classes[label], ...edit }));

/** Seed what lies in the regions drawn in TissUUmaps: with the class of their name, else with the active one. */
export async function seedFromRegions() {
  const regions = viewer.drawnRegions();
  if (!regions.length) {
    tell("Draw a region first, in TissUUmaps' tab Regions");
    return;
  }
  /** @type {Map<number, number>} */
  const rows = new Map();
  for (const { name, rings } of regions) {
    const named = current().classes.findIndex((each) => plainName(each.name) === plainName(name));
    for (const row of layer().grid.within(rings)) rows.set(row, named >= 0 ? named : app.active);
  }
  if (!rows.size) {
    tell("No patch has its centre in the regions; draw them larger");
    return;
  }
  for (const label of new Set(rows.values())) {
    const patches = [...rows.keys()].filter((row) => rows.get(row) === label);
    const status = `${tellCount(rows.size, "patch", "patches")} of ${tellCount(regions.length, "region")} seeded`;
    if (!await change(() => ({ kind: "seed", label, patches }), status)) return;
  }
}

/** Let the seeds of another slide count here too. @param {Slide} slide */
export function borrow(slide) {
  update({ method: "refine" }); // the published method knows no other slide
  return change(
    () => ({ kind: "borrow", source: slide.h5ad, session: app.session, embedding: app.embedding }),
    `The seeds of ${slide.name} count here too; run to label this slide`,
  );
}

/** @param {Loan} loan */
export const drop = (loan) => change(() => ({ kind: "return", path: loan.path }), `The seeds of ${loan.slide} are dropped`);
