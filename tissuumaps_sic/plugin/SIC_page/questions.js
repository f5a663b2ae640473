/** What is asked of the server once, when it is first wanted. */

import { pairUp } from "./pairs.js";
import { attempt, follow, newToken } from "./requests.js";
import * as server from "./server.js";
import { app, current, layer, sessionRequest, update } from "./state.js";

export async function askScores() {
  return app.scores ?? follow("scores", async (job) => {
    const scores = await server.scores(sessionRequest({ job }));
    update({ scores });
    return scores;
  });
}

/** How alike every patch is to one, of which the last answer is kept. @param {number} patch */
export async function askLikeness(patch) {
  const of = `${layer().h5ad} ${app.embedding}`, { embedding } = app;
  if (app.likeness?.of === of && app.likeness.patch === patch) return;
  const values = await follow("likeness", (job) => server.likeness({ h5ad: layer().h5ad, embedding, patch, job }));
  update({ likeness: { of, patch, values } });
}

/** Ask which patches are unlike the seeds that there are now. */
export async function askUnlike() {
  const { revision, borrowed } = current();
  if (app.unlike || !borrowed.length) return;
  const unlike = await server.unlike(sessionRequest({ embedding: app.embedding }));
  if (current().revision === revision) update({ unlike });
}

/** How to stop the labels of cells that are on their way. */
let dropAsked = () => {};

/** Stop what makes labels of cells, which nobody wants any more. */
export const dropCells = () => dropAsked();

/** Ask for the cells of the labels that there are; they come unless others are asked for. */
export async function askCells() {
  dropCells();
  const { labels } = app, { h5ad } = layer(), job = newToken();
  if (!labels || !app.lattice || !current().run?.scored || app.cells?.of === labels) return;
  let isWanted = true;
  dropAsked = () => {
    isWanted = false;
    dropAsked = () => {};
    update({ isSharpening: false });
    server.cancel({ h5ad, job }).catch(() => {}); // a server that is gone is told of by what is asked next
  };
  update({ isSharpening: true });
  try {
    const cells = await server.cells(sessionRequest({ job }));
    if (isWanted && app.labels === labels) update({ cells: { ...cells, of: labels } });
  } catch (error) {
    if (isWanted) throw error;
  } finally {
    if (isWanted) {
      dropAsked = () => {};
      update({ isSharpening: false });
    }
  }
}

export async function askMap() {
  if (!app.map) update({ map: await server.map({ h5ad: layer().h5ad }) });
}

/** Ask how far the labels agree with those of another session. @param {string} other */
export async function askCompared(other) {
  const compared = await server.compare(sessionRequest({ other }));
  update({ compared: { other, place: -1, pairs: pairs(compared), ...compared } });
}

/** @param {import("./server.js").Compared} compared */
const pairs = ({ labels, classes }) => pairUp(app.labels ?? [], current().run?.classes ?? [], labels, classes);

/** Compare again, since labels have changed; where the other session has none any more, with nobody. */
export async function compareAgain() {
  if (!app.compared) return;
  const { other } = app.compared;
  const compared = await attempt("No comparison", server.compare(sessionRequest({ other })));
  update({ compared: compared && { other, place: -1, pairs: pairs(compared), ...compared } });
  if (!compared && app.view === "disputed") update({ view: "labels" });
}
