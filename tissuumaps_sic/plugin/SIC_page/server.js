/** What the page asks of the server: a function for each of its endpoints, which nothing else names. */

import { atRoot } from "./address.js";
import { unpack } from "./packing.js";

/**
 * @typedef {{ name: string, color: string }} SeedClass
 * @typedef {{ text: string, time: string, user: string }} Step
 * @typedef {Step & { branch: number | null, position: number, n: number, together: string }} HistoryStep branch null: the line that
 *   counts; n and together: how many, and of what, where several steps are told as one
 * @typedef {{ position: number, trunk: HistoryStep[], branches: HistoryStep[], more: number }} History the newest first
 * @typedef {{ names: string[], missing: string[], problem: string }} Scheme the folder's class list
 * @typedef {{ row: number, size: number, said: { reader: string, name: string, color: string }[] }} Decision
 * @typedef {{ n: number, missing: string[], decisions: Decision[] }} Decisions
 * @typedef {{ slide: string, path: string, session: string, counts: number[] }} Loan seeds of each class from another slide
 * @typedef {{ method: string, embedding: string, border: number | null, scored: boolean, classes: SeedClass[],
 *   counts: number[], stale: boolean, outdated: boolean }} Run
 * @typedef {{ slide: string, sessions: string[], n_patches: number, embeddings: { name: string, title: string }[],
 *   classes: SeedClass[], listed: number[], seeds: { patches: number[], labels: number[] }, borrowed: Loan[],
 *   revision: number, can_undo: boolean, can_redo: boolean, undo: Step | null, redo: Step | null, n_steps: number,
 *   readers: string[], scheme: Scheme | null, run: Run | null, skipped: number[], notes: Note[],
 *   sample: { answered: number, unclear: number } | null, checked: { time: string, user: string, is_current: boolean } | null }} Session what is known of a slide's session
 * @typedef {{ number: number, text: string, time: string, user: string, patch: number | null, box: number[] | null,
 *   outline: [number, number][] | null, place: string }} Note patch: a row, of a part that in its middle, null of the slide; box (left,
 *   top, right, bottom) and outline (corners): of a part, level-0 pixels
 * @typedef {{ spacing: number | null, isTissueTold: boolean, tissue: Float32Array, seen: Uint8Array }} Looked spacing: of patches, µm; share of tissue
 *   and whether it was seen (1) of each
 * @typedef {{ methods: { name: string, words: string }[], exports: { name: string, words: string, use: string }[],
 *   most_classes: number, fewest_seeds: number, signs: string[] }} Tables what a person can choose from; fewest_seeds: from which on
 *   suggestions are of what is in doubt, once two classes have some
 * @typedef {{ mpp: number | null, fields: Record<string, [number, number] | null>, unwritable: string,
 *   is_kept: boolean }} Facts µm per level-0 pixel, what each embedding's network saw around a patch's centre (level-0 pixels), why
 *   nothing can be saved on disk, whether the server keeps it then
 * @typedef {{ n_disputed: number, kappa: number | null, word: string, is_stale: boolean,
 *   table: { names: string[], counts: number[][] }, classes: SeedClass[],
 *   places: [number, number][], disputed: Uint8Array, labels: Uint8Array }} Compared places are rows and numbers of patches
 * @typedef {{ own: Float32Array, positive: Float32Array, rest: Uint8Array }} Scores of each patch's own label and of class 1,
 *   and the best other class
 * @typedef {import("./mosaic.js").Lattice} Lattice
 * @typedef {import("./mosaic.js").Cells} Cells
 * @typedef {{ places: Float32Array, tissue: Float32Array | null, colors: Uint8Array }} Layout the UMAP: places in 0..1
 *   (x, y, x, y, …), share of tissue (null: not told), colours (r, g, b, …)
 * @typedef {{ name: string, color: string, area: number | null, tissue: number | null, share: number, coordinates: number[][][][] }} Region
 * @typedef {{ label: number, patches: number[], similarities: number[], slide: string | null }} Nearest
 * @typedef {{ patch: number, nearest: Nearest[], margin: number | null }} Why
 * @typedef {{ h5ad: string, name: string, folder: string, page: string, n_patches: number | null, seeds: Record<string, number>,
 *   borrowed: number, state: string, problem: string, lends: boolean, checked: string | null, notes: number }} Slide checked: by
 *   whom and when, for people; "" of one that was changed since
 * @typedef {{ here: string, slides: Slide[] }} Worklist
 * @typedef {{ patch: number, label: number, expected: number, score: number }} Doubt a seed, its class, and the one that the others
 *   say it is of, how surely (0..1)
 * @typedef {{ doubtful: Doubt[], accuracy: number | null, judged: number }} Doubts accuracy: share of the judged seeds whose class
 *   the others say too
 * @typedef {{ value: number, low: number, high: number }} Figure the true one lies from low to high 95 times in 100
 * @typedef {{ name: string, color: string, patches: number, answers: number, precision: Figure | null, recall: Figure | null,
 *   f1: Figure | null, area: Figure | null, share: Figure, labelled_area: number | null }} ClassQuality areas: mm2; share: of the tissue
 * @typedef {{ patches: number, share: Figure | null, kappa: Figure | null, names: string[], table: number[][] }} Agreement of two
 *   readers' answers
 * @typedef {{ state: "none" | "few" | "void" | "ready", told: string, answers: number, unclear: number, accuracy: Figure | null,
 *   classes: ClassQuality[], halving: number | null, halved: string, fewest: number, wanted: number, agreement?: Agreement }} Quality
 *   what a check tells of the labels
 * @typedef {{ patches: number[], answered: number, fewest: number, wanted: number }} Questions
 * @typedef {{ h5ad: string, slide: string, page: string, patch: number, embedding: string, similarity: number }} Found a patch of
 *   another slide
 * @typedef {{ patches: Found[], slides: number, other: number, problems: string[] }} Elsewhere slides: looked through; other: embedded
 *   otherwise
 * @typedef {{ name: string, color: string | null, count: number, left_out: string, target: string | null, seeds: number }} FileClass a
 *   class of a file of seeds; left_out: why it is, unless it is asked for; target: what its seeds become (null: none)
 * @typedef {{ classes: FileClass[], seeds: { name: string, color: string, n: number, is_new: boolean }[], replaced: number,
 *   told: string[], from_bounds: boolean | null }} Preview what a file of seeds would give; replaced: seeds of another class now;
 *   from_bounds: whether it counts from the corner of what was scanned (null: that is the slide's)
 * @typedef {Record<string, unknown>} Content
 */

