/** What a person can do with another reader's session. */

import { applyView, drawLabels, enqueue, reload, setView } from "./actions.js";
import { count } from "./dom.js";
import { askCompared } from "./fetched.js";
import { drawPointed } from "./overlay.js";
import { postForState } from "./server.js";
import { app, changed, request, sessionTitle, tell } from "./state.js";
import * as viewer from "./viewer.js";

/** Compare the labels with those of another session, or (null) with none. */
export function compareWith(other) {
  if (other === null) {
    app.compared = null;
    return app.view === "disputed" ? setView("labels") : changed();
  }
  return enqueue("Comparing", async () => {
    await askCompared(other);
    app.view = "disputed";
    await drawLabels(app.labels);
    applyView();
    app.status = app.compared.n_disputed ? `Compared with ${sessionTitle(other)}; X goes to what is disputed`
      : `${sessionTitle(other)} has the same labels everywhere`;
  });
}

/** Go to the next place where the two disagree. */
export function nextDisputed() {
  const places = app.compared?.places ?? [];
  if (!places.length) {
    tell(app.compared ? "Nothing is disputed" : "Compare with another session first");
    return;
  }
  app.place = (app.place + 1) % places.length;
  const [row, size] = places[app.place];
  drawPointed(row);
  viewer.lookAt(app.grid.x[row], app.grid.y[row]);
  tell(`Disputed place ${app.place + 1} of ${places.length}: ${count(size)} ${size > 1 ? "patches" : "patch"}`);
}

/** Make a session of what this one and the compared one agree on, and open it. */
export function consensus() {
  const sessions = [app.session, app.compared.other];
  const taken = new Set(app.state.sessions);
  let proposed = "consensus";
  for (let number = 2; taken.has(proposed); number++) proposed = `consensus ${number}`;
  const name = window.prompt("Name of the new session", proposed)?.trim();
  if (!name) return undefined;
  return enqueue("Merging", async () => {
    const { n_disputed: left } = await postForState("merge", { ...request({ session: name }), sessions });
    app.session = name;
    await reload();
    applyView();
    app.status = `${count(app.state.seeds.patches.length)} seeds that neither disputes`
      + (left ? `; ${count(left)} that are disputed are left out` : "");
  });
}
