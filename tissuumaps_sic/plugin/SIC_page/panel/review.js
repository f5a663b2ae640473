/** How far a slide is looked through: the share seen, reviewed or not, the least sure patches, notes. */

import { button, classTag, html, share, toggle } from "../dom.js";
import { openGallery } from "../gallery.js";
import { cancel } from "../gestures.js";
import { choice } from "../menus.js";
import { drawPart, dropPart } from "../parts.js";
import { addNote, goTo, removeNote, toggleChecked } from "../remarks.js";
import { app, isSlow, memory, sessionTitle, show, tellWhole } from "../state.js";

/** @import { Child } from "../dom.js" */
/** @import { Note, Session } from "../server.js" */
/** @import { Target } from "../state.js" */

const own = memory(() => ({ draft: "", isOpen: false, wasNoted: /** @type {number | null} */ (null) })); // of the note that is being written

/** @type {import("./section.js").Section} */
export const review = {
  shows: (state) => [state.checked, state.notes, state.run?.classes, app.labels !== null, app.notes, app.looked?.share, app.part, app.noted, app.noteTarget, isSlow()],
  draw: (state) => [html("div", { class: "sic-review" }, lookedAt(), checkedBy(state), sureness(state), notes(state))],
};

function lookedAt() {
  return html("span", { id: "sic-looked", title: "What was on the screen at 10x or nearer; green on the small map" },
    app.looked ? `Looked at ${share(app.looked.share, 1)} of ${tellWhole()}` : "");
}

/** @param {Session} state */
function checkedBy({ checked }) {
  const isChecked = checked?.is_current ?? false;
  return html("span", { class: "sic-checked" },
    toggle(isChecked, isChecked ? "✓ Reviewed" : "Mark as reviewed", "Say that this slide is done; shown in the list of slides, in reports and tables",
      toggleChecked, { id: "sic-checked", disabled: isSlow() }),
    checked ? html("span", { id: "sic-checked-by" },
      ` ${checked.user || "somebody"}, ${when(checked.time)}${isChecked ? "" : "; changed since"}`) : null);
}

/** @param {string} time */
const when = (time) => new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** The positive class comes first, as in the list. @param {number} a @param {number} b */
const byPlace = (a, b) => (a === 1 ? -1 : b === 1 ? 1 : a - b);

/** @param {Session} state */
function sureness({ run }) {
  if (!run?.scored || !app.labels) return null;
  const names = run.classes.map((each) => each.name);
  const shown = names.flatMap((name, label) => (run.counts[label] && names.indexOf(name) === label ? [label] : [])).sort(byPlace);
  return html("div", { class: "sic-sureness" }, html("span", { title: "Patches of a class as pictures, the least sure first" }, "Least sure:"),
    ...shown.map((label) => html("button", { type: "button", class: "btn btn-sm sic-gallery-open", id: `sic-gallery-${label}`,
      title: `Pictures of what is labelled ${names[label]}, the least sure first`, disabled: isSlow(), onclick: () => openGallery(label) },
    classTag(run.classes[label].color, names[label]))));
}

/** @param {Session} state */
function notes(state) {
  if (app.noted !== null && app.noted !== own.wasNoted) own.isOpen = true;
  own.wasNoted = app.noted;
  const all = [...state.notes.map((each) => ({ ...each, session: "", isOwn: true })), ...app.notes.map((each) => ({ ...each, isOwn: false }))];
  const box = html("details", { id: "sic-notes", open: own.isOpen, ontoggle: () => { own.isOpen = box.open; } },
    html("summary", { title: "Notes on the slide, a patch or a part of it, which other readers see" },
      all.length ? `Notes (${all.length})` : "Notes"),
    ...all.map(noteRow),
    html("div", { class: "sic-note-new" },
      html("textarea", { id: "sic-note-text", class: "form-control form-control-sm", rows: 2, maxlength: 1000,
        placeholder: "A note for the next reader", "aria-label": "A new note", onkeydown: onKey, oninput: (event) => { own.draft = event.target.value; } }, own.draft),
      choice("What the note is on", (value) => choose(/** @type {Target} */ (value)), { id: "sic-note-target", title: "What the note is on" },
      [{ value: "slide", text: "on the slide" }, { value: "patch", text: app.noted === null ? "on the patch in the middle, or on the card" : "on the patch that you chose" },
        { value: "view", text: "on what is in view" },
        { value: "part", text: "on a part that you draw" }], app.noteTarget),
      app.part?.corners.length ? button("Draw again", "Draw another part of the slide for this note", drawPart, { id: "sic-note-redraw" }) : null,
      button("Add", "Keep this note", add, { id: "sic-note-add", disabled: isSlow() })));
  return box;
}

/** Esc in the text, which keeps keys from all others: no part, as is said while one is drawn. @param {KeyboardEvent} event */
function onKey(event) {
  if (event.key !== "Escape") return;
  event.stopPropagation();
  if (!event.repeat) cancel();
}

/** @param {Target} wanted */
function choose(wanted) {
  dropPart();
  show({ noteTarget: wanted, ...wanted === "patch" ? {} : { noted: null } });
  if (wanted === "part") drawPart();
}

async function add() {
  const text = own.draft;
  own.draft = "";
  if (!await addNote(text, app.noteTarget)) own.draft = text;
}

/** @param {Note & { session: string, isOwn: boolean }} note @returns {Child} */
function noteRow({ number, text, user, time, patch, box, session, isOwn }) {
  const by = [user, isOwn ? "" : sessionTitle(session), when(time)].filter(Boolean).join(", ");
  return html("div", { class: "sic-note", "data-note": isOwn ? number : `${session}/${number}` },
    html("div", {}, html("span", { class: "sic-note-text" }, text), html("span", { class: "sic-note-by" }, ` ${by}`)),
    patch === null ? html("span", { class: "sic-note-by" }, "slide")
      : button(box ? "Place" : "Patch", "Go there", () => goTo(patch)),
    isOwn ? button("×", "Remove this note", () => removeNote(number), { "aria-label": "Remove this note" }) : null);
}
