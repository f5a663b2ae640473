/** Addresses of files, as a project has them and TissUUmaps joins them, and the paths that they name. */

/**
 * Return the path below the served folder that an address names.
 *
 * Of projects that are older the address is the plain path: a "%" that encodes nothing is one.
 * @param {string} address
 */
export function pathOf(address) {
  return address.replace(/(%[0-9a-f]{2})+/gi, (encoded) => {
    try {
      return decodeURIComponent(encoded);
    } catch {
      return encoded; // no letters of UTF-8
    }
  });
}

// Where the server's own addresses begin: "/", or below a path behind a proxy. This file is at plugins/SIC_page/ there.
const ROOT = new URL("../..", import.meta.url).pathname;

/** The address by which this page reaches one that the server tells from its root. @param {string} path */
export const atRoot = (path) => ROOT + path.replace(/^\//, "");

/** The address from the server's root that one of this page is; null of another's. @param {string} path */
export const fromRoot = (path) => (path.startsWith(ROOT) ? `/${path.slice(ROOT.length)}` : null);
