/** How the panel looks. */

import { html } from "../dom.js";
import { SESSIONS_STYLE } from "./style_sessions.js";
import { THUMBNAIL } from "./why.js";

export function style() {
  return html("style", {}, `${SESSIONS_STYLE}
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
    .sic-map { position: absolute; right: 12px; bottom: 48px; z-index: 20; background: #fff; border-radius: 6px;
      box-shadow: 0 2px 12px rgba(0, 0, 0, .35); padding: 6px; }
    .sic-map-head { display: flex; justify-content: space-between; align-items: center; padding: 0 4px 4px; }
    .sic-compare select { width: auto; max-width: 9em; }
    .sic-wall { margin: .3em 0 .5em; }
    .sic-wall-name { display: flex; gap: .6em; margin-bottom: .2em; }
    .sic-wall-name .sic-why-name { flex: none; }
    .sic-wall-seeds { display: flex; flex-wrap: wrap; gap: 3px; align-items: center; }
    .sic-seed { position: relative; border: 2px solid; border-radius: 4px; line-height: 0; }
    .sic-seed > button { border: 0; padding: 0; background: none; line-height: 0; }
    .sic-seed canvas { width: 40px; height: 40px; border-radius: 2px; }
    .sic-seed:hover, .sic-seed:focus-within { outline: 2px solid #111; }
    .sic-seed .sic-seed-remove { position: absolute; top: -4px; right: -4px; width: 16px; height: 16px; line-height: 14px;
      border-radius: 8px; background: #111; color: #fff; font-size: 12px; display: none; }
    .sic-seed:hover .sic-seed-remove { display: block; }
    #sic-seeds, #sic-keys { border-top: 1px solid #ddd; padding: .4em 0; }
    #sic-seeds summary, #sic-keys summary { cursor: pointer; }
    #sic-keys td { padding: .1em .8em .1em 0; }
    .sic-worklist { border-bottom: 1px solid #ddd; padding-bottom: .4em; }
    .sic-worklist-row { display: flex; gap: .5em; align-items: center; margin: .4em 0 .2em; }
    .sic-worklist-place { min-width: 5.5em; text-align: center; font-variant-numeric: tabular-nums; }
    .sic-worklist-list { max-height: 15em; overflow-y: auto; margin: .3em 0; }
    .sic-worklist-item { display: flex; gap: .5em; padding: .1em .3em; color: inherit; text-decoration: none;
      border-radius: 3px; content-visibility: auto; contain-intrinsic-height: 1.7em; }
    .sic-worklist-item[hidden] { display: none; }
    .sic-worklist-item:hover, .sic-worklist-item:focus-visible { background: #eef1f4; color: inherit; }
    .sic-worklist-item[aria-current] { background: #e7f1ff; font-weight: 600; }
    .sic-worklist-name { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .sic-worklist-mark { width: 1.1em; text-align: center; }
    .sic-worklist-state { width: 8em; color: #6c757d; font-weight: normal; }
    .sic-state-labelled .sic-worklist-mark { color: #146c43; }
    .sic-state-seeded .sic-worklist-mark { color: #0b5ed7; }
    .sic-state-changed .sic-worklist-mark, .sic-state-changed .sic-worklist-state { color: #8a5a00; }
    .sic-state-problem .sic-worklist-mark, .sic-state-problem .sic-worklist-state { color: #b02a37; }
    .sic-adding { display: flex; gap: .5em; align-items: center; }
    .sic-lenders { width: auto; max-width: 12em; }
    .sic-borrowed { margin: .4em 0; padding: .2em .5em; background: #f4f4f6; border-radius: 3px; }
    .sic-borrowed-row { display: flex; gap: .5em; align-items: center; justify-content: space-between; min-height: 2em; }
    .sic-borrowed-row .btn { padding: 0 .5em; }
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
