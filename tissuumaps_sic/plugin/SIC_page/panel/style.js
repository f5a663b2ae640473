/** How the panel looks. */

import { html } from "../dom.js";
import { SEED_FILE_STYLE } from "./style_seedfile.js";
import { SESSIONS_STYLE } from "./style_sessions.js";
import { THUMBNAIL } from "./why.js";

export function style() {
  return html("style", {}, `${SESSIONS_STYLE}${SEED_FILE_STYLE}
    .sic { color: #212529; font-size: .9rem; overflow-wrap: break-word; }
    .sic .text-muted { color: #5c636a !important; }
    .sic .btn:disabled { pointer-events: auto; cursor: not-allowed; color: #5c636a; border-color: #adb5bd; opacity: 1; }
    .sic .btn-primary:disabled, .sic .btn-secondary:disabled { background: #e9ecef; }
    .sic .btn-secondary { background: #495057; border-color: #495057; color: #fff; }
    .sic .btn-outline-secondary { color: #343a40; border-color: #868e96; }
    .sic .btn-outline-secondary:hover:not(:disabled) { background: #e9ecef; color: #212529; }
    .sic :focus-visible { outline: 3px solid #0b5ed7; outline-offset: 1px; box-shadow: none; scroll-margin-top: calc(var(--sic-above, 0px) + 3.5rem); }
    .sic-above { container-type: inline-size; position: sticky; top: 2.2rem; z-index: 5; background: #fff; border-bottom: 1px solid #ddd; padding-bottom: .3em; }
    .sic-below { position: relative; } /* what is hidden within it would make the whole page scroll */
    .sic-head { display: flex; flex-wrap: wrap; gap: 0 .75em; align-items: baseline; margin: .3em 0; }
    .sic-banner { background: #fff3cd; border-left: 4px solid #8a5a00; padding: .3em .6em; margin: .3em 0; }
    .sic-steps { display: flex; flex-wrap: wrap; gap: .1em .9em; margin: .2em 0; padding: .15em .4em; list-style: none; background: #f4f4f6; }
    .sic-steps li > span:first-child { display: inline-block; min-width: 1.4em; text-align: center; border-radius: 1em; border: 1px solid #868e96; }
    .sic-steps .sic-done { color: #146c43; }
    .sic-steps .sic-next { font-weight: 600; }
    @container (max-width: 20em) { .sic-steps .sic-done { display: none; } } /* the strip is always in sight, and so must be what is below it */
    .sic-steps .sic-next > span:first-child { background: #212529; color: #fff; }
    .sic-group { border-bottom: 1px solid #ddd; padding: .2em 0; }
    .sic-group > summary, #sic-seeds > summary, #sic-history > summary, #sic-keys > summary { font-weight: 600; cursor: pointer; }
    .sic-group:not(:has(> div > *)) { display: none; }
    .sic-classes-box { max-height: 42vh; overflow-y: auto; container-type: inline-size; }
    .sic .sic-classes td.sic-count { padding-left: .7em; } /* apart from the seeds: "3 269" is no number */
    @container (max-width: 22em) {
      .sic-count small { display: none; }
      .sic-unused { font-size: 0; }
      .sic-unused::after { content: "–"; font-size: .9rem; }
      .sic-classes thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
      .sic .sic-classes td, .sic .sic-classes td.sic-count { padding: 0 .1em 0 .3em; }
      .sic-classes .sic-class-box { gap: .3em; }
    }
    .sic-classes { width: 100%; border-collapse: separate; border-spacing: 0 1px; }
    .sic-classes th { font-weight: normal; color: #5c636a; font-size: .85em; padding: 0 .3em; }
    .sic-classes td { padding: 0 .2em; vertical-align: middle; }
    .sic-classes tr.sic-active td { background: #e7f1ff; }
    .sic-classes td.sic-class { width: 100%; max-width: 0; }
    .sic-class-box { display: flex; gap: .5em; align-items: center; }
    .sic-class-box .form-check-input { flex: none; margin: 0; }
    .sic-class-name { overflow-wrap: break-word; min-width: 0; flex: 1; line-height: 1.25; cursor: pointer; padding: .15em 0; }
    .sic-classes input[type=color] { flex: none; width: 1.8em; height: 1.5em; padding: 0; border: 1px solid #868e96; }
    .sic-menu:popover-open { display: flex; flex-direction: column; }
    .sic-menu { position: fixed; inset: auto; margin: 0; padding: 0; min-width: 10em; max-width: 24em; max-height: 60vh;
      overflow-y: auto; background: #fff; border: 1px solid #868e96; border-radius: 4px; box-shadow: 0 4px 14px rgba(0, 0, 0, .25); }
    .sic-menu-item { text-align: left; border: 0; background: none; padding: .35em .8em; color: #212529; }
    .sic-menu-item:hover, .sic-menu-item:focus { background: #e7f1ff; }
    #sic-fine[aria-busy="true"] { opacity: .6; }
    .sic-choices { display: flex; flex-wrap: wrap; gap: .25em; }
    .sic-swatch { display: inline-block; width: 1em; height: 1em; margin-right: .4em; border-radius: 2px; vertical-align: -.1em; }
    .sic-bar { position: absolute; left: 8px; right: 8px; top: 8px; z-index: 19; display: flex; flex-wrap: wrap; gap: 6px; align-items: flex-start;
      pointer-events: none; }
    .sic-bar > div:nth-child(2) { flex: 1 1 10em; min-width: 0; }
    .sic-bar button, .sic-bar .sic-error { pointer-events: auto; }
    .sic-pill, .sic-messages > * { background: rgba(255, 255, 255, .94); border-radius: 4px; padding: .15em .6em; white-space: nowrap;
      box-shadow: 0 1px 4px rgba(0, 0, 0, .3); width: fit-content; max-width: 100%; }
    #sic-badge { border-left: 6px solid; max-width: 16em; overflow: hidden; text-overflow: ellipsis; }
    #sic-badge .sic-why-name { border: 0; padding: 0; }
    .sic-messages > * { white-space: normal; margin-bottom: 3px; }
    .sic-messages > :empty { display: none; }
    .sic-messages .sic-error { display: flex; gap: .6em; align-items: flex-start; background: #f8d7da; color: #842029; border-left: 6px solid #842029; }
    .sic-error .btn { padding: 0 .4em; }
    .sic-messages .sic-progress { width: min(26em, 100%); }
    .sic-kept { color: #146c43; }
    .sic-lost { color: #842029; font-weight: 600; }
    .sic-ruler { position: absolute; right: 12px; bottom: 10px; z-index: 13; display: flex; gap: .6em; align-items: center; pointer-events: none;
      background: rgba(255, 255, 255, .85); border-radius: 3px; padding: .1em .5em; font-variant-numeric: tabular-nums; }
    .sic-ruler[hidden] { display: none; }
    .sic-ruler-bar { border: solid #212529; border-width: 0 2px 3px; height: .6em; }
    .sic-seeding, .sic-seeding canvas { cursor: crosshair; }
    .sic-number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
    .sic-buttons { display: flex; flex-wrap: wrap; gap: .3em; margin: .4em 0; }
    .sic-buttons .btn { padding: .2em .5em; }
    .sic-method { width: auto; }
    .sic-live { margin: .3em 0 0 .5em; }
    .sic-tools, .sic-session { display: flex; flex-wrap: wrap; gap: .3em .5em; align-items: center; margin: .4em 0; }
    .sic-menu-box { min-width: 0; max-width: 100%; }
    .sic .sic-choice { width: auto; max-width: 12em; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; text-align: left; }
    .sic-head .sic-choice { max-width: 100%; }
    .sic-note-new .sic-choice { width: 100%; max-width: none; }
    .sic-session button { white-space: nowrap; }
    .sic-session input { flex: 1; min-width: 5em; }
    .sic .sic-removal { padding: 0 .5em; border: 0; background: none; }
    #sic-why { border-top: 1px solid #ddd; padding-top: .5em; min-height: 14em; }
    .sic-why-row { display: flex; gap: .5em; align-items: center; margin: .3em 0; }
    .sic-why-row canvas { width: ${THUMBNAIL}px; height: ${THUMBNAIL}px; border-radius: 3px; display: block; }
    .sic-why-name { flex: 1; min-width: 4em; border-left: 4px solid; padding-left: .4em; overflow: hidden; text-overflow: ellipsis; }
    .sic-why-seed { border: 0; background: none; padding: 0; font-size: .8em; font-variant-numeric: tabular-nums; }
    .sic-stop { font-size: .92em; line-height: 1.3; min-height: 2.6em; margin: .2em 0; }
    .sic-link { border: 0; padding: 0; background: none; color: #0a58ca; text-decoration: underline; text-align: left; }
    .sic-doubts { background: #fff8e6; border-left: 4px solid #8a5a00; padding: .3em .5em; margin: .3em 0; }
    .sic-doubts-count { margin-left: .6em; padding: 0 .5em; border-radius: 1em; background: #fff3cd; color: #664d03; font-weight: normal; }
    .sic-doubt { display: flex; flex-wrap: wrap; gap: .3em .5em; align-items: center; margin: .3em 0; }
    .sic-doubt > div { flex: 1 1 9em; min-width: 0; }
    .sic-doubt-picture { border: 2px solid; border-radius: 4px; padding: 0; line-height: 0; background: none; }
    .sic-doubt-picture canvas { width: 40px; height: 40px; border-radius: 2px; }
    .sic-settled { color: #146c43; }
    .sic-embedding { display: flex; gap: .6em; align-items: center; margin: .5em 0; }
    .sic-embedding select { flex: 1; min-width: 0; }
    .sic-view { margin: .4em 0; }
    .sic-border, .sic-scale { display: flex; flex-wrap: wrap; gap: .2em .8em; align-items: center; margin: .4em 0; }
    .sic-gradient { flex: 1; height: .8em; border-radius: 3px; }
    .sic-border .form-range { flex: 1; width: auto; min-width: 6em; }
    #sic-border-value { min-width: 2.6em; }
    .sic-map { position: absolute; right: 12px; bottom: 40px; z-index: 20; max-width: calc(100% - 24px); background: #fff; border-radius: 6px;
      box-shadow: 0 2px 12px rgba(0, 0, 0, .35); padding: 6px; }
    .sic-map-head { cursor: move; touch-action: none; display: flex; justify-content: space-between; align-items: center; padding: 0 4px 4px; }
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
    #sic-keys td { padding: .1em .8em .1em 0; }
    .sic-worklist { border-bottom: 1px solid #ddd; padding-bottom: .4em; }
    .sic-worklist-row { display: flex; flex-wrap: wrap; gap: .2em .5em; align-items: center; margin: .4em 0 .2em; }
    .sic-worklist-place { min-width: 5.5em; text-align: center; font-variant-numeric: tabular-nums; }
    .sic-worklist-list { max-height: 15em; overflow-y: auto; margin: .3em 0; }
    .sic-worklist-item { display: flex; gap: .5em; padding: .1em .3em; color: inherit; text-decoration: none;
      border-radius: 3px; content-visibility: auto; contain-intrinsic-height: 1.7em; }
    .sic-worklist-item[hidden] { display: none; }
    .sic-worklist-item:hover, .sic-worklist-item:focus-visible { background: #eef1f4; color: inherit; }
    .sic-worklist-item[aria-current] { background: #e7f1ff; font-weight: 600; }
    .sic-worklist-name { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .sic-worklist-mark { width: 1.1em; text-align: center; }
    .sic-worklist-state { width: 8em; color: #5c636a; font-weight: normal; }
    .sic-state-labelled .sic-worklist-mark { color: #146c43; }
    .sic-state-seeded .sic-worklist-mark { color: #0b5ed7; }
    .sic-state-changed .sic-worklist-mark, .sic-state-changed .sic-worklist-state { color: #8a5a00; }
    .sic-state-problem .sic-worklist-mark, .sic-state-problem .sic-worklist-state { color: #b02a37; }
    .sic-borrowed { margin: .4em 0; padding: .2em .5em; background: #f4f4f6; border-radius: 3px; }
    .sic-borrowed-row { display: flex; gap: .5em; align-items: center; justify-content: space-between; min-height: 2em; }
    .sic-borrowed-row .btn { padding: 0 .5em; }
    .sic-map canvas { display: block; }
    .sic-map-plot { position: relative; resize: both; overflow: hidden; min-width: 160px; min-height: 160px; max-width: 80vh; max-height: 80vh; background: #f4f4f6; }
    #sic-map-canvas { position: absolute; left: 0; top: 0; cursor: crosshair; touch-action: none; }
    .sic-areas { width: 100%; margin: .3em 0 .6em; }
    .sic-areas th { font-weight: normal; color: #5c636a; font-size: .85em; }
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
