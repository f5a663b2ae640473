/**
 * Seeded iterative clustering in TissUUmaps: click a few patches of each class, run, see the whole slide labelled.
 *
 * TissUUmaps loads this file as a classic script, again whenever the plugin is opened from the menu; the modules
 * that it leads to are loaded once. The page sends rows of the h5ad and gets labels back as bytes; embeddings
 * never travel.
 */

if (window.SIC?.close) window.SIC.close();

window.SIC = (function () {
  "use strict";

  /** @type {typeof import("./SIC_page/main.js") | null} */
  let page = null;
  let open = false;

  return {
    name: "Seeded iterative clustering",
    get app() { return page?.app; },
    /** @param {Element} container */
    async init(container) {
      open = true;
      try {
        page = await import("./SIC_page/main.js");
      } catch (error) {
        container.textContent = "The plugin could not be loaded; load the page again.";
        throw error;
      }
      if (open) page.init(container);
    },
    close() {
      if (open) page?.close();
      open = false;
    },
  };
})();
