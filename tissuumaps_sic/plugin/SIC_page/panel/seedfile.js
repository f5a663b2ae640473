/** Seeds from a file: where it is chosen, and what it would give, with a class to choose for each of its own. */

import { button, count, html, select, switchBox } from "../dom.js";
import { addSeeds, choose, closeSeedFile, openSeedFile, setTarget } from "../seedfile.js";
import { app, isSlow } from "../state.js";
import { chosenTarget, targetChoices, targetOf, tellClass, tellSeeds } from "../targets.js";

/** @import { FileClass } from "../server.js" */

const ACCEPTED = ".geojson,.json,.gz,.xml,.ndpa,.csv,.tsv,.png,.tif,.tiff,.bmp";
const SHARES = [0.25, 0.5, 0.75, 1];

/** @type {import("./section.js").Section} */
export const seedFile = {
  shows: (state) => [app.seedFile, state.classes, state.listed, isSlow()],
  draw: (state) => (app.seedFile ? [box(app.seedFile, state.listed.map((label) => state.classes[label].name))] : [chooser()]),
};

function chooser() {
  /** @type {HTMLInputElement} */
  const input = html("input", { type: "file", id: "sic-seed-file-choose", class: "visually-hidden", accept: ACCEPTED, tabindex: -1,
    "aria-label": "File of seeds", title: "File of seeds",
    onchange: () => { if (input.files?.[0]) openSeedFile(input.files[0]); } });
  return html("div", { class: "sic-seed-file-chooser" },
    button("Seeds from a file …", "Annotations of QuPath (GeoJSON), ASAP, ImageScope (XML) or NDP.view (NDPA), a mask or a CSV; or drop "
      + "the file on this panel", () => input.click(), { id: "sic-seed-file-open", disabled: isSlow() }), input);
}

/** @param {NonNullable<typeof app.seedFile>} open @param {string[]} names of the session's classes */
function box({ sent, found }, names) {
  const isEmpty = !found.seeds.length;
  return html("div", { class: "sic-seed-file", id: "sic-seed-file", role: "group", "aria-label": `Seeds from ${sent.name}` },
    html("div", { class: "sic-seed-file-name" }, sent.name),
    html("div", { id: "sic-seed-file-seeds", role: "status" }, html("b", {}, tellSeeds(found)),
      found.replaced ? `; ${count(found.replaced)} of these patches ${found.replaced > 1 ? "are seeds" : "is a seed"} of another class now` : ""),
    html("div", { class: "sic-seed-file-buttons" },
      button("Add seeds", "Add these seeds to the session; one Undo takes them back", addSeeds,
        { id: "sic-seed-file-add", class: "btn btn-sm btn-primary", disabled: isSlow() || isEmpty }),
      button("Cancel", "Add nothing", closeSeedFile, { id: "sic-seed-file-cancel" })),
    html("table", {}, html("thead", {}, html("tr", {},
      ...["In the file", "Seeds", "Becomes"].map((each, i) => html("th", { scope: "col", class: i === 1 ? "sic-number" : "" }, each)))),
    html("tbody", {}, ...found.classes.map((of, place) => row(of, place, names)))),
    html("label", { class: "sic-seed-file-inside" }, "Seeds are patches inside by",
      select({ id: "sic-seed-file-inside", disabled: isSlow(), onchange: (event) => choose({ inside: Number(event.target.value) }) },
        SHARES.map((value) => ({ value, text: `${100 * value} %${value < 1 ? " or more" : ""}` })), sent.inside)),
    found.from_bounds === null ? null : switchBox("Counts from the corner of what was scanned, as QuPath does", "", {
      id: "sic-seed-file-bounds", checked: found.from_bounds, disabled: isSlow(),
      onchange: (event) => choose({ from_bounds: event.target.checked }) }),
    found.told.length ? html("ul", { id: "sic-seed-file-told" }, ...found.told.map((each) => html("li", {}, each))) : null);
}

/** @param {FileClass} of @param {number} place @param {string[]} names */
function row(of, place, names) {
  const id = `sic-seed-file-class-${place}`;
  return html("tr", { "data-class": of.name },
    html("td", {}, html("label", { for: id, title: of.left_out }, html("span", { class: "sic-seed-file-color",
      style: `background: ${of.color ?? "transparent"}`, "aria-hidden": "true" }), tellClass(of))),
    html("td", { class: "sic-number" }, of.target === null ? "–" : count(of.seeds)),
    html("td", {}, select({ id, disabled: isSlow(), onchange: (event) => setTarget(of.name, targetOf(of, event.target.value)) },
      targetChoices(of, names), chosenTarget(of, names))));
}
