/** What clicks and Shift-drag do. */

import { button, html, switchBox, toggle } from "../dom.js";
import { clear, seedFromRegions } from "../seeding.js";
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
  shows: (state) => [app.seeding, app.tool, state.seeds.patches.length > 0, isSlow()],
  draw: (state) => [
    switchBox("Click a patch to seed it, again to take it back", "my-1", { id: "sic-seeding", checked: app.seeding,
      title: "A patch is a square of the slide; a seed is one that you show as an example of a class. Off: clicks only look", onchange: (event) => show({ seeding: event.target.checked }) }),
    html("div", { class: "sic-tools" },
      html("span", { title: "T chooses the next" }, "Shift-drag:"),
      html("div", { class: "sic-choices", role: "group", "aria-label": "What Shift-drag does" },
        ...Object.entries(TOOLS).map(([tool, [text, title]]) => toggle(tool === app.tool, text, title,
          () => show({ tool }), { id: `sic-tool-${tool}`, disabled: !app.seeding }))),
      button("From regions", "Seed what lies in the regions drawn in TissUUmaps: with the class of that name, else the chosen one",
        seedFromRegions, { id: "sic-from-regions", disabled: isSlow() || !app.seeding }),
      button("Clear", "Remove all seeds; can be undone", clear,
        { id: "sic-clear", disabled: isSlow() || !state.seeds.patches.length }))],
};
