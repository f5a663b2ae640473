/** What a person changes in a session: seeds, classes, what is borrowed. */

import { count } from "./dom.js";
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
  const label = app.active;
  return change(() => {
    const known = seededNow();
    const all = patches.every((row) => known.get(row) === label);
    return { kind: "seed", label: all ? null : label, patches };
  });
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
    tell("No patch centre lies in the regions");
    return;
  }
  for (const label of new Set(rows.values())) {
    const patches = [...rows.keys()].filter((row) => rows.get(row) === label);
    const status = `${count(rows.size)} patches of ${regions.length} regions seeded`;
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
