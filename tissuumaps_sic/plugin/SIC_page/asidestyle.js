/** How what lies over the slide looks, and the panel's part about review. */

import { html } from "./dom.js";

export const asideStyle = () => html("style", { id: "sic-aside-style" }, `
  .sic-card, .sic-gallery { position: absolute; left: 12px; top: 104px; z-index: 21; background: #fff; color: #1c2430; border-radius: 8px;
    box-shadow: 0 2px 14px rgba(0, 0, 0, .4); padding: 8px 10px; max-width: calc(100% - 24px); max-height: calc(100% - 116px); overflow: auto; } /* below the messages, of two lines */
  .sic-tools { flex-wrap: wrap; }
  .sic-card-head, .sic-card-foot { display: flex; gap: 10px; align-items: center; justify-content: space-between; }
  .sic-card-head { margin-bottom: 6px; }
  .sic-card-head .btn { padding: 0 8px; }
  .sic-card-foot { margin-top: 8px; }
  .sic-card-body { display: flex; gap: 10px; align-items: flex-start; }
  .sic-card-side { display: flex; flex-direction: column; gap: 5px; width: 148px; }
  .sic-card-picture { position: relative; background: #f1f1f4; overflow: hidden; flex: none; border-radius: 3px; }
  .sic-card-picture canvas { display: block; }
  .sic-card-empty::after { content: "No picture of the slide"; position: absolute; inset: 40% 0 auto; text-align: center; color: #5c636a; }
  .sic-card-frame { position: absolute; border: 2px solid #fff; outline: 1px solid #111; }
  .sic-answer { display: flex; gap: 6px; align-items: center; border: 1px solid; border-left-width: 6px; border-radius: 4px; background: #fff;
    color: #1c2430; padding: 3px 6px; text-align: left; min-height: 30px; }
  .sic-answer-likely { font-weight: 600; background: #fff8e1; }
  .sic-answer:hover { background: #eef3fb; }
  .sic-answer span { min-width: 0; overflow-wrap: anywhere; }
  .sic-card-words { margin-top: 8px; max-width: 478px; color: #5c636a; }
  .sic-strip { margin-top: 8px; }
  .sic-strip-words { margin-bottom: 4px; max-width: 478px; }
  .sic-strip-row { display: flex; gap: 6px; }
  .sic-strip-tile { border: 3px solid #d5dae1; border-radius: 4px; padding: 0; background: #f1f1f4; line-height: 0; }
  .sic-strip-tile canvas { display: block; width: 69px; height: 69px; }
  .sic-strip-tile[aria-current] { outline: 3px solid #111; }
  .sic-strip-tile:focus-visible { outline: 3px solid #0b5ed7; }
  .sic-halo { position: absolute; left: calc(var(--sic-ring, 56px) / -2); top: calc(var(--sic-ring, 56px) / -2); width: var(--sic-ring, 56px); height: var(--sic-ring, 56px); border-radius: 50%; z-index: 19; pointer-events: none;
    border: 4px solid #fff; outline: 2px solid #111; box-shadow: inset 0 0 0 2px #111; }
  .sic-brush { position: absolute; left: 0; top: 0; border: 2px solid; border-radius: 50%; outline: 1px solid #111; pointer-events: none; z-index: 19; }
  .sic-seen { position: absolute; left: 0; top: 0; pointer-events: none; }
  .sic-no-seeds #SIC_seeds { display: none; }
  .sic-gallery-tiles { display: grid; grid-template-columns: repeat(6, auto); gap: 5px; }
  .sic-gallery-tile { border: 3px solid #d5dae1; border-radius: 4px; padding: 0; background: #fff; color: #1c2430; font-size: 12px; }
  .sic-gallery-tile canvas { display: block; }
  .sic-gallery-tile:focus-visible { outline: 3px solid #0b5ed7; }
  .sic-gallery-keys { color: #5c636a; font-size: 12px; }
  .sic-quality { margin: .4em 0; container-type: inline-size; }
  @container (max-width: 24em) {
    .sic-quality table { table-layout: fixed; font-size: .9em; }
    .sic-quality :is(th, td) { padding: .15em .1em; }
    .sic-quality :is(thead, tbody) th { font-size: .8em; overflow-wrap: anywhere; white-space: normal; }
  }
  .sic-quality p { margin: .3em 0; }
  .sic-quality table { width: 100%; margin: .3em 0; border-collapse: collapse; }
  .sic-quality th, .sic-quality td { padding: .15em .3em; border-bottom: 1px solid #e3e6ea; vertical-align: top; }
  .sic-quality thead th { font-weight: normal; color: #5c636a; font-size: .85em; text-decoration: underline dotted; cursor: help; }
  .sic-quality tbody th { font-weight: normal; max-width: 9em; overflow-wrap: break-word; }
  .sic-quality tbody th .sic-why-name { display: block; min-width: 0; padding-left: .2em; }
  .sic-range { display: block; color: #5c636a; font-size: .82em; white-space: normal; }
  .sic-review { margin: .5em 0; }
  #sic-looked { display: inline-block; margin-right: .7em; }
  #sic-checked-by, .sic-note-by { color: #5c636a; font-size: .9em; }
  .sic-sureness, .sic-opinion { display: flex; flex-wrap: wrap; gap: .3em; align-items: center; margin: .3em 0; }
  .sic-gallery-open { padding: 0 .4em; border: 1px solid #ced4da; }
  .sic-note { display: flex; gap: .5em; align-items: baseline; justify-content: space-between; margin: .3em 0; }
  .sic-note > div { flex: 1; overflow-wrap: anywhere; }
  .sic-note .btn { padding: 0 .5em; }
  .sic-note-new { display: grid; grid-template-columns: 1fr auto; gap: .3em; margin: .3em 0; }
  .sic-note-new textarea { grid-column: 1 / -1; }
`);
