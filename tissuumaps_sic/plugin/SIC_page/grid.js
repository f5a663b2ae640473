/** Where the patches are, in the page's image pixels. */

/** Find patches by place; all in the page's image pixels. */
export function makeGrid({ x, y }) {
  const spacing = Math.min(smallestStep(x), smallestStep(y));
  const cells = new Map();
  const key = (column, row) => `${column},${row}`;
  const cell = (value) => Math.floor(value / spacing);
  for (let row = 0; row < x.length; row++) {
    const place = key(cell(x[row]), cell(y[row]));
    if (cells.has(place)) cells.get(place).push(row); else cells.set(place, [row]);
  }

  /** The patch whose square of the mosaic holds the point, or null. */
  function at(point) {
    let best = null, nearest = Infinity;
    for (let column = cell(point.x) - 1; column <= cell(point.x) + 1; column++) {
      for (let line = cell(point.y) - 1; line <= cell(point.y) + 1; line++) {
        for (const row of cells.get(key(column, line)) ?? []) {
          const distance = Math.max(Math.abs(x[row] - point.x), Math.abs(y[row] - point.y));
          if (distance < nearest) { best = row; nearest = distance; }
        }
      }
    }
    return nearest <= spacing * 0.5 + 1 ? best : null;
  }

  /** The patches whose centres lie inside a polygon (even-odd rule). */
  function inside(polygon) {
    const rows = [];
    for (let row = 0; row < x.length; row++) if (holds(polygon, x[row], y[row])) rows.push(row);
    return rows;
  }

  /** The patches whose centres lie inside a region of several rings, holes among them (even-odd rule). */
  function within(rings) {
    const rows = [];
    for (let row = 0; row < x.length; row++) {
      if (rings.filter((ring) => holds(ring, x[row], y[row])).length % 2) rows.push(row);
    }
    return rows;
  }

  /** The patches that a line passes over. */
  function under(line) {
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

  return { x, y, spacing, at, inside, within, under };
}

function smallestStep(values) {
  const sorted = Float64Array.from(values).sort();
  const extent = sorted[sorted.length - 1] - sorted[0];
  let step = Infinity;
  // Columns are rounded to whole level-0 pixels: what differs by less than a thousandth is one column.
  for (let i = 1; i < sorted.length; i++) {
    const gap = sorted[i] - sorted[i - 1];
    if (gap > Math.max(1.5, extent / 5000) && gap < step) step = gap;
  }
  return Number.isFinite(step) ? step : 256;
}

/** Whether a point lies inside a polygon (even-odd rule). */
export function holds(polygon, x, y) {
  let within = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const a = polygon[i], b = polygon[j];
    if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) within = !within;
  }
  return within;
}
