/** What the classes in a file of seeds become, in words and as choices. */

import { count, tellCount } from "./dom.js";

/** @import { FileClass, Preview } from "./server.js" */

export const LEAVE_OUT = "\u0000leave", AS_NEW = "\u0000new"; // what no class can be called

/**
 * The choices for a class of a file: the session's classes, a new one of its own name, or none.
 * @param {FileClass} of
 * @param {string[]} names of the session's classes, as they are listed
 */
export function targetChoices(of, names) {
  const isNew = of.target !== null && !names.includes(of.target);
  const own = isNew ? /** @type {string} */ (of.target) : of.name;
  const asNew = own && !names.some((name) => plain(name) === plain(own)) ? [{ value: AS_NEW, text: own === of.name ? "new class" : `new class “${own}”` }] : [];
  return [...names.map((name) => ({ value: name, text: name })), ...asNew, { value: LEAVE_OUT, text: "leave out" }];
}

/** What is chosen of `targetChoices`. @param {FileClass} of @param {string[]} names */
export const chosenTarget = ({ target }, names) => (target === null ? LEAVE_OUT : names.includes(target) ? target : AS_NEW);

/** What a choice means for the server. @param {FileClass} of @param {string} choice */
export const targetOf = (of, choice) => (choice === LEAVE_OUT ? null : choice === AS_NEW ? of.name || of.target : choice);

/** What a class of a file holds, in words. @param {FileClass} of */
export const tellClass = (of) => of.name || "(no class)";

/** What would be added, in words. @param {Preview} found */
export function tellSeeds({ seeds }) {
  const total = seeds.reduce((n, each) => n + each.n, 0);
  if (!total) return "No seed on this slide";
  return `${tellCount(total, "seed")}: ${seeds.map(({ name, n }) => `${count(n)} of ${name}`).join(", ")}`;
}

/** @param {string} name */
const plain = (name) => name.normalize("NFKC").trim().toLowerCase().replace(/\s+/g, " ");

/** Bytes as base64, in pieces that a call can take. @param {Uint8Array} bytes */
export function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
