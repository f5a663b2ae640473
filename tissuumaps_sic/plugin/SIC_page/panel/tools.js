/** What clicks and Shift-drag do. */

import { button, html, switchBox, toggle } from "../dom.js";
import { seedFromRegions } from "../seeding.js";
import { app, isSlow, show } from "../state.js";

/** @type {Record<string, [string, string]>} */
const TOOLS = {
  lasso: ["Lasso", "Shift-drag around patches"],
  rectangle: ["Rectangle", "Shift-drag from corner to corner"],
  brush: ["Brush", "Shift-drag over patches; the wheel with Shift, or , and ., make it smaller and larger"],
  eraser: ["Eraser", "Shift-drag over seeds, to take them back; of the brush's size"],
  wand: ["Wand", "Shift-press on a patch: what is like it lights up; drag to widen, release to seed, Esc takes it back"],
};

/** @type {import("./section.js").Section} */
export const seeding = {
  shows: () => [app.seeding, app.tool, isSlow()],
  draw: () => [
    switchBox("Click a patch to seed it, again to unseed", "my-1", { id: "sic-seeding", checked: app.seeding,
      title: "Off: clicks only look", onchange: (event) => show({ seeding: event.target.checked }) }),
    html("div", { class: "sic-tools" },
      html("span", { class: "text-muted", title: "T chooses the next" }, "Shift-drag:"),
      html("div", { class: "btn-group btn-group-sm", role: "group", "aria-label": "What Shift-drag does" },
        ...Object.entries(TOOLS).map(([tool, [text, title]]) => toggle(tool === app.tool, text, title,
          () => show({ tool }), { id: `sic-tool-${tool}`, disabled: !app.seeding }))),
      button("From regions", "Seed what lies in the regions drawn in TissUUmaps: with the class of that name, else the chosen one",
        seedFromRegions, { id: "sic-from-regions", disabled: isSlow() || !app.seeding }))],
};
