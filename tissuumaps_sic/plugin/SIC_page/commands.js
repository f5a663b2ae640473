/** The line of the command line that gives what the page shows: asked of the server, copied, and told in a box over the slide. */

import { button, html } from "./dom.js";
import { enqueue } from "./requests.js";
import * as server from "./server.js";
import { app, current, placeOfSession, sessionRequest, show, subscribe, tell } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Source } from "./cards.js" */

const ROWS = 3; // of text in the box
const LEAST = 280, GAP = 12, BELOW = 44; // CSS pixels: of the box beside a card, between these two and around them, and between the box and the lower edge

/** @type {HTMLElement | null} */
let box = null;

/** Copy the line that gives the labels (""), or their export in a format. @param {string} format */
export const copyLabels = (format) => copy(format ? { what: "export", format } : { what: "run" });

/** Copy the line that lists the patches which are asked about. @param {Source} source what they came of */
export function copySource({ revision, ...asked }) {
  if (revision === current().revision) copy(asked);
  else tell("No command gives these any more: seeds have changed since they were asked for. Ask anew, and copy before you answer");
}

/** @param {server.Content} asked */
function copy(asked) {
  enqueue("Making the command", async () => {
    const { line, why } = await server.command(sessionRequest(asked));
    const isCopied = Boolean(line) && await toClipboard(line);
    show({ command: line ? { line, isCopied, of: placeOfSession() } : null, status: why || (isCopied ? "Copied" : "") });
    if (line && !isCopied) select();
  });
}

/** Whether the browser took a text: it does on this machine and over https, where the person lets it. @param {string} text */
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function select() {
  const text = /** @type {HTMLTextAreaElement | null} */ (document.getElementById("sic-command-line"));
  text?.focus();
  text?.select();
}

/** Close the box; returns whether it was open. */
export function closeCommand() {
  if (!box) return false;
  show({ command: null });
  return true;
}

/** Close the box by a key in its text, which keeps keys from all others; nobody else hears of it. @param {KeyboardEvent} event */
function closeByKey(event) {
  if (event.key !== "Escape") return;
  event.preventDefault();
  event.stopPropagation();
  closeCommand();
}

/** Show the box while there is a line of the session that is open; returns how to stop that. */
export function followCommand() {
  const stops = [
    subscribe(() => [app.command, placeOfSession()], showNow),
    subscribe(() => [app.card, app.gallery, app.state?.classes, app.state?.listed], place), // whose width is of the classes
  ];
  const measure = new ResizeObserver(place);
  measure.observe(viewer.stage());
  return () => {
    for (const stop of stops) stop();
    measure.disconnect();
    remove();
    place();
  };
}

/** Put the box beside the card or the pictures; where that leaves no room these end above it. */
function place() {
  const around = /** @type {HTMLElement} */ (viewer.container().parentElement);
  const card = box && /** @type {HTMLElement | null} */ (around.querySelector("#sic-card, #sic-gallery"));
  const left = card ? card.offsetLeft + card.offsetWidth + GAP : 0, isAside = card !== null && around.clientWidth - left - GAP >= LEAST;
  if (box) box.className = `sic-command${isAside ? " sic-command-aside" : ""}`;
  if (box) box.style.left = isAside ? `${left}px` : "";
  around.style.setProperty("--sic-command", box && card && !isAside ? `${box.offsetHeight + BELOW}px` : "0px");
}

function remove() {
  viewer.takeAway(box);
  box = null;
}

function showNow() {
  remove();
  const { command } = app;
  if (command?.of === placeOfSession()) viewer.container().parentElement?.append(box = make(command));
  place();
}

/** @param {{ line: string, isCopied: boolean }} command */
function make(command) {
  return html("section", { id: "sic-command", class: "sic-command", "aria-label": "Command" },
    html("div", { class: "sic-card-head" },
      html("b", { role: "status" }, command.isCopied ? "Copied as a command" : "Press Ctrl-C (Mac: ⌘C) to copy this command"),
      button("×", "Close (Esc)", closeCommand, { id: "sic-command-close", "aria-label": "Close the command" })),
    html("textarea", { id: "sic-command-line", class: "form-control form-control-sm", readonly: true, rows: ROWS, spellcheck: "false",
      "aria-label": "The command", onfocus: (event) => event.target.select(),
      onkeydown: closeByKey }, command.line),
    html("div", { class: "sic-card-words" }, "Run it in a terminal in the folder that is served, or in a copy of that folder."));
}
