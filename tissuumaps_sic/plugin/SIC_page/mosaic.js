/** The squares that a slide is drawn in, its cells or its patches, and the picture that has a pixel for each. */

/**
 * @typedef {{ corner: [number, number], size: [number, number], side: number, middle: number[], fine: boolean, places: Uint32Array,
 *   glass: Uint8Array }} Lattice corner of all cells and size of one (x, y; level-0 pixels); cells along a patch; which lie at its
 *   middle; whether the file has embeddings of them; column and row of each patch; which cells are glass (1)
 * @typedef {{ of: Uint8Array, labels: Uint8Array, own: Uint8Array, positive: Uint8Array, rest: Uint8Array }} Cells of each cell, patch by
 *   patch and row by row: its label, that one's score and class 1's (hundredths), and the best other class; `of`: the patches' labels
 * @typedef {{ columns: number, rows: number, corner: [number, number], size: [number, number], side: number, pixels: Uint32Array,
 *   glass: Uint8Array | null }} Mosaic pixels: the place of each cell in the picture
 */

const LARGEST = 2 ** 26; // pixels of a picture; patches with more of them around are few and far between

/**
 * Lay the cells of a slide out, or with `isFine` false its patches; null where there would be next to nothing in the picture.
 * @param {Lattice} lattice
 * @param {boolean} isFine
 * @returns {Mosaic | null}
 */
export function layOut({ corner, size, side: cells, places, glass }, isFine) {
  const side = isFine ? cells : 1, n = places.length / 2, step = isFine ? 1 : cells;
  let columns = 0, rows = 0;
  for (let patch = 0; patch < n; patch++) {
    columns = Math.max(columns, (places[2 * patch] + 1) * side);
    rows = Math.max(rows, (places[2 * patch + 1] + 1) * side);
  }
  if (columns * rows > LARGEST) return null;
  const pixels = new Uint32Array(n * side * side);
  let cell = 0;
  for (let patch = 0; patch < n; patch++) {
    for (let row = 0; row < side; row++) {
      const first = (places[2 * patch + 1] * side + row) * columns + places[2 * patch] * side;
      for (let column = 0; column < side; column++) pixels[cell++] = first + column;
    }
  }
  return { columns, rows, corner, size: [size[0] * step, size[1] * step], side, pixels, glass: isFine ? glass : null };
}

/**
 * What patches have, for each of their cells.
 * @template {Uint8Array | Uint16Array} T
 * @param {T} values
 * @param {number} side
 * @returns {T}
 */
export function spread(values, side) {
  const cells = side * side, all = /** @type {T} */ (new (/** @type {any} */ (values.constructor))(values.length * cells));
  for (let patch = 0; patch < values.length; patch++) all.fill(values[patch], patch * cells, (patch + 1) * cells);
  return all;
}

/**
 * Cells as they were, but for patches that have another label now: these are wholly of it until their cells are known.
 * @param {Cells} cells
 * @param {Uint8Array} before labels of patches
 * @param {Uint8Array} labels
 * @param {number} side
 * @returns {Cells}
 */
export function follow(cells, before, labels, side) {
  const made = { ...cells, labels: cells.labels.slice() }, n = side * side;
  for (let patch = 0; patch < labels.length; patch++) {
    if (labels[patch] !== before[patch]) made.labels.fill(labels[patch], patch * n, (patch + 1) * n);
  }
  return made;
}

/**
 * Labels of cells where one is of class 1 from a score of `border` on; at the middle of seeded patches it has their class.
 * @param {Cells} cells
 * @param {Lattice} lattice
 * @param {Map<number, number>} seeded class by patch
 * @param {number} border
 */
export function moveBorder({ positive, rest }, { side, middle }, seeded, border) {
  const least = Math.round(100 * border), labels = positive.map((score, cell) => (score >= least ? 1 : rest[cell]));
  for (const [patch, label] of seeded) for (const cell of middle) labels[patch * side * side + cell] = label;
  return labels;
}

/** A colour as a pixel has it. @param {string} color #rrggbb */
export function pixelOf(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * Paint each cell, but for glass.
 * @param {Uint32Array} picture a pixel each
 * @param {Mosaic} mosaic
 * @param {ArrayLike<number>} codes of each cell, which of the colours it has
 * @param {Uint32Array} colors pixels, 0 where nothing is drawn
 */
export function paint(picture, { pixels, glass }, codes, colors) {
  picture.fill(0);
  for (let cell = 0; cell < pixels.length; cell++) if (!glass?.[cell]) picture[pixels[cell]] = colors[codes[cell]];
}
