/** How the sections of history, classes and readers look. */

export const SESSIONS_STYLE = `
    .sic-class-name { overflow-wrap: anywhere; cursor: text; display: block; margin: 0; }
    .sic-color { position: relative; display: inline-block; }
    .sic-sign { position: absolute; inset: 0; text-align: center; pointer-events: none; font-weight: 700; color: #fff;
      text-shadow: 0 0 2px #000, 0 0 2px #000, 0 0 3px #000; }
    .sic-naming-error { color: #b02a37; display: block; font-size: .9em; }
    .sic-new-class { display: flex; gap: .4em; align-items: flex-start; margin: .3em 0; }
    .sic-new-class .sic-naming { flex: 1; }
    .sic-unused { color: #5c636a; font-size: .85em; }
    .sic-gone { color: #5c636a; }
    .sic-gone .sic-class-name { text-decoration: line-through; cursor: default; }
    .sic-chip { display: inline-block; width: 1.6em; height: 1.2em; border: 1px solid #ccc; vertical-align: middle; }
    .sic-scheme { display: flex; flex-wrap: wrap; gap: .4em; align-items: center; margin: .3em 0; font-size: .9em; }
    .sic-unsent { background: #fff3cd; color: #4d3a00; border-radius: 4px; padding: .4em .6em; margin: .4em 0; }
    .sic-unsent .btn { margin: .3em .4em 0 0; }
    #sic-history { border-top: 1px solid #ddd; padding: .4em 0; }
    #sic-history summary { cursor: pointer; }
    .sic-history-steps { max-height: 16em; overflow-y: auto; margin: .3em 0; border: 1px solid #ddd; border-radius: 3px; }
    .sic-history-day { padding: .2em .5em; background: #f4f4f6; color: #495057; font-size: .85em; position: sticky; top: 0; }
    .sic-step { display: flex; gap: .6em; justify-content: space-between; width: 100%; border: 0; background: none;
      padding: .15em .5em; text-align: left; color: inherit; }
    .sic-step:hover, .sic-step.sic-chosen { background: #e7f1ff; }
    .sic-act { display: flex; align-items: stretch; }
    .sic-act .sic-step { flex: 1; min-width: 0; }
    .sic-fold { border: 0; background: none; color: #343a40; font-size: .85em; white-space: nowrap; padding: 0 .6em; }
    .sic-fold:hover { background: #e7f1ff; }
    .sic-step.sic-part { padding-left: 1.6em; }
    .sic-step-text { overflow-wrap: anywhere; }
    .sic-step-who { color: #5c636a; white-space: nowrap; font-size: .9em; }
    .sic-undone .sic-step-text { color: #5c636a; font-style: italic; }
    .sic-point { background: #e7f1ff; border-radius: 4px; padding: .4em .6em; }
    .sic-point .btn { margin: .3em .4em 0 0; }
    .sic-clicks-file { display: block; font-size: .85em; }
    .sic-pair { display: flex; gap: .6em; margin: .1em 0; }
    .sic-pairs table { margin: .3em 0; max-width: 100%; }
    .sic-pairs th, .sic-pairs td { padding: .1em .5em; font-weight: normal; max-width: 8em; overflow: hidden; text-overflow: ellipsis; }
    .sic-pairs th { color: #495057; }
    .sic-same { background: #eef0f2; }
    .sic-decide { border: 1px solid #b6c6dd; border-radius: 4px; padding: .4em .6em; margin: .4em 0; }
    .sic-decide-head { display: flex; gap: .6em; justify-content: space-between; }
    .sic-decide-pictures { display: flex; flex-wrap: wrap; gap: .5em; margin: .3em 0; }
    .sic-decide-pictures canvas { border-radius: 3px; background: #eee; }
    .sic-decide-anew { display: flex; gap: .4em; align-items: center; }
    .sic-decide-anew input { flex: 1; min-width: 6em; }
    .sic-decide-anew .btn { white-space: nowrap; }
    .sic-session-naming { display: flex; flex-wrap: wrap; gap: .4em; margin: .3em 0; }
    .sic-session-naming input { flex: 1; }
`;
