/** How the panel looks. */

import { html } from "./dom.js";
import { THUMBNAIL } from "./why.js";

export function style() {
  return html("style", {}, `
    .sic-head { display: flex; gap: .75em; align-items: baseline; margin: .5em 0; }
    .sic-classes { width: 100%; border-collapse: separate; border-spacing: 0 .15em; }
    .sic-classes th { font-weight: normal; color: #6c757d; font-size: .85em; padding: 0 .3em; }
    .sic-classes td { padding: .2em .3em; vertical-align: middle; }
    .sic-classes tr.sic-active td { background: #e7f1ff; }
    .sic-classes input[type=color] { width: 2em; height: 1.7em; padding: 0; border: 1px solid #ccc; }
    .sic-number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
    .sic-buttons { display: flex; flex-wrap: wrap; gap: .3em; margin: .5em 0; }
    .sic-method { width: auto; }
    .sic-live { margin: .3em 0 0 .5em; }
    .sic-tools, .sic-session { display: flex; gap: .5em; align-items: center; margin: .4em 0; }
    .sic-session select { width: auto; max-width: 9em; }
    .sic-session button { white-space: nowrap; }
    .sic-session input { flex: 1; min-width: 5em; }
    .sic-removal { width: 2em; border: 0; background: none; appearance: none; text-align: center; cursor: pointer; }
    #sic-why { border-top: 1px solid #ddd; padding-top: .5em; min-height: 14em; }
    .sic-why-row { display: flex; gap: .5em; align-items: center; margin: .3em 0; }
    .sic-why-row canvas { width: ${THUMBNAIL}px; height: ${THUMBNAIL}px; border-radius: 3px; display: block; }
    .sic-why-name { flex: 1; min-width: 4em; border-left: 4px solid; padding-left: .4em; overflow: hidden; text-overflow: ellipsis; }
    .sic-why-seed { border: 0; background: none; padding: 0; font-size: .8em; font-variant-numeric: tabular-nums; }
    .sic-settled { color: #146c43; }
    .sic-embedding { display: flex; gap: .6em; align-items: center; margin: .5em 0; }
    .sic-embedding select { flex: 1; min-width: 0; }
    .sic-view { display: flex; gap: 1em; align-items: center; margin: .6em 0; }
    .sic-view .btn-group { flex: none; }
    .sic-border, .sic-scale { display: flex; gap: .6em; align-items: center; margin: .4em 0; }
    .sic-gradient { flex: 1; height: .8em; border-radius: 3px; }
    #sic-border-value { min-width: 2.6em; }
    .sic-map { position: absolute; right: 12px; bottom: 12px; z-index: 20; background: #fff; border-radius: 6px;
      box-shadow: 0 2px 12px rgba(0, 0, 0, .35); padding: 6px; }
    .sic-map-head { display: flex; justify-content: space-between; align-items: center; padding: 0 4px 4px; }
    .sic-map canvas { display: block; }
    .sic-map-plot { position: relative; background: #f4f4f6; }
    #sic-map-canvas { position: absolute; inset: 0; cursor: crosshair; touch-action: none; }
    .sic-areas { width: 100%; margin: .3em 0 .6em; }
    .sic-areas th { font-weight: normal; color: #6c757d; font-size: .85em; }
    .sic-messages { min-height: 4.2em; }
    .sic-progress-text { display: flex; justify-content: space-between; gap: .6em; }
    .sic-progress-stage { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .sic-progress-line { display: flex; gap: .6em; align-items: center; }
    .sic-progress-line .progress { flex: 1; height: .8em; }
    .sic-progress-line .progress-bar { transition: none; }
    .sic-stale { color: #8a5a00; }
    .sic-lasso { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
    .sic-lasso polyline { fill: none; stroke: #fff; stroke-opacity: .7; stroke-width: 8; stroke-linecap: round; }
    .sic-lasso polygon { fill: rgba(255, 255, 255, .2); stroke: #111; stroke-width: 2; stroke-dasharray: 5 3; }
  `);
}
