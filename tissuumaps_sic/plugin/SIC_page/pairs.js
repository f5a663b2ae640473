/** Who of two readers says what: the pairs of classes that they part on, and a colour for each. */

/** @typedef {{ mine: string, theirs: string, n: number, color: string }} Pair */

// Told apart in every sight, from each other and from the classes that come by default.
const COLORS = ["#e6007a", "#2f4b00", "#3b0f70", "#8a4b00", "#00806e"];
const OTHER = "#55606b"; // all further pairs

/**
 * The pairs, the most frequent first, and of each patch which one it is of: 0 where both say the same, else its place + 1.
 * @param {ArrayLike<number>} given labels of the one
 * @param {{ name: string }[]} myClasses
 * @param {ArrayLike<number>} theirs
 * @param {{ name: string }[]} theirClasses
 * @returns {{ codes: Uint16Array, list: Pair[] }}
 */
export function pairUp(given, myClasses, theirs, theirClasses) {
  const width = theirClasses.length, counts = new Uint32Array(myClasses.length * width);
  const codes = new Uint16Array(given.length);
  for (let row = 0; row < given.length; row++) counts[given[row] * width + theirs[row]]++;
  /** @type {Map<string, { mine: string, theirs: string, n: number, cells: number[] }>} */
  const pairs = new Map();
  counts.forEach((n, cell) => {
    const one = myClasses[Math.floor(cell / width)].name, other = theirClasses[cell % width].name;
    if (!n || one === other) return;
    // Classes that were merged since the run have one name.
    const key = JSON.stringify([one, other]), pair = pairs.get(key) ?? { mine: one, theirs: other, n: 0, cells: [] };
    pair.n += n;
    pair.cells.push(cell);
    pairs.set(key, pair);
  });
  const sorted = [...pairs.values()].sort((a, b) => b.n - a.n || (a.mine < b.mine ? -1 : 1));
  const codeOf = new Uint16Array(counts.length);
  sorted.forEach(({ cells }, place) => { for (const cell of cells) codeOf[cell] = place + 1; });
  for (let row = 0; row < given.length; row++) codes[row] = codeOf[given[row] * width + theirs[row]];
  return { codes, list: sorted.map((pair, place) => ({ mine: pair.mine, theirs: pair.theirs, n: pair.n, color: pairColor(place + 1) })) };
}

/** The colour of a pair by its code, from 1 on. @param {number} code */
export const pairColor = (code) => COLORS[code - 1] ?? OTHER;
