/** What is asked of the server once, when it is first wanted. */

import { followed } from "./progress.js";
import { postForCompared, postForMap, postForScores, postForUnlike } from "./server.js";
import { app, request } from "./state.js";

export async function askScores() {
  app.scores ??= await followed("scores", (job) => postForScores(request({ revision: app.state.revision, job })));
}

/** Ask which patches are unlike the seeds that there are now. */
export async function askUnlike() {
  const { revision, borrowed } = app.state;
  if (app.unlike || !borrowed.length) return;
  const found = await postForUnlike(request({ revision, embedding: app.embedding }));
  if (app.state.revision === revision) app.unlike = found;
}

export async function askMap() {
  app.map ??= await postForMap({ h5ad: app.layer.h5ad });
}

export async function askCompared(other) {
  app.compared = { other, ...await postForCompared(request({ revision: app.state.revision, other })) };
  app.place = -1;
}

/** Compare again, since labels have changed; where the other session has none any more, with nobody. */
export async function compareAgain() {
  if (!app.compared) return;
  try {
    await askCompared(app.compared.other);
  } catch (error) {
    console.warn(`No comparison: ${error.message}`);
    app.compared = null;
    if (app.view === "disputed") app.view = "labels";
  }
}
