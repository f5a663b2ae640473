/** Names of classes as TissUUmaps can bear them: some of its menus are HTML, and its ids have "_" for spaces. */

/** @type {Record<string, string>} */
const ALIKE = { "<": "＜", ">": "＞", "&": "＆", "\"": "＂", "'": "＇" };

/** A name with what would be markup in full width, which looks the same. @param {string} name */
export const plainName = (name) => name.replace(/[<>&"']/g, (sign) => ALIKE[sign]);

/**
 * What TissUUmaps is given for each name: what looks like it, and is no other's.
 * @param {Iterable<string>} names
 * @returns {Map<string, string>}
 */
export function legendKeys(names) {
  /** @type {Map<string, string>} */
  const keys = new Map();
  const taken = new Set();
  for (const name of names) {
    if (keys.has(name)) continue;
    let key = plainName(name);
    // Not the names of what every object has, and not those whose ids would be one.
    while (key in {} || taken.has(key.replaceAll(" ", "_"))) key += "\u200b";
    taken.add(key.replaceAll(" ", "_"));
    keys.set(name, key);
  }
  return keys;
}
