/** What a person changes in TissUUmaps' own legend of the labels is changed here as well. */

import { editClass } from "./seeding.js";
import { app, current } from "./state.js";
import * as viewer from "./viewer.js";
import { hide } from "./views.js";

/** Follow the legend; returns how to stop that. */
export const followLegend = () => viewer.watchLegend(({ hidden, colors }) => {
  if (!app.state?.run) return;
  hide(hidden);
  const { classes } = current();
  classes.forEach(({ name, color }, label) => {
    if (colors[name] && colors[name].toLowerCase() !== color.toLowerCase()) editClass(label, { color: colors[name] });
  });
});