export const STOPPED = 499, CONFLICT = 409, REFUSED = 422, MISSING = 404; // statuses

export class ServerError extends Error {
  isSuperseded = false;

  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @param {string} endpoint @param {Content} content @param {AbortSignal} [signal] by which the answer is given up */
async function post(endpoint, content, signal) {
  let response;
  try {
    response = await fetch(atRoot(`/plugins/SIC/${endpoint}`), {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content), signal,
      keepalive: endpoint === "look", // also when the page is being left
    });
  } catch {
    throw new ServerError(0, "The server does not answer. Is it still running? Seeds made so far are saved.");
  }
  if (response.ok) return response;
  const text = await response.text();
  let message = `The server answered with an error (${response.status}). Try again; the window that it was started in may tell more`;
  try { message = JSON.parse(text).error ?? message; } catch { /* not ours: an error page of TissUUmaps */ }
  throw new ServerError(response.status, message);
}

/** @param {string} endpoint @param {Content} content @param {AbortSignal} [signal] */
const postForJson = async (endpoint, content, signal) => (await post(endpoint, content, signal)).json();

/** @param {string} endpoint @param {Content} content */
const postForBytes = async (endpoint, content) => unpack(await (await post(endpoint, content)).arrayBuffer());

/** Ask for labels, one byte a patch, and the session that they belong to. @param {string} endpoint @param {Content} content */
async function postForLabels(endpoint, content) {
  const { header, take } = await postForBytes(endpoint, content);
  return { state: /** @type {Session & { seconds: number }} */ (header), labels: take(Uint8Array, header.n_patches) };
}

/** @type {(content: Content) => Promise<Session & { tables: Tables, facts: Facts }>} */
export const open = (content) => postForJson("open", content);
/** @type {(content: Content) => Promise<Session>} */
export const change = (content) => postForJson("change", content);
/** @type {(content: Content) => Promise<Session & { n_disputed: number }>} */
export const merge = (content) => postForJson("merge", content);
/** @type {(content: Content) => Promise<{ name: string, text: string }>} */
export const sessionFile = (content) => postForJson("document", content);
/** @type {(content: Content) => Promise<Session>} */
export const bring = (content) => postForJson("bring", content);
/** @type {(content: Content) => Promise<Preview>} */
export const preview = (content) => postForJson("preview", content);
/** @type {(content: Content) => Promise<History>} */
export const history = (content) => postForJson("history", content);
/** @type {(content: Content) => Promise<{ text: string }>} */
export const restoring = (content) => postForJson("restoring", content);
/** @type {(content: Content) => Promise<Session>} */
export const offer = (content) => postForJson("offer", content);
/** @type {(content: Content) => Promise<Decisions>} */
export const decisions = (content) => postForJson("decisions", content);
/** @type {(content: Content) => Promise<{ patches: number[], flips: number | null, cold: boolean }>} */
export const suggest = (content) => postForJson("suggest", content);
/** @type {(content: Content) => Promise<{ pairs: { classes: [number, number], patches: number[], n_patches: number }[] }>} the rarest first */
export const opinion = (content) => postForJson("opinion", content);
/** @type {(content: Content, signal: AbortSignal) => Promise<Doubts>} */
export const judge = (content, signal) => postForJson("judge", content, signal);
/** @type {(content: Content) => Promise<Session>} */
export const draw = (content) => postForJson("draw", content);
/** @type {(content: Content) => Promise<Questions>} */
export const questions = (content) => postForJson("questions", content);
/** @type {(content: Content) => Promise<Quality>} */
export const verify = (content) => postForJson("verify", content);
/** @type {(content: Content) => Promise<{ line: string, why: string }>} line: "" where `why` tells that there is none */
export const command = (content) => postForJson("command", content);
/** @type {(content: Content) => Promise<{ written: string }>} */
export const write = (content) => postForJson("write", content);
/** @type {(content: Content) => Promise<{ regions: Region[] }>} */
export const regions = (content) => postForJson("regions", content);
/** @type {(content: Content) => Promise<Why>} */
export const why = (content) => postForJson("why", content);
/** @type {(content: Content) => Promise<{ notes: (Note & { session: string })[] }>} */
export const notes = (content) => postForJson("notes", content);
/** @type {(content: Content) => Promise<{ kept: boolean }>} */
export const look = (content) => postForJson("look", content);
/** @type {(content: Content) => Promise<Worklist>} */
export const worklist = (content) => postForJson("worklist", content);
/** @type {(content: Content) => Promise<{ stage: string, share: number | null }>} */
export const progress = (content) => postForJson("progress", content);
/** @type {(content: Content) => Promise<unknown>} */
export const cancel = (content) => postForJson("cancel", content);
/** @param {Content} content */
export const run = (content) => postForLabels("run", content);
/** @param {Content} content */
export const labels = (content) => postForLabels("labels", content);

