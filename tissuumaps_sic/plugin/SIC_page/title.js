/** The browser's tab, by which one slide is told from another. */

import { app, subscribe } from "./state.js";
import { places } from "./worklist.js";

/** Name the tab by its slide; returns how to give it back its own name. */
export function followTitle() {
  const before = document.title;
  const stop = subscribe(() => [app.state?.slide, app.worklist], () => {
    const { place, last } = places();
    if (app.state) document.title = app.state.slide + (last > 0 ? ` - ${place + 1} of ${last + 1}` : "");
  });
  return () => {
    stop();
    document.title = before;
  };
}
