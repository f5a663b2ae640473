/** What the page knows, and what follows from it. */

import { makeStore } from "./store.js";

/** @import { Pair } from "./pairs.js" */
/** @import { Compared, Decisions, History, Layout, Region, Scores, Session, Tables, Why, Worklist } from "./server.js" */
/** @import { Grid } from "./grid.js" */

/**
 * @typedef {{ uid: string, h5ad: string }} Layer
 * @typedef {{ h5ad: string, session: string, name: string | null, patches: number[], user: string, time: string }} Unsent seeds
 *   of a class by its name (null: taken back) that the server has not got yet
 * @typedef {{ kind: string, h5ad: string, token: string, stage: string | null, share: number | null,
 *   isStopping: boolean, isSuperseded: boolean }} Job what can be asked about and stopped
 * @typedef {{ kind: string, job: Job | null, isSlow: boolean }} Request slow: for so long that a person wants to see it
 */

export const MAIN = "X"; // the embedding that every h5ad has

export const TOOLS = ["lasso", "rectangle", "brush"]; // what Shift-drag does

const store = makeStore({
  layers: /** @type {Layer[]} */ ([]), // of patches, on the page
  layer: /** @type {Layer & { grid: Grid } | null} */ (null), // the one that is labelled
  tables: /** @type {Tables | null} */ (null), // what the server has to choose from
  state: /** @type {Session | null} */ (null), // what the server knows of the slide's session
  labels: /** @type {Uint8Array | null} */ (null), // one a patch
  scores: /** @type {Scores | null} */ (null), // of the labels' run, once they were asked for
  map: /** @type {Layout | null} */ (null), // of the patches, once it was asked for
  mapOpen: false,
  compared: /** @type {Compared & { other: string, place: number, pairs: { codes: Uint16Array, list: Pair[] } } | null} */ (null), // place: which one was looked at last
  worklist: /** @type {Worklist | null} */ (null), // of the folder, once it was asked for
  unlike: /** @type {{ rows: Uint8Array, count: number } | null} */ (null), // patches unlike any seed, where some are borrowed
  regions: /** @type {Region[] | null} */ (null), // the labels as regions, while they are shown
  border: /** @type {number | null} */ (null), // score from which a patch is of class 1; null is where it is the highest
  unsent: /** @type {Unsent[]} */ ([]), // of this session
  history: /** @type {History | null} */ (null), // while somebody looks
  historyOpen: false,
  point: /** @type {{ branch: number | null, position: number, text: string } | null} */ (null), // of the history, that was chosen
  decisions: /** @type {Decisions & { place: number } | null} */ (null), // of a consensus; place: which one is shown
  naming: /** @type {{ label: number | null, text: string, error: string } | null} */ (null), // the class that is being named
  sessionNaming: /** @type {{ kind: "new" | "consensus", text: string } | null} */ (null), // the session that is
  active: 1, // the class that a click gives
  view: "colors",
  method: "", // the server's first, until one is chosen
  embedding: MAIN, // of the h5ad: which one the next run is on
  opacity: 0.65,
  seeding: true,
  tool: "lasso",
  live: false, // run again after every change
  session: "", // name of the session; "" is the one without
  suggested: /** @type {number | null} */ (null), // row of the patch that is best seeded next
  pointed: /** @type {number | null} */ (null), // row of the patch under the pointer, on the slide or on the map
  why: /** @type {Why | null} */ (null), // which seeds it is most like
  flips: /** @type {number | null} */ (null), // share of labels that change when the seeds are resampled, of this revision
  busy: /** @type {Request | null} */ (null), // what is under way
  error: "",
  status: "",
});

export const { view: app, update, flush, hold, release, subscribe, reset } = store;

/** Change what a person sees at once, whatever is under way. @type {typeof update} */
export function show(patch) {
  update(patch);
  flush();
}

/** Tell the person something. @param {string} status */
export const tell = (status) => show({ status });

/**
 * @template T
 * @param {T | null} value
 */
function demand(value) {
  if (value === null) throw new Error("No slide is open yet.");
  return value;
}

export const current = () => demand(app.state);
export const layer = () => demand(app.layer);
export const tables = () => demand(app.tables);

/** What every request says, and more. */
export const request = (more = {}) => ({ h5ad: layer().h5ad, session: app.session, ...more });

/** A request about the session as the page has seen it. */
export const sessionRequest = (more = {}) => request({ revision: current().revision, ...more });

export const isSlow = () => app.busy?.isSlow ?? false;

export const user = () => localStorage.getItem("SIC.user") ?? "";

/** @param {string} name */
export const sessionTitle = (name) => name || "(shared)";

/** Whether there is what a view draws. @param {string} view */
export const canView = (view) => (view === "labels" ? Boolean(app.labels)
  : view === "confidence" ? Boolean(current().run?.scored)
    : view === "disputed" ? Boolean(app.compared) : true);

/**
 * Something of the seeds that is made once of each state of them, since they may be half of a slide.
 * @template T
 * @param {(seeds: Session["seeds"]) => T} make
 */
function ofSeeds(make) {
  /** @type {WeakMap<Session["seeds"], T>} */
  const made = new WeakMap();
  return () => {
    const { seeds } = current(), known = made.get(seeds) ?? make(seeds);
    made.set(seeds, known);
    return known;
  };
}

/** Class of each seeded patch, by row. */
export const seededLabels = ofSeeds(({ patches, labels }) => new Map(patches.map((row, i) => [row, labels[i]])));

const seededClasses = ofSeeds(({ labels }) => new Set(labels));

/** Whether a class has a seed, here or borrowed; one that has none is not used on this slide. @param {number} label */
export const isUsed = (label) => seededClasses().has(label) || current().borrowed.some((loan) => loan.counts[label]);

/** Whether two classes have seeds, so that a run can tell them apart. */
export const isSeeded = () => current().listed.filter(isUsed).length >= 2;

/** How many seeds each class has, as the person reads it where a run lacks some. */
export const tellSeeds = () => current().listed.map((label) => `${current().classes[label].name} ${
  current().seeds.labels.filter((each) => each === label).length
  + current().borrowed.reduce((n, loan) => n + loan.counts[label], 0)}`).join(", ");

/** Class of each seeded patch by row, with what the server has not got yet. */
export function seededNow() {
  if (!app.unsent.length) return seededLabels();
  const known = new Map(seededLabels()), names = current().classes.map((each) => each.name);
  for (const { name, patches } of app.unsent) {
    for (const row of patches) if (name === null) known.delete(row); else known.set(row, names.indexOf(name));
  }
  return known;
}
