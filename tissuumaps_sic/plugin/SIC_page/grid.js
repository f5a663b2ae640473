/** Where the patches are, in the page's image pixels. */

const SPARSEST = 32; // cells of the grid for each patch, beyond which they are looked up by number

/**
 * @typedef {{ x: number, y: number }} Place
 * @typedef {ReturnType<typeof makeGrid>} Grid
 */

/** Find patches by place; all in the page's image pixels. @param {{ x: Float64Array, y: Float64Array }} centres */
export function makeGrid({ x, y }) {
  const spacing = Math.min(smallestStep(x), smallestStep(y));
  const [left, right] = extent(x), [top, bottom] = extent(y);
  /** @param {number} value */
  const columnOf = (value) => Math.floor((value - left) / spacing);
  /** @param {number} value */
  const lineOf = (value) => Math.floor((value - top) / spacing);
  const columns = columnOf(right) + 1, lines = lineOf(bottom) + 1;
  // The first patch of each cell, and the one after each patch; an array, unless patches are few and far between.
  const dense = columns * lines <= SPARSEST * x.length + 1e6 ? new Int32Array(columns * lines).fill(-1) : null;
  /** @type {Map<number, number>} */
  const sparse = new Map();
  const next = new Int32Array(x.length);
  for (let row = x.length - 1; row >= 0; row--) {
    const place = lineOf(y[row]) * columns + columnOf(x[row]);
    next[row] = (dense ? dense[place] : sparse.get(place)) ?? -1;
    if (dense) dense[place] = row; else sparse.set(place, row);
  }
  /** @param {number} column @param {number} line */
  const firstOf = (column, line) => {
    if (column < 0 || line < 0 || column >= columns || line >= lines) return -1;
    const place = line * columns + column;
    return (dense ? dense[place] : sparse.get(place)) ?? -1;
  };

  /** The patch whose square of the mosaic holds the point, or null. @param {Place} point */
  function at(point) {
    /** @type {number | null} */
    let best = null;
    let nearest = Infinity;
    const here = { column: columnOf(point.x), line: lineOf(point.y) };
    for (let column = here.column - 1; column <= here.column + 1; column++) {
      for (let line = here.line - 1; line <= here.line + 1; line++) {
        for (let row = firstOf(column, line); row >= 0; row = next[row]) {
          const distance = Math.max(Math.abs(x[row] - point.x), Math.abs(y[row] - point.y));
          if (distance < nearest) { best = row; nearest = distance; }
        }
      }
    }
    return nearest <= spacing * 0.5 + 1 ? best : null;
  }

  /** The patches whose centres lie inside a region of one ring or several, holes among them (even-odd rule). @param {Place[][]} rings */
  function within(rings) {
    const boxes = rings.map((ring) => [...extent(ring.map((each) => each.x)), ...extent(ring.map((each) => each.y))]);
    const rows = [];
    for (let row = 0; row < x.length; row++) {
      const px = x[row], py = y[row];
      let inIt = false;
      for (let i = 0; i < rings.length; i++) {
        const box = boxes[i];
        if (px >= box[0] && px <= box[1] && py >= box[2] && py <= box[3] && holds(rings[i], px, py)) inIt = !inIt;
      }
      if (inIt) rows.push(row);
    }
    return rows;
  }

  /** The patches that a line passes over. @param {Place[]} line */
  function under(line) {
    /** @type {Set<number>} */
    const rows = new Set();
    for (let i = 0; i < line.length; i++) {
      const from = line[Math.max(i - 1, 0)], to = line[i];
      const steps = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / (spacing / 3)) || 1;
      for (let step = 1; step <= steps; step++) {
        const row = at({ x: from.x + ((to.x - from.x) * step) / steps, y: from.y + ((to.y - from.y) * step) / steps });
        if (row !== null) rows.add(row);
      }
    }
    return [...rows];
  }

  return { x, y, spacing, at, within, under };
}

/** @param {Iterable<number>} values */
function extent(values) {
  let least = Infinity, most = -Infinity;
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return [least, most];
}

/** @param {Float64Array} values */
function smallestStep(values) {
  const sorted = Float64Array.from(values).sort();
  const width = sorted[sorted.length - 1] - sorted[0];
  let step = Infinity;
  // Columns are rounded to whole level-0 pixels: what differs by less than a thousandth is one column.
  for (let i = 1; i < sorted.length; i++) {
    const gap = sorted[i] - sorted[i - 1];
    if (gap > Math.max(1.5, width / 5000) && gap < step) step = gap;
  }
  return Number.isFinite(step) ? step : 256;
}

/** Whether a point lies inside a polygon (even-odd rule). @param {Place[]} polygon @param {number} x @param {number} y */
export function holds(polygon, x, y) {
  let within = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const a = polygon[i], b = polygon[j];
    if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) within = !within;
  }
  return within;
}
