/** The labels as regions with their areas. */

import { enqueue } from "./requests.js";
import * as server from "./server.js";
import { app, current, layer, sessionRequest, tell, update } from "./state.js";
import * as viewer from "./viewer.js";

/** Show the regions, or take them away. */
export function toggleRegions() {
  if (!current().run) {
    tell("Run first (Space): regions are made of labels");
    return;
  }
  enqueue("Drawing regions", async () => {
    if (app.regions) forgetRegions();
    else await showRegions();
  });
}

export async function showRegions() {
  const { regions } = await server.regions(sessionRequest());
  if (app.isClosed) return;
  await viewer.showRegions(layer().uid, regions);
  update({ regions });
}

export function forgetRegions() {
  if (app.regions) viewer.hideRegions();
  update({ regions: null });
}
