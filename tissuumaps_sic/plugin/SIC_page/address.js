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
