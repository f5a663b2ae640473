/** What is asked of the server once, when it is first wanted. */

import { attempt, follow } from "./requests.js";
import * as server from "./server.js";
import { app, current, layer, seen, update } from "./state.js";

export async function askScores() {
  return app.scores ?? follow("scores", async (job) => {
    const scores = await server.scores(seen({ job }));
    update({ scores });
    return scores;
  });
}

/** Ask which patches are unlike the seeds that there are now. */
export async function askUnlike() {
  const { revision, borrowed } = current();
  if (app.unlike || !borrowed.length) return;
  const unlike = await server.unlike(seen({ embedding: app.embedding }));
  if (current().revision === revision) update({ unlike });
}

export async function askMap() {
  if (!app.map) update({ map: await server.map({ h5ad: layer().h5ad }) });
}

/** Ask how far the labels agree with those of another session. @param {string} other */
export async function askCompared(other) {
  update({ compared: { other, place: -1, ...await server.compare(seen({ other })) } });
}

/** Compare again, since labels have changed; where the other session has none any more, with nobody. */
export async function compareAgain() {
  if (!app.compared) return;
  update({ compared: await attempt("No comparison", (async (other) => {
    await askCompared(other);
    return app.compared;
  })(app.compared.other)) });
  if (!app.compared && app.view === "disputed") update({ view: "labels" });
}
