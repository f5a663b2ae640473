/** How what lies over the slide looks, and the panel's part about review. */

import { html } from "./dom.js";

export const asideStyle = () => html("style", { id: "sic-aside-style" }, `
  .sic-card, .sic-gallery { position: absolute; left: 12px; top: max(104px, var(--sic-bar, 0px) + 8px); z-index: 21; background: #fff; color: #1c2430; border-radius: 8px;
    box-shadow: 0 2px 14px rgba(0, 0, 0, .4); padding: 8px 10px; max-width: calc(100% - 24px); max-height: calc(100% - max(116px, var(--sic-bar, 0px) + 20px) - var(--sic-command, 0px)); overflow: auto; } /* below the messages, and above a command that finds no room beside it */
  .sic-tools { flex-wrap: wrap; }
  .sic-card-head, .sic-card-foot { display: flex; gap: 10px; align-items: center; justify-content: space-between; }
  .sic-card-head { margin-bottom: 6px; }
  .sic-card-head .btn { padding: 0 8px; }
  .sic-card-foot { margin-top: 8px; flex-wrap: wrap; }
  .sic-card-body { display: flex; flex-wrap: wrap; gap: 10px; align-items: flex-start; } /* on a narrow slide the answers are below the patch */
  .sic-card-side { display: flex; flex-direction: column; gap: 5px; width: 148px; }
  .sic-card-side.sic-card-wide { display: grid; grid-template-columns: 148px 148px; width: 301px; align-items: start; }
  .sic-card-wide .sic-card-picture { grid-column: 1 / -1; }
  .sic-card-picture { position: relative; background: #f1f1f4; overflow: hidden; flex: none; border-radius: 3px; }
  .sic-card-picture canvas { display: block; }
  .sic-card-empty::after { content: "No picture of the slide"; position: absolute; inset: 40% 0 auto; text-align: center; color: #5c636a; }
  .sic-card-frame { position: absolute; border: 2px solid #fff; outline: 1px solid #111; }
  .sic-answer { display: flex; gap: 6px; align-items: center; border: 1px solid; border-left-width: 6px; border-radius: 4px; background: #fff;
    color: #1c2430; padding: 3px 6px; text-align: left; min-height: 30px; }
  .sic-answer-likely { font-weight: 600; background: #fff8e1; }
  .sic-answer:hover { background: #eef3fb; }
  .sic-answer span { min-width: 0; overflow-wrap: anywhere; }
  .sic-command { position: absolute; left: 12px; bottom: 44px; z-index: 22; width: 560px; background: #fff; color: #1c2430; border-radius: 8px;
    box-shadow: 0 2px 14px rgba(0, 0, 0, .4); padding: 8px 10px; max-width: calc(100% - 24px); } /* above the ruler */
  .sic-command-aside { right: 12px; width: auto; } /* of the card */
  .sic-command textarea { font-family: monospace; }
  .sic-command .sic-card-words { max-width: none; margin-top: 4px; }
  .sic-tour { position: absolute; z-index: 23; width: 300px; max-width: calc(100% - 24px); background: #1c2430; color: #fff; border-radius: 8px;
    box-shadow: 0 2px 14px rgba(0, 0, 0, .5); padding: 10px 12px; }
  .sic-tour-right { right: 12px; }
  .sic-tour-left { left: 12px; }
  .sic-tour-middle { left: calc(50% - 150px); }
  .sic-tour-right::after { content: ""; position: absolute; left: 100%; top: 14px; border: 8px solid transparent; border-left-color: #1c2430; }
  .sic-tour-left::after { content: ""; position: absolute; right: 100%; top: 14px; border: 8px solid transparent; border-right-color: #1c2430; }
  .sic-tour .btn { color: #fff; border-color: #9aa4b2; }
  .sic-tour .btn:is(:hover, :focus-visible) { background: #fff; color: #1c2430; }
  .sic-tour .sic-card-foot { justify-content: flex-end; }
  .sic-tour-frame { position: fixed; z-index: 1100; pointer-events: none; outline: 3px solid #ffb000; border-radius: 4px; }
  .sic-card-words { margin-top: 8px; max-width: 478px; color: #5c636a; }
  .sic-strip { margin-top: 8px; }
  .sic-strip-words { margin-bottom: 4px; max-width: 478px; }
  .sic-strip-row { display: flex; flex-wrap: wrap; gap: 6px; }
  .sic-strip-tile { border: 3px solid #d5dae1; border-radius: 4px; padding: 0; background: #f1f1f4; line-height: 0; }
  .sic-strip-tile canvas { display: block; width: 69px; height: 69px; }
  .sic-strip-tile[aria-current] { outline: 3px solid #111; }
  .sic-strip-tile:focus-visible { outline: 3px solid #0b5ed7; }
  .sic-halo { position: absolute; left: calc(var(--sic-ring, 56px) / -2); top: calc(var(--sic-ring, 56px) / -2); width: var(--sic-ring, 56px); height: var(--sic-ring, 56px); border-radius: 50%; z-index: 19; pointer-events: none;
    border: 4px solid #fff; outline: 2px solid #111; box-shadow: inset 0 0 0 2px #111; }
  .sic-brush { position: absolute; left: 0; top: 0; border: 2px solid; border-radius: 50%; outline: 1px solid #111; pointer-events: none; z-index: 19; }
  .sic-seen { position: absolute; left: 0; top: 0; pointer-events: none; }
  .sic-no-seeds #SIC_seeds { display: none; }
  .sic-gallery { display: flex; flex-direction: column; gap: 6px; width: 600px; }
  .sic-gallery > * { flex: none; margin: 0; }
  .sic-gallery .sic-card-head { flex-wrap: wrap; gap: 4px 8px; }
  .sic-gallery .sic-gallery-tiles { position: relative; display: grid; grid-template-columns: repeat(auto-fill, 90px); grid-auto-rows: max-content; gap: 5px; justify-content: space-between; align-content: start;
    flex: 1 1 auto; min-height: 12em; overflow-y: auto; padding: 3px; user-select: none; } /* room for the frame of the one with the focus */
  .sic-gallery .sic-gallery-large { grid-template-columns: repeat(auto-fill, 180px); }
  .sic-gallery-tile { border: 3px solid #d5dae1; border-radius: 4px; padding: 0; background: #fff; color: #1c2430; font-size: 12px; width: 90px; overflow: hidden; position: relative; }
  .sic-gallery-large .sic-gallery-tile { width: 180px; }
  .sic-gallery-picture { display: block; aspect-ratio: 1; background: #f1f1f4; }
  .sic-gallery-picture canvas { display: block; width: 100%; height: 100%; }
  .sic-gallery-text { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .sic-gallery-reference { border-style: dashed; border-color: #1c2430; }
  .sic-gallery-tile[aria-pressed=true] { outline: 3px solid #111; background: #1c2430; color: #fff; }
  .sic-gallery-tile[aria-pressed=true]::after { content: "✓"; position: absolute; right: 2px; top: 2px; width: 1.5em; line-height: 1.5em; border-radius: 50%; background: #1c2430; color: #fff; }
  .sic-gallery-tile:focus-visible, .sic-gallery-tile:focus { outline: 3px solid #0b5ed7; }
  .sic-gallery-found { display: flex; flex-direction: column; width: min-content; }
  .sic-gallery-found a { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: 12px; }
  .sic-gallery-choice, .sic-gallery-move, .sic-gallery-pages { display: inline-flex; flex-wrap: wrap; gap: 4px; align-items: center; }
  .sic-gallery-foot { display: flex; flex-wrap: wrap; gap: 4px 10px; align-items: center; justify-content: space-between; }
  .sic-gallery-class { display: flex; gap: 5px; align-items: center; border: 1px solid; border-left-width: 6px; border-radius: 4px; background: #fff; color: #1c2430;
    padding: 1px 6px; max-width: 12em; }
  .sic-gallery-class span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .sic-gallery-words { color: #5c636a; font-size: 12px; }
  .sic-band { position: absolute; border: 1px solid #0b5ed7; background: rgba(11, 94, 215, .18); pointer-events: none; }
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
