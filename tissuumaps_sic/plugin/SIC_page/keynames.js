/** What a key is called: "z", "Shift-z", "Ctrl-z", "Space", "?", "ArrowLeft", "Shift-ArrowLeft". */

/** @param {Pick<KeyboardEvent, "key" | "shiftKey" | "ctrlKey" | "metaKey" | "altKey">} event */
export function nameOf({ key, shiftKey, ctrlKey, metaKey, altKey }) {
  if (!key) return null; // of a field that the browser fills in
  // Brackets are typed with AltGr on some keyboards, which Windows tells as Ctrl and Alt.
  if (key === "[" || key === "]") return key;
  if (key === "Escape") return key; // also in the middle of a Shift-drag
  if (altKey) return null;
  const control = ctrlKey || metaKey ? "Ctrl-" : "";
  if (key === " ") return `${control}Space`;
  // With Caps Lock a letter comes as a capital, and with Shift as a small one.
  const isLetter = /^\p{L}$/u.test(key), isSign = key.length === 1 && !isLetter; // signs have Shift in themselves
  return `${control}${shiftKey && !isSign ? "Shift-" : ""}${isLetter ? key.toLowerCase() : key}`;
}
