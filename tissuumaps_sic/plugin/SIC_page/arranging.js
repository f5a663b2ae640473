/** In which order patches are shown as pictures, and which of them a person picks. */

/** @typedef {"doubt" | "score" | "likeness"} Order of a class: the least sure first, the surest, or what is most like one patch */
/** @typedef {{ left: number, top: number, right: number, bottom: number }} Box */

const MOST_SHARED = 0.51; // of its area with a better one, that leaves a patch out; half an overlap of whole pixels may be over the half

/** Rows that are labelled with a class. @param {Uint8Array} labels @param {number} label */
export function rowsOf(labels, label) {
  const rows = new Uint32Array(labels.length);
  let n = 0;
  for (let row = 0; row < labels.length; row++) if (labels[row] === label) rows[n++] = row;
  return rows.slice(0, n);
}

/**
 * Rows by a value of each; of equal ones the first comes first.
 * @param {Uint32Array} rows
 * @param {Float32Array} values of all rows
 * @param {boolean} isDescending
 */
export function sortBy(rows, values, isDescending) {
  const sign = isDescending ? -1 : 1;
  return rows.slice().sort((a, b) => sign * (values[a] - values[b]) || a - b);
}

/**
 * Rows of the patches that are most like one, the most alike first: no two of them lie much over each other, nor over that one.
 * @param {number} reference
 * @param {Float32Array} likeness of each patch to it
 * @param {{ x: ArrayLike<number>, y: ArrayLike<number> }} grid
 * @param {{ width: number, height: number }} field of a patch
 * @param {number} n
 */
export function mostAlike(reference, likeness, { x, y }, { width, height }, n) {
  const sorted = sortBy(Uint32Array.from(likeness.keys()), likeness, true), chosen = [reference];
  const shared = (/** @type {number} */ a, /** @type {number} */ b) =>
    Math.max(0, 1 - Math.abs(x[a] - x[b]) / width) * Math.max(0, 1 - Math.abs(y[a] - y[b]) / height);
  for (const row of sorted) {
    if (chosen.length > n) break;
    if (!chosen.some((other) => other === row || shared(row, other) > MOST_SHARED)) chosen.push(row);
  }
  return chosen.slice(1);
}

/**
 * What is picked after a click: one, a range from where the last one was (Shift), or one more or less (Ctrl).
 * @param {number[]} picked
 * @param {number[]} shown in the order in which they are seen
 * @param {number} one
 * @param {number | null} anchor
 * @param {{ isRange?: boolean, isMore?: boolean }} how more: beside those that are picked
 */
export function pick(picked, shown, one, anchor, { isRange = false, isMore = false }) {
  if (!isRange) return !isMore ? [one] : picked.includes(one) ? picked.filter((each) => each !== one) : [...picked, one];
  const from = Math.max(shown.indexOf(anchor ?? one), 0), to = shown.indexOf(one);
  const range = shown.slice(Math.min(from, to), Math.max(from, to) + 1);
  return isMore ? unite(picked, range) : range;
}

/** @param {number[]} one @param {number[]} other */
export const unite = (one, other) => [...new Set([...one, ...other])];

/** The box between two corners. @param {{ x: number, y: number }} a @param {{ x: number, y: number }} b @returns {Box} */
export const boxOf = (a, b) => ({ left: Math.min(a.x, b.x), top: Math.min(a.y, b.y), right: Math.max(a.x, b.x), bottom: Math.max(a.y, b.y) });

/** Whether two boxes touch. @param {Box} a @param {Box} b */
export const touch = (a, b) => a.left <= b.right && b.left <= a.right && a.top <= b.bottom && b.top <= a.bottom;

/** Where a step leads among so many things in lines of `columns`. @param {string} key @param {number} at @param {number} n @param {number} columns */
export function stepTo(key, at, n, columns) {
  /** @type {Record<string, number>} */
  const places = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, Home: 0, End: n - 1 };
  return key in places ? Math.min(Math.max(places[key], 0), n - 1) : null;
}

/**
 * Pictures that are made as they come into sight, a few at once, of which the last ones are kept.
 * @template T
 * @param {number} atOnce
 * @param {number} most that are kept
 */
export function makePictures(atOnce, most) {
  /** @type {Map<string, T>} */
  const kept = new Map(); // the one that was seen last is the last
  /** @type {Map<string, { picture: T, make: (picture: T) => Promise<void> }>} */
  const waiting = new Map();
  let busy = 0;

  function next() {
    for (const [key, { picture, make }] of waiting) {
      if (busy >= atOnce) return;
      waiting.delete(key);
      busy++;
      make(picture).catch(() => forget(key)).finally(() => {
        busy--;
        next();
      });
    }
  }

  /** @param {string} key */
  function forget(key) {
    kept.delete(key);
  }

  /** The picture of something that came into sight: the one that is kept, or one that is made now. @param {string} key @param {() => T} begin @param {(picture: T) => Promise<void>} make */
  function see(key, begin, make) {
    const picture = kept.get(key) ?? begin(), isNew = !kept.has(key);
    kept.delete(key);
    kept.set(key, picture);
    while (kept.size > most) forget(kept.keys().next().value ?? key);
    if (isNew) {
      waiting.set(key, { picture, make });
      next();
    }
    return picture;
  }

  /** Give up a picture that went out of sight before it was begun. @param {string} key */
  function leave(key) {
    if (waiting.delete(key)) forget(key);
  }

  function clear() {
    kept.clear();
    waiting.clear();
  }

  return { see, leave, clear, known: (/** @type {string} */ key) => (waiting.has(key) ? undefined : kept.get(key)), size: () => kept.size };
}
