/** Patches of the folder's other slides that are like one of this: looked for, shown, and seeded where they are. */

import { atRoot } from "./address.js";
import { count, tellCount } from "./dom.js";
import { enqueue, follow } from "./requests.js";
import * as server from "./server.js";
import { app, layer, request, sessionTitle, update, user } from "./state.js";

/** @import { Found } from "./server.js" */

const SIDE = 168; // pixels of a picture

/** Look through the other slides for what is most like a patch. @param {number} patch */
export async function askElsewhere(patch) {
  const of = `${layer().h5ad} ${app.session} ${app.embedding} ${patch}`;
  if (app.elsewhere?.of === of) return;
  const found = await follow("elsewhere", (job) => server.elsewhere(request({ embedding: app.embedding, patch, job })));
  update({ elsewhere: { ...found, of, seeded: {} } });
}

/** What was looked through, in words. */
export function tellElsewhere() {
  const { slides = 0, other = 0, problems = [] } = app.elsewhere ?? {};
  const looked = slides ? `${tellCount(slides, "other slide")} looked through` : "No other slide of the folder can be compared with this one";
  return [looked, other ? `${count(other)} left out: embedded in another way, or the file does not tell how` : "",
    problems.length ? `${count(problems.length)} could not be looked through (${problems[0]}${problems.length > 1 ? "; …" : ""})` : ""].filter(Boolean).join("; ");
}

/** The page of a slide, at a patch, in the session that is open here. @param {Found} found */
export const pageAt = ({ page, patch }) => `${atRoot(page)}#${new URLSearchParams({ "sic-patch": String(patch), "sic-session": app.session })}`;

/** Draw what the network saw of a patch; false where its slide has no image. @param {HTMLCanvasElement} canvas @param {CanvasRenderingContext2D} context @param {Found} found */
export async function drawFound(canvas, context, { h5ad, patch, embedding }) {
  const bytes = await server.picture({ h5ad, embedding, patch, side: SIDE });
  if (!bytes.length) return false;
  const picture = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return true;
}

/**
 * Seed patches of other slides with a class by its name, in their sessions of the same name: one step of each slide.
 * @param {number[]} places in what was found
 * @param {string} name
 */
export function seedElsewhere(places, name) {
  return enqueue("Saving", async () => {
    const { elsewhere, session } = app, told = [];
    if (!elsewhere) return;
    for (const [h5ad, group] of groupBySlide(elsewhere.patches, places)) {
      const { slide } = elsewhere.patches[group[0]];
      const { classes, revision } = await server.open({ h5ad, session });
      const label = classes.findIndex((each) => each.name === name);
      if (label < 0) {
        throw new server.ServerError(server.REFUSED, `${slide} has no class “${name}” in its session ${sessionTitle(session)}: nothing is seeded there. `
          + "Add the class on that slide (or offer the classes of this one to the folder before the slide is begun), then try again");
      }
      const patches = group.map((place) => elsewhere.patches[place].patch);
      await server.change({ h5ad, session, revision, user: user(), change: { kind: "seed", label, patches } });
      const seeded = { ...app.elsewhere?.seeded, ...Object.fromEntries(group.map((place) => [place, name])) };
      if (app.elsewhere?.of === elsewhere.of) update({ elsewhere: { ...app.elsewhere, seeded } });
      told.push(`${count(group.length)} of ${slide}`);
    }
    update({ status: `Seeded as ${name}: ${told.join(", ")}. Undo is there: open that slide, and press Z` });
  });
}

/** @param {Found[]} found @param {number[]} places */
export function groupBySlide(found, places) {
  /** @type {Map<string, number[]>} */
  const groups = new Map();
  for (const place of places) groups.set(found[place].h5ad, [...groups.get(found[place].h5ad) ?? [], place]);
  return groups;
}
