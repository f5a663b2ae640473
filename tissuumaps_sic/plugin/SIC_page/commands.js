/** The line of the command line that gives what the page shows: asked of the server, copied, and told in a box over the slide. */

import { button, html } from "./dom.js";
import { enqueue } from "./requests.js";
import * as server from "./server.js";
import { app, current, placeOfSession, sessionRequest, show, subscribe, tell } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Source } from "./cards.js" */

const ROWS = 3; // of text in the box

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

/** Show the box while there is a line of the session that is open; returns how to stop that. */
export function followCommand() {
  const stop = subscribe(() => [app.command, placeOfSession(), app.card === null], showNow);
  return () => {
    stop();
    remove();
  };
}

function remove() {
  box?.remove();
  box = null;
}

function showNow() {
  remove();
  const { command } = app;
  if (!command || command.of !== placeOfSession()) return;
  box = html("section", { id: "sic-command", class: `sic-command${app.card ? " sic-command-aside" : ""}`, "aria-label": "Command" },
    html("div", { class: "sic-card-head" },
      html("b", { role: "status" }, command.isCopied ? "Copied as a command" : "Press Ctrl-C (Mac: ⌘C) to copy this command"),
      button("×", "Close (Esc)", closeCommand, { id: "sic-command-close", "aria-label": "Close the command" })),
    html("textarea", { id: "sic-command-line", class: "form-control form-control-sm", readonly: true, rows: ROWS, spellcheck: "false",
      "aria-label": "The command", onfocus: (event) => event.target.select(),
      onkeydown: (event) => { if (event.key === "Escape") closeCommand(); } }, command.line), // a text field has the keys
    html("div", { class: "sic-card-words" }, "Run it in a terminal in the folder that is served, or in a copy of that folder."));
  viewer.container().parentElement?.append(box);
}
