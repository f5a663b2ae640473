/** The name of a class as it is typed: what is refused stays, with the reason. */

import { button, html } from "../dom.js";
import { addClass, editClass } from "../seeding.js";
import { app, current, show, update } from "../state.js";

/** Begin to name a class, or (null) a new one. @param {number | null} label */
export function startNaming(label) {
  show({ naming: { label, text: label === null ? "" : current().classes[label].name, error: "" } });
  const field = /** @type {HTMLInputElement | null} */ (document.getElementById("sic-class-naming"));
  field?.focus();
  field?.select();
}

/** The field for a name. @param {number | null} label */
export function nameField(label) {
  const { text, error } = app.naming ?? { text: "", error: "" };
  const end = (/** @type {boolean} */ takes) => {
    if (isTaking || !app.naming) return;
    if (takes) take(label); else giveUp(label);
  };
  return html("span", { class: "sic-naming" },
    html("input", { type: "text", id: "sic-class-naming", class: "form-control form-control-sm", value: text,
      "aria-label": label === null ? "Name of the new class" : "Name of the class", "aria-invalid": String(Boolean(error)),
      placeholder: "Name of the class", autocomplete: "off", title: "Enter keeps the name, Esc does not",
      oninput: (event) => { if (app.naming) update({ naming: { ...app.naming, text: event.target.value } }); },
      onkeydown: (event) => {
        if (event.key === "Enter") end(true);
        if (event.key === "Escape") end(false);
      },
      // Left for something else: an empty name, or the old one, is none; all else is taken.
      onblur: () => end(Boolean(app.naming?.text.trim())) }),
    error ? html("span", { class: "sic-naming-error", role: "alert" }, error) : null);
}

export const newName = () => html("div", { class: "sic-new-class" }, nameField(null),
  button("Add", "Add the class (Enter)", () => take(null), { onpointerdown: (event) => event.preventDefault() }),
  button("Cancel", "Add none (Esc)", () => giveUp(null), { onpointerdown: (event) => event.preventDefault() }));

let isTaking = false; // a field that is drawn anew or goes is left, too, and must not take the name once more

/** @param {number | null} label */
function giveUp(label) {
  isTaking = true;
  show({ naming: null });
  isTaking = false;
  goBack(label);
}

/** Give the focus back to the class, or to what a new one is asked for by. @param {number | null} label */
function goBack(label) {
  if (document.activeElement && document.activeElement !== document.body) return; // it went elsewhere
  document.getElementById(label === null ? "sic-add-class" : `sic-class-${label}`)?.focus({ preventScroll: true });
}

/** Take the name that was typed; where it is refused it stays, with the reason. @param {number | null} label */
async function take(label) {
  const { naming, state } = app;
  if (!naming || !state || isTaking) return;
  const name = naming.text.trim();
  if (label !== null && name === state.classes[label].name) {
    giveUp(label);
    return;
  }
  isTaking = true;
  const done = await (label === null ? addClass(name) : editClass(label, { name }));
  show({ naming: done ? null : { label, text: naming.text, error: app.error || "Not saved" } });
  isTaking = false;
  if (done) {
    goBack(label ?? app.active);
    // Of many classes the new one is below the others, out of sight.
    document.querySelector(".sic-classes .sic-active")?.scrollIntoView({ block: "nearest" });
  }
  else document.getElementById("sic-class-naming")?.focus();
}
