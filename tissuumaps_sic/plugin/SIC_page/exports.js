/** The labels as files. */

import { enqueue } from "./actions.js";
import { html } from "./dom.js";
import { postForFile } from "./server.js";
import { app, request } from "./state.js";

// The rows of the server's table (export/formats.py), in its order: what each is called, and what it is for.
const EXPORTS = {
  "csv": ["CSV, a row a patch", "Name, place, label, score and seed of each patch"],
  "geojson": ["GeoJSON for QuPath", "The regions, as annotations"],
  "geojson.gz": ["GeoJSON, compressed", "The regions, as annotations; QuPath opens it as it is"],
  "mask": ["Mask, pyramidal TIFF", "A number a pixel: 0 is no patch, then the classes as they are listed"],
  "tmap": ["TissUUmaps project", "Shows the result without this plugin; unpack it beside the slide"],
  "html": ["Report, HTML", "One page: picture, table and how the labels were made"],
  "pdf": ["Report, PDF", "One page: picture, table and how the labels were made"],
  "h5ad": ["h5ad with the labels", "A copy of the file with sic_label, sic_score and sic_seed"],
};

export function exportMenu() {
  return html("select", {
    class: "form-select form-select-sm sic-method", id: "sic-export", disabled: Boolean(app.busy),
    // As wide as what it shows when closed, so that the row stays one.
    style: "width: 8.4em", title: "Get the labels as a file", "aria-label": "Export", onchange: (event) => exportAs(event.target.value),
  },
  html("option", { value: "", selected: true, hidden: true }, "Export …"),
  ...Object.entries(EXPORTS).map(([format, [text, title]]) => html("option", { value: format, title }, text)));
}

/** Get the labels as a file of a format. */
function exportAs(format) {
  return enqueue("Exporting", async () => {
    const { name, bytes } = await postForFile(request({ revision: app.state.revision, format }));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes]));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
    app.status = `${name} is in your downloads`;
  });
}
