/** Seeds from a file that is dropped or chosen: what it would give is shown, its classes are mapped, and it is taken. */

import { enqueue } from "./requests.js";
import { change } from "./runs.js";
import * as server from "./server.js";
import { app, current, sessionRequest, show, tell, update } from "./state.js";
import { tellSeeds, toBase64 } from "./targets.js";

/** @typedef {{ name: string, content: string, targets: { name: string, target: string | null }[], inside: number,
 *   from_bounds: boolean | null }} SentFile as the server takes it */

const MOST_SENT = 15 * 2 ** 20; // of base64: a request has little more

/** Read a file, and show what it would give. @param {File} file */
export async function openSeedFile(file) {
  if (file.size > 2 ** 28) {
    update({ error: `${file.name} is too large for the page; give it to the command instead: tissuumaps-sic run --seeds` });
    return;
  }
  const content = await pack(file).catch(() => null);
  if (content === null) {
    update({ error: `${file.name} could not be read; choose it again` });
    return;
  }
  if (content.length > MOST_SENT) {
    update({ error: `${file.name} is too large for the page; give it to the command instead: tissuumaps-sic run --seeds` });
    return;
  }
  const sent = { name: file.name, content, targets: [], inside: 0.5, from_bounds: null };
  if (await preview(sent)) focusBox();
}

/** @param {Blob} file */
async function pack(file) {
  const packed = typeof CompressionStream === "undefined" ? file
    : new Response(file.stream().pipeThrough(new CompressionStream("gzip")));
  return toBase64(new Uint8Array(await packed.arrayBuffer()));
}

/** Ask what a file would give, and show that. @param {SentFile} sent */
const preview = (sent) => enqueue("Reading the file", async () => {
  const found = await server.preview(sessionRequest({ file: sent }));
  update({ seedFile: { sent, found }, status: "" });
});

/** Ask anew, with something else chosen. @param {Partial<SentFile>} choice */
export function choose(choice) {
  if (app.seedFile) preview({ ...app.seedFile.sent, ...choice });
}

/** Let a class of the file become one of the session's, a new one, or (null) nothing. @param {string} name @param {string | null} target */
export function setTarget(name, target) {
  if (!app.seedFile) return;
  const others = app.seedFile.sent.targets.filter((each) => each.name !== name);
  choose({ targets: [...others, { name, target }] });
}

/** Add the seeds that are shown, as one step. */
export async function addSeeds() {
  const open = app.seedFile;
  if (!open) return;
  const told = `${tellSeeds(open.found)} added; Undo takes ${open.found.seeds.length > 1 ? "all of them" : "them"} back`;
  if (await change(() => ({ kind: "seed-file", file: open.sent }), told)) {
    show({ seedFile: null, active: Math.min(app.active, current().classes.length - 1) });
    document.getElementById("sic-seed-file-open")?.scrollIntoView({ block: "nearest" });
  }
}

export function closeSeedFile() {
  show({ seedFile: null });
  tell("Nothing was added");
}

/** Bring the box into sight, whose group may be folded. */
function focusBox() {
  const box = document.getElementById("sic-seed-file"), group = /** @type {HTMLDetailsElement | null} */ (box?.closest(".sic-group"));
  if (group) group.open = true;
  box?.scrollIntoView({ block: "nearest" });
  document.getElementById("sic-seed-file-add")?.focus({ preventScroll: true });
}

/**
 * Take what is dropped on an element; files alone, so that text can still be dropped into a field.
 * @param {HTMLElement} element
 */
export function takeDrops(element) {
  /** @param {DragEvent} event */
  const isFile = (event) => app.state !== null && [...event.dataTransfer?.types ?? []].includes("Files");
  element.addEventListener("dragover", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    element.classList.add("sic-dropping");
  });
  element.addEventListener("dragleave", (event) => {
    if (!element.contains(/** @type {Node | null} */ (event.relatedTarget))) element.classList.remove("sic-dropping");
  });
  element.addEventListener("drop", (event) => {
    element.classList.remove("sic-dropping");
    if (!isFile(event)) return;
    event.preventDefault();
    event.stopPropagation();
    const file = event.dataTransfer?.files[0];
    if (file) openSeedFile(file);
  });
}
