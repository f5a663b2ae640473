/** What the page knows, and what follows from it. */

import { sum } from "./dom.js";
import { makeStore } from "./store.js";

/** @import { Deck, Source } from "./cards.js" */
/** @import { Opinion } from "./pairing.js" */
/** @import { Pair } from "./pairs.js" */
/** @import { Compared, Decisions, Doubt, Doubts, Facts, History, Layout, Looked, Note, Quality, Region, Scores, Session, Tables, Why, Worklist } from "./server.js" */
/** @import { Grid } from "./grid.js" */
/** @import { Cells, Lattice } from "./mosaic.js" */

/**
 * @typedef {{ uid: string, h5ad: string }} Layer
 * @typedef {{ h5ad: string, session: string, name: string | null, patches: number[], user: string, time: string,
 *   isAnswer?: boolean }} Unsent seeds of a class by its name (null: taken back) that the server has not got yet; or what is said of a
 *   patch of the check (null: one cannot tell)
 * @typedef {{ h5ad: string, session: string, revision: number, name: string, text: string }} Held a session's file, as it was seen last
 * @typedef {{ kind: string, h5ad: string, token: string, stage: string | null, share: number | null,
 *   isStopping: boolean, isSuperseded: boolean }} Job what can be asked about and stopped
 * @typedef {"slide" | "patch" | "view" | "part"} Target what a note is on
 * @typedef {{ kind: string, job: Job | null, isSlow: boolean }} Request slow: for so long that a person wants to see it
 */

export const MAIN = "X"; // the embedding that every h5ad has

export const TOOLS = ["lasso", "rectangle", "brush", "eraser", "wand"]; // what Shift-drag does

