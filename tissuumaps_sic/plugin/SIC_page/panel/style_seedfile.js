/** How seeds from a file look, before they are taken. */

export const SEED_FILE_STYLE = `
    .sic-seed-file-chooser { margin: .4em 0; }
    .sic-dropping { outline: 3px dashed #0b5ed7; outline-offset: -3px; background: #eef4ff; }
    .sic-seed-file { border: 1px solid #868e96; border-radius: 4px; padding: .4em .6em; margin: .5em 0; }
    .sic-seed-file-name { font-weight: 600; overflow-wrap: anywhere; margin-bottom: .3em; }
    .sic-seed-file table { width: 100%; table-layout: fixed; }
    .sic-seed-file th { font-weight: normal; color: #5c636a; font-size: .85em; }
    .sic-seed-file th:nth-child(2) { width: 4.2em; }
    .sic-seed-file th.sic-number { padding-right: .8em; }
    .sic-seed-file td { padding: .1em .3em .1em 0; vertical-align: middle; overflow-wrap: anywhere; }
    .sic-seed-file td.sic-number { padding-right: .8em; }
    .sic-seed-file-color { display: inline-block; width: .9em; height: .9em; border: 1px solid #868e96; border-radius: 2px;
      margin-right: .4em; vertical-align: -.1em; }
    .sic-seed-file-inside { display: flex; flex-wrap: wrap; gap: .2em .5em; align-items: center; margin: .5em 0 .3em; }
    .sic-seed-file-inside select { width: auto; }
    #sic-seed-file-told { margin: .3em 0; padding-left: 1.2em; color: #5c636a; }
    .sic-seed-file-buttons { display: flex; gap: .5em; margin: .5em 0 .2em; }
`;
