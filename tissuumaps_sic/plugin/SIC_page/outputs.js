/** The labels as files. */

import { download } from "./downloads.js";
import { enqueue } from "./requests.js";
import * as server from "./server.js";
import { sessionRequest, update } from "./state.js";

/** Get the labels as a file of a format. @param {string} format */
export function exportAs(format) {
  enqueue("Exporting", async () => {
    const { name, bytes } = await server.file(sessionRequest({ format }));
    download(name, bytes);
    update({ status: `${name} is in your downloads` });
  });
}

/** Write the labels into the h5ad itself. */
export function write() {
  enqueue("Writing", async () => {
    const { written } = await server.write(sessionRequest());
    update({ status: `The labels are in ${written}, as sic_label, sic_score and sic_seed` });
  });
}