const store = makeStore({
  layers: /** @type {Layer[]} */ ([]), // of patches, on the page
  layer: /** @type {Layer & { grid: Grid, factor: number } | null} */ (null), // the one that is labelled; the page's pixels are
  // `factor` of level 0's
  tables: /** @type {Tables | null} */ (null), // what the server has to choose from
  facts: /** @type {Facts | null} */ (null), // of the slide's file
  state: /** @type {Session | null} */ (null), // what the server knows of the slide's session
  unopened: /** @type {{ why: string, isRefused: boolean } | null} */ (null), // why no session is open; refused: the server has read the
  // session, or its name, and will not have it
  labels: /** @type {Uint8Array | null} */ (null), // one a patch
  lattice: /** @type {Lattice | null} */ (null), // where the slide's cells lie, where its patches lie on a grid
  cells: /** @type {Cells | null} */ (null), // labels of cells: those of `labels`, or of the ones before until they come
  isSharpening: false, // whether they are on their way
  isFine: true, // whether labels are drawn by cell
  scores: /** @type {Scores | null} */ (null), // of the labels' run, once they were asked for
  map: /** @type {Layout | null} */ (null), // of the patches, once it was asked for
  mapOpen: false,
  compared: /** @type {Compared & { other: string, place: number, pairs: { codes: Uint16Array, list: Pair[] } } | null} */ (null), // place: which one was looked at last
  worklist: /** @type {Worklist | null} */ (null), // of the folder, once it was asked for
  unlike: /** @type {{ rows: Uint8Array, count: number } | null} */ (null), // patches unlike any seed, where some are borrowed
  opinion: /** @type {{ of: Uint8Array | null, pairs: Opinion[], source: Source } | null} */ (null), // where a second model differs; of: from which labels
  regions: /** @type {Region[] | null} */ (null), // the labels as regions, while they are shown
  border: /** @type {number | null} */ (null), // score from which a patch is of class 1; null is where it is the highest
  unsent: /** @type {Unsent[]} */ ([]), // of this session
  held: /** @type {Held | null} */ (null), // of a session that is not on disk
  history: /** @type {History | null} */ (null), // while somebody looks
  historyOpen: false,
  unfolded: /** @type {string[]} */ ([]), // keys of the history's acts whose steps are shown
  point: /** @type {{ branch: number | null, position: number, text: string } | null} */ (null), // of the history, that was chosen
  decisions: /** @type {Decisions & { place: number } | null} */ (null), // of a consensus; place: which one is shown
  naming: /** @type {{ label: number | null, text: string, error: string } | null} */ (null), // the class that is being named
  sessionNaming: /** @type {{ kind: "new" | "consensus", text: string } | null} */ (null), // the session that is
  seedFile: /** @type {{ sent: import("./seedfile.js").SentFile, found: import("./server.js").Preview } | null} */ (null), // of seeds, that
  // is looked at before it is taken
  active: 1, // the class that a click gives
  isPicked: false, // whether the person has chosen a class on this slide
  view: "slide",
  wantedView: "", // the view that the person chose last, "" where the labels are as good
  isBare: false, // whether the slide alone is looked at for a moment
  hidden: /** @type {string[]} */ ([]), // names of classes whose labels are not drawn
  method: "", // the server's first, until one is chosen
  embedding: MAIN, // of the h5ad: which one the next run is on
  opacity: 0.65,
  seeding: true,
  isInFront: true, // whether the panel is what the side bar shows
  tool: "lasso",
  live: false, // run again after every change
  session: "", // name of the session; "" is the one without
  suggested: /** @type {number | null} */ (null), // row of the patch that is best seeded next
  pointed: /** @type {number | null} */ (null), // row of the patch under the pointer, on the slide or on the map
  why: /** @type {Why | null} */ (null), // which seeds it is most like
  flips: /** @type {number | null} */ (null), // share of labels that change when the seeds are resampled, of this revision
  doubts: /** @type {Doubts & { of: string } | null} */ (null), // of the seeds, as they were when asked about (`of`)
  seedsOpen: false, // whether the list of the seeds is
  quality: /** @type {{ of: string, found: Quality | null, problem: string } | null} */ (null), // what the check tells, of which session
  checkOther: /** @type {string | null} */ (null), // the session whose answers are compared with these
  command: /** @type {{ line: string, isCopied: boolean, of: string } | null} */ (null), // the one that was asked for; of: which session
  card: /** @type {Deck | null} */ (null), // the patches that one is asked about, and which of them now
  gallery: /** @type {import("./gallery.js").Gallery | null} */ (null),
  picked: /** @type {number[]} */ ([]), // of its pictures: rows, or places in what was found elsewhere
  likeness: /** @type {{ of: string, patch: number, values: Float32Array } | null} */ (null), // of every patch to one; of: which slide and embedding
  elsewhere: /** @type {import("./server.js").Elsewhere & { of: string, seeded: Record<number, string> } | null} */ (null), // what other slides
  // have that is like one patch, and the class that was given to some of it
  brush: 1, // across, in patches
  seedsHidden: false,
  looked: /** @type {Looked & { share: number } | null} */ (null), // where the person has looked, and the share of tissue
  noted: /** @type {number | null} */ (null), // row of the patch that was chosen for a note
  noteTarget: /** @type {Target} */ ("slide"), // what the next note is on
  part: /** @type {{ corners: { x: number, y: number }[] } | null} */ (null), // of the slide, that is drawn for a note; in image pixels
  notes: /** @type {(Note & { session: string })[]} */ ([]), // of other readers
  savedAt: /** @type {number | null} */ (null), // when the last change of this page was saved, ms
  isUnsaved: false, // whether the last change could not be saved
  areKeysOpen: false,
  tour: /** @type {number | null} */ (null), // the stop that the tour is at
  isClosed: false, // whether the plugin is: what comes late then draws nothing over the slide
  busy: /** @type {Request | null} */ (null), // what is under way
  error: "",
  status: "",
});

export const { view: app, update, flush, hold, release, subscribe, memory, reset } = store;

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

/** What the network saw of the slide around a patch's centre, in the page's image pixels. */
export function field() {
  const { grid: { spacing }, factor } = layer(), [width, height] = app.facts?.fields[app.embedding] ?? [0, 0];
  return { width: width * factor || spacing, height: height * factor || spacing };
}

