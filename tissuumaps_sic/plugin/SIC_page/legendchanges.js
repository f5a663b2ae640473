/** What a person changes in TissUUmaps' own legend of the labels is changed here as well. */

import { editClass } from "./seeding.js";
import { app, current } from "./state.js";
import * as viewer from "./viewer.js";
import { hide } from "./views.js";

/** Follow the legend; returns how to stop that. */
export const followLegend = () => viewer.watchLegend(({ hidden, color: changed }) => {
  if (!app.state?.run) return;
  hide(hidden);
  if (!changed) return;
  const { classes } = current(), label = classes.findIndex(({ name }) => name === changed.name);
  if (label >= 0 && changed.color.toLowerCase() !== classes[label].color.toLowerCase()) editClass(label, { color: changed.color });
});
