/** What the page knows, and who is told when it changes. */

export const MAIN = "X"; // the embedding that every h5ad has

export const TOOLS = ["lasso", "rectangle", "brush"]; // what Shift-drag does

const fresh = () => ({
  layer: null, // {uid, h5ad} of the patches
  grid: null,
  state: null, // what the server knows of the slide's session
  labels: null, // Uint8Array, one a patch
  scores: null, // {own, positive, rest} of the labels' run, once they were asked for
  map: null, // {places, tissue, colors} of the patches, once they were asked for
  mapOpen: false,
  compared: null, // with another session: {other, kappa, disputed, labels, classes, places, …}
  place: -1, // which of the disputed places was looked at last
  worklist: null, // {here, slides} of the folder, once it was asked for
  unlike: null, // {rows, count}: patches unlike any seed, where some are borrowed
  regions: null, // the labels as regions, while they are shown
  border: null, // score from which a patch is of class 1; null is where it is the highest
  active: 1, // the class that a click gives
  view: "colors",
  method: "refine",
  embedding: MAIN, // of the h5ad: which one the next run is on
  opacity: 0.65,
  seeding: true,
  tool: "lasso", // what Shift-drag does
  live: false, // run again after every change
  session: "", // name of the session; "" is the one without
  suggested: null, // row of the patch that is best seeded next
  pointed: null, // row of the patch under the pointer
  hovered: null, // the one that the server was asked about
  why: null, // which seeds it is most like, as the server tells
  flips: null, // share of labels that change when the seeds are resampled, of this revision
  busy: "",
  job: null, // what can be asked about and stopped, while it is under way
  slow: false, // busy for long enough that a person wants to see it
  error: "",
  status: "",
});

export const app = fresh();

/** Forget everything: the plugin is opened anew. */
export function reset() {
  Object.assign(app, fresh());
}

const listeners = new Set();

/** Call `listener` whenever what the page knows has changed; returns how to stop that. */
export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function changed() {
  for (const listener of listeners) listener();
}

const followers = new Set();

/** Call `follower` with the row (or null) that is pointed at, on the slide or on the map. */
export function follow(follower) {
  followers.add(follower);
  return () => followers.delete(follower);
}

export function point(row) {
  if (row === app.pointed) return;
  app.pointed = row;
  for (const follower of followers) follower(row);
}

/** Tell the person something. */
export function tell(status) {
  app.status = status;
  changed();
}

export const request = (more = {}) => ({ h5ad: app.layer.h5ad, session: app.session, ...more });

export const unseeded = () =>
  app.state.classes.filter((_, label) => !app.state.seeds.labels.includes(label)
    && !app.state.borrowed.some((loan) => loan.counts[label])).map((each) => each.name);

export const user = () => localStorage.getItem("SIC.user") ?? "";

export const sessionTitle = (name) => name || "(shared)";

/** Whether there is what a view draws. */
export const canView = (view) => ({
  labels: Boolean(app.labels), confidence: Boolean(app.state.run?.scored), disputed: Boolean(app.compared),
})[view] ?? true;

const seeded = new WeakMap();

/** Class of each seeded patch, by row; made once of each state, since seeds may be half of a slide. */
export function seededLabels() {
  const { seeds } = app.state;
  if (!seeded.has(seeds)) seeded.set(seeds, new Map(seeds.patches.map((row, i) => [row, seeds.labels[i]])));
  return seeded.get(seeds);
}