/** What shares are of, in words: where the slide's file does not tell tissue, they are of patches. */
export const tellWhole = () => (app.looked?.isTissueTold === false ? "the patches" : "the tissue");

/** Whether the server keeps the session, since it cannot lie beside its slide. */
export const isTemporary = () => Boolean(app.facts?.unwritable && app.facts.is_kept);

/** Keep that the last change is in the slide's file. */
export const noteSaved = () => update({ savedAt: Date.now(), isUnsaved: false });

/** What every request says, and more. */
export const request = (more = {}) => ({ h5ad: layer().h5ad, session: app.session, ...more });

/** A request about the session as the page has seen it. */
export const sessionRequest = (more = {}) => request({ revision: current().revision, ...more });

export const isSlow = () => app.busy?.isSlow ?? false;

export const user = () => localStorage.getItem("SIC.user") ?? "";

/** @param {string} name */
export const sessionTitle = (name) => name || "(shared)";

/** Whether a click on the slide seeds; then, and only then, the slide says so. */
export const isSeeding = () => isAtWork() && app.seeding && !isOutlining();

/** Whether a drag on the slide draws the part that a note is on. */
export const isOutlining = () => isAtWork() && app.part !== null && !app.part.corners.length;

const isAtWork = () => app.state !== null && app.isInFront && !app.isBare && !isBlind();

/** Whether a check asks: then nothing may be seen that tells what a patch is labelled. */
export const isBlind = () => !app.isClosed && app.card?.kind === "check";

/** Whether there is what a view draws. @param {string} view */
export const canView = (view) => (["labels", "outlines"].includes(view) ? Boolean(app.labels)
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

/** The seeds that the others contradict, but for those that were changed since. @returns {Doubt[]} */
export const doubtfulSeeds = () => app.doubts?.doubtful.filter(({ patch, label }) => seededLabels().get(patch) === label) ?? [];

/** What the check tells of the labels of the session that is open, or null. */
export const qualityHere = () => (app.quality?.of === placeOfSession() ? app.quality : null);

/** Which session of which slide is open, in a word. */
export const placeOfSession = () => `${app.layer?.h5ad}\n${app.session}`;

const seededClasses = ofSeeds(({ labels }) => new Set(labels));

/** Whether a class has a seed, here or borrowed; one that has none is not used on this slide. @param {number} label */
export const isUsed = (label) => seededClasses().has(label) || current().borrowed.some((loan) => loan.counts[label]);

/** Whether two classes have seeds, so that a run can tell them apart. */
export const isSeeded = () => current().listed.filter(isUsed).length >= 2;

/** Whether seeds are too few to tell what is in doubt, as the server counts them. @param {Map<number, number>} [given] classes by row, that may not be saved yet */
export function isUntold(given = new Map()) {
  const { classes, seeds, borrowed } = current();
  const more = [...given].flatMap(([row, label]) => (seededLabels().has(row) ? [] : [label]));
  const n = seeds.labels.length + more.length + sum(borrowed.flatMap((loan) => loan.counts));
  const used = classes.filter((_, label) => isUsed(label) || more.includes(label)).length;
  return used < 2 || n < tables().fewest_seeds;
}

/** How many seeds each class has, as the person reads it where a run lacks some. */
export const tellSeeds = () => current().listed.map((label) => `${current().classes[label].name} ${
  current().seeds.labels.filter((each) => each === label).length
  + current().borrowed.reduce((n, loan) => n + loan.counts[label], 0)}`).join(", ");

/** Class of each seeded patch by row, with what the server has not got yet. */
export function seededNow() {
  if (!app.unsent.length) return seededLabels();
  const known = new Map(seededLabels()), names = current().classes.map((each) => each.name);
  for (const { name, patches, isAnswer } of app.unsent) {
    if (!isAnswer) for (const row of patches) if (name === null) known.delete(row); else known.set(row, names.indexOf(name));
  }
  return known;
}