/** @param {Content} content @returns {Promise<Scores>} */
export async function scores(content) {
  const { header: { n_patches: n }, take } = await postForBytes("scores", content);
  return { own: take(Float32Array, n), positive: take(Float32Array, n), rest: take(Uint8Array, n) };
}

/** Ask where the cells of a slide lie. @param {Content} content @returns {Promise<Lattice>} */
export async function lattice(content) {
  const { header, take } = await postForBytes("lattice", content);
  const places = take(Uint32Array, 2 * header.n_patches);
  return { ...header, places, glass: take(Uint8Array, header.n_patches * header.side ** 2) };
}

/** Ask for the labels of cells. @param {Content} content @returns {Promise<Omit<Cells, "of">>} */
export async function cells(content) {
  const { header: { n_patches: n, side }, take } = await postForBytes("cells", content);
  const next = () => take(Uint8Array, n * side * side);
  return { labels: next(), own: next(), positive: next(), rest: next() };
}

/** Ask how far labels agree with another session's: where not (1 a patch). @param {Content} content @returns {Promise<Compared>} */
export async function compare(content) {
  const { header, take } = await postForBytes("compare", content);
  const disputed = take(Uint8Array, header.n_patches);
  return { ...header, disputed, labels: take(Uint8Array, header.n_patches) };
}

/** Ask which patches are unlike any seed (1), and how many there are. @param {Content} content */
export async function unlike(content) {
  const { header: { n_patches: n, unlike: count }, take } = await postForBytes("unlike", content);
  return { rows: take(Uint8Array, n), count: /** @type {number} */ (count) };
}

/** Ask how alike the patches around one are to it. @param {Content} content */
export async function alike(content) {
  const { header: { n }, take } = await postForBytes("alike", content);
  return { rows: take(Uint32Array, n), similarities: take(Float32Array, n) };
}

/** Ask what was looked at closely. @param {Content} content @returns {Promise<Looked>} */
export async function looked(content) {
  const { header: { n_patches: n, spacing, tissue: isTissueTold }, take } = await postForBytes("looked", content);
  return { spacing, isTissueTold, tissue: take(Float32Array, n), seen: take(Uint8Array, n) };
}

/** Ask for a file. @param {Content} content */
export async function file(content) {
  const { header: { name, length }, take } = await postForBytes("export", content);
  return { name: /** @type {string} */ (name), bytes: take(Uint8Array, length) };
}

/** @param {Content} content @returns {Promise<Layout>} */
export async function map(content) {
  const { header: { n_patches: n, tissue }, take } = await postForBytes("map", content);
  const places = take(Float32Array, 2 * n), shares = take(Float32Array, n);
  return { places, tissue: tissue ? shares : null, colors: take(Uint8Array, 3 * n) };
}

/** Ask how alike every patch of the slide is to one. @param {Content} content */
export async function likeness(content) {
  const { header: { n_patches: n }, take } = await postForBytes("likeness", content);
  return take(Float32Array, n);
}

/** @type {(content: Content) => Promise<Elsewhere>} */
export const elsewhere = (content) => postForJson("elsewhere", content);

/** Ask for the picture of a patch of a slide, a JPEG; empty where there is no image. @param {Content} content */
export async function picture(content) {
  const { header: { length }, take } = await postForBytes("picture", content);
  return take(Uint8Array, length);
}
