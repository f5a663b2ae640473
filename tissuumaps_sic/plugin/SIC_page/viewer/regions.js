/** TissUUmaps' own regions: ours among them, and those that a person drew. */

import { plainName } from "../legend.js";

/** @import { Place } from "../viewer.js" */

/* global dataUtils, regionUtils */

const REGION = "SICregion"; // what the ids of our regions begin with

/**
 * Show regions as TissUUmaps' own: `coordinates` of a MultiPolygon in level-0 pixels, a name and a colour each.
 * @param {string} uid
 * @param {{ name: string, color: string, coordinates: number[][][][] }[]} regions
 */
export async function showRegions(uid, regions) {
  hideRegions();
  const factor = dataUtils.data[uid]._coord_factor;
  regions.forEach(({ name, color, coordinates }, place) => {
    const scaled = coordinates.map((polygon) => polygon.map((ring) => ring.map(([x, y]) => [x * factor, y * factor])));
    const id = `${REGION}${place}`;
    regionUtils.addRegion(scaled, id, color, plainName(name), 0, true);
    regionUtils._regions[id].regionName = plainName(name);
  });
  await regionUtils.updateAllRegionClassUI();
}

export function hideRegions() {
  const ours = Object.keys(regionUtils._regions).filter((id) => id.startsWith(REGION));
  for (const id of ours) regionUtils.deleteRegion(id, true);
  if (ours.length) regionUtils.updateAllRegionClassUI();
}

/** Regions that the person drew or loaded: class, and rings of {x, y} in the page's image pixels (even-odd). @returns {{ name: string, rings: Place[][] }[]} */
export function drawnRegions() {
  return Object.values(regionUtils._regions)
    .filter(({ id, visibility }) => visibility && !id.startsWith(REGION))
    .map(({ regionClass, globalPoints }) => ({ name: regionClass, rings: globalPoints.flat() }));
}
