/** What a person can do with another reader's session. */

import { showCard } from "./cards.js";
import { count, tellCount } from "./dom.js";
import { askCompared } from "./questions.js";
import { applyView, drawLabels } from "./labels.js";
import { reload } from "./open.js";
import { drawPointed } from "./overlay.js";
import { enqueue } from "./requests.js";
import * as server from "./server.js";
import { app, current, layer, request, sessionTitle, show, tell, update } from "./state.js";
import * as viewer from "./viewer.js";
import { setView } from "./views.js";

/** Compare the labels with those of another session, or (null) with none. @param {string | null} other */
export function compareWith(other) {
  if (other === null) {
    show({ compared: null });
    if (app.view === "disputed") setView("labels");
    return;
  }
  enqueue("Comparing", async () => {
    await askCompared(other);
    update({ view: "disputed" });
    await drawLabels(app.labels);
    applyView();
    update({ status: app.compared?.n_disputed ? `Compared with ${sessionTitle(other)}; X goes to what is disputed`
      : `${sessionTitle(other)} has the same labels everywhere` });
  });
}

/** Go to the next place where the two disagree. */
export function nextDisputed() {
  const { compared } = app, places = compared?.places ?? [];
  if (!compared || !places.length) {
    tell(compared ? "Nothing is disputed" : "Compare with another session first");
    return;
  }
  const place = (compared.place + 1) % places.length;
  update({ compared: { ...compared, place } });
  const [row, size] = places[place];
  drawPointed(row);
  viewer.lookAt(layer().grid.x[row], layer().grid.y[row]);
  showCard({ kind: "disputed", rows: places.map(([each]) => each), place });
  tell(`Disputed place ${place + 1} of ${places.length}: ${tellCount(size, "patch", "patches")}`);
}

/** Ask for the name of a session of what this one and the compared one agree on. */
export function consensus() {
  const taken = new Set(current().sessions);
  let proposed = "consensus";
  for (let number = 2; taken.has(proposed); number++) proposed = `consensus ${number}`;
  show({ sessionNaming: { kind: "consensus", text: proposed } });
}

/** Make it, and open it; returns whether that could be done. @param {string} name */
export function makeConsensus(name) {
  if (!app.compared) return Promise.resolve(false);
  const sessions = [app.session, app.compared.other];
  return enqueue("Merging", async () => {
    const { n_disputed: left } = await server.merge(request({ session: name, sessions }));
    update({ session: name });
    await reload();
    drawPointed(null);
    applyView();
    update({ status: `${tellCount(current().seeds.patches.length, "seed")} that neither disputes`
      + (left ? `; ${count(left)} more to decide, where seeds or labels differ` : "") });
  });
}
