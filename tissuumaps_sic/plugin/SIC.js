/**
 * Seeded iterative clustering in TissUUmaps: click a few patches of each class, run, see the whole slide labelled.
 *
 * `viewer` is the only object here that knows TissUUmaps' globals; the rest talks to it and to the server.
 * The page sends rows of the h5ad and gets labels back as bytes; coordinates and embeddings never travel.
 */

/* global OpenSeadragon, dataUtils, glUtils, interfaceUtils, overlayUtils, projectUtils, regionUtils, tmapp */

// TissUUmaps loads this file again whenever the plugin is opened from the menu.
if (window.SIC?.close) window.SIC.close();

window.SIC = (function () {
  "use strict";

  const NS = "http://www.w3.org/2000/svg";
  const DRAG_TOLERANCE = 6; // screen pixels that a click may wander before it is a drag
  const METHODS = { refine: "Refined", sic: "As published" };
  const MAIN = "X"; // the embedding that every h5ad has
  const VIEWS = { slide: "Slide", colors: "UMAP colours", labels: "Labels" };
  const TOOLS = {
    lasso: ["Lasso", "Shift-drag around patches"],
    rectangle: ["Rectangle", "Shift-drag from corner to corner"],
    brush: ["Brush", "Shift-drag over patches"],
  };
  const SETTLED = 0.02; // share of labels that hang on single seeds, below which more clicks change little

  // ---------------------------------------------------------------- TissUUmaps

  const viewer = (function () {
    const LABELS = "SICLABELS"; // TissUUmaps splits ids at "_", so the layer's id has none
    const osd = () => tmapp.ISS_viewer;
    const image = () => osd().world.getItemAt(0);

    /** Patch layers of the page: marker layers that were read from an h5ad and are on the screen. */
    function patchLayers() {
      return Object.entries(dataUtils.data)
        .filter(([uid, layer]) => uid !== LABELS && layer._filetype === "h5" && glUtils._numPoints[uid])
        .map(([uid, layer]) => ({ uid, h5ad: layer._csv_path }));
    }

    /** Centres of a layer's patches in the page's image pixels (TissUUmaps may have rescaled them). */
    function centres(uid) {
      const layer = dataUtils.data[uid];
      const scaled = (column) => Float64Array.from(layer._processeddata[column], (v) => v * layer._coord_factor);
      return { x: scaled(layer._X), y: scaled(layer._Y) };
    }

    function toImage(position) {
      return image().viewportToImageCoordinates(osd().viewport.pointFromPixel(position));
    }

    function toViewport(x, y) {
      return image().imageToViewportCoordinates(x, y);
    }

    function on(handlers) {
      for (const [event, handler] of Object.entries(handlers)) osd().addHandler(event, handler);
    }

    function off(handlers) {
      for (const [event, handler] of Object.entries(handlers)) osd().removeHandler(event, handler);
    }

    /** Whether the person draws TissUUmaps' own regions just now. */
    function isDrawingRegions() {
      return Boolean(regionUtils._regionMode);
    }

    /** Show or replace the marker layer of labels; `names` holds one class name a patch. */
    async function showLabels({ uid, names, colors }) {
      const patches = dataUtils.data[uid];
      const { x, y } = centres(uid);
      if (!dataUtils.data[LABELS]) makeLabelsTab();
      const layer = dataUtils.data[LABELS];
      layer._processeddata = { columns: ["x", "y", "class"], x, y, class: names };
      layer._csv_header = layer._processeddata.columns;
      layer._isnan = {};
      layer.modified = true;
      layer.expectedHeader = {
        X: "x", Y: "y", gb_col: "class", cb_gr_dict: JSON.stringify(colors), shape_fixed: "square",
        scale_factor: patches._scale_factor, coord_factor: 1, opacity: 1, z_order: patches._z_order + 1,
        collectionItem_fixed: "0",
      };
      layer.expectedRadios = {
        cb_col: false, cb_gr: true, cb_gr_dict: true, cb_gr_rand: false, cb_gr_key: false,
        shape_fixed: true, shape_gr: false, shape_col: false, _no_outline: true, collectionItem_fixed: true,
      };
      // The cached quadtrees are keyed by column names, which stay the same from run to run.
      dataUtils._quadtreesLastInputs = {};
      fillMenus(layer);
      await dataUtils.updateViewOptions(LABELS);
    }

    function makeLabelsTab() {
      // Making a tab brings it to the front; the person stays where they were.
      const active = document.querySelector("#level-1-tabs .nav-link.active");
      interfaceUtils.generateDataTabUI({ uid: LABELS, name: "SIC labels", hideSettings: true, expectedHeader: {} });
      dataUtils.createDataset(LABELS, { name: "SIC labels", filetype: "csv" });
      // A layer without a button makes TissUUmaps ask for a file when the project is saved. This one comes
      // back from the session; a named property of the array is not part of the saved JSON.
      projectUtils._activeState.markerFiles ??= [];
      projectUtils._activeState.markerFiles[LABELS] = {};
      dataUtils.data[LABELS].fromButton = LABELS;
      dataUtils.data[LABELS]._csv_path = "";
      active?.click();
    }

    function fillMenus(layer) {
      const menus = interfaceUtils._mGenUIFuncs.getTabDropDowns(LABELS, true);
      for (const menu of Object.values(menus)) {
        if (!menu || menu.options.length) continue;
        for (const value of ["null", ...layer._csv_header]) menu.add(new Option(value, value));
      }
      interfaceUtils._mGenUIFuncs.fillRadiosAndChecksIfExpectedCSV(LABELS, layer.expectedRadios);
      interfaceUtils._mGenUIFuncs.fillDropDownsIfExpectedCSV(LABELS, layer.expectedHeader);
    }

    /** Bring a place of the page's image to the middle, unless it is well inside the view. */
    function lookAt(x, y) {
      const point = toViewport(x, y);
      const bounds = osd().viewport.getBounds();
      const margin = { x: bounds.width * 0.1, y: bounds.height * 0.1 };
      const inside = point.x > bounds.x + margin.x && point.x < bounds.x + bounds.width - margin.x
        && point.y > bounds.y + margin.y && point.y < bounds.y + bounds.height - margin.y;
      if (!inside) osd().viewport.panTo(point);
    }

    /** Where a pointer event is, in the page's image pixels. */
    function placeOf(event) {
      const box = osd().canvas.getBoundingClientRect();
      return toImage(new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top));
    }

    /** Draw a square of the slide, `side` image pixels around (x, y), into a canvas; false without an image. */
    async function drawSlide(canvas, x, y, side) {
      const { source } = image();
      if (!source.getTileUrl || !source.tilesUrl) return false;
      // The least level that has a pixel for each of the canvas, or the best there is.
      let level = source.maxLevel;
      while (level > source.minLevel && side * source.getLevelScale(level - 1) >= canvas.width) level--;
      const scale = source.getLevelScale(level), zoom = canvas.width / (side * scale);
      const left = (x - side / 2) * scale, top = (y - side / 2) * scale, reach = side * scale;
      const tile = source.getTileWidth(level), tiles = source.getNumTiles(level);
      const context = canvas.getContext("2d");
      const jobs = [];
      for (let column = Math.max(0, Math.floor(left / tile)); column * tile < left + reach && column < tiles.x; column++) {
        for (let row = Math.max(0, Math.floor(top / tile)); row * tile < top + reach && row < tiles.y; row++) {
          jobs.push((async () => {
            const picture = new Image();
            picture.src = source.getTileUrl(level, column, row);
            await picture.decode();
            const shiftX = column ? source.tileOverlap : 0, shiftY = row ? source.tileOverlap : 0;
            context.drawImage(picture, (column * tile - shiftX - left) * zoom, (row * tile - shiftY - top) * zoom,
              picture.width * zoom, picture.height * zoom);
          })());
        }
      }
      await Promise.all(jobs);
      return jobs.length > 0;
    }

    function removeLabels() {
      if (dataUtils.data[LABELS]) {
        const active = document.querySelector("#level-1-tabs .nav-link.active");
        interfaceUtils._mGenUIFuncs.deleteTab(LABELS);
        active?.click();
      }
    }

    function setClassVisible(name, visible) {
      const box = document.getElementById(`${LABELS}_${name.replace(/ /g, "_")}_check`);
      if (!box || box.checked === visible) return;
      box.checked = visible;
      box.dispatchEvent(new Event("input", { bubbles: true }));
    }

    function isClassVisible(name) {
      return document.getElementById(`${LABELS}_${name.replace(/ /g, "_")}_check`)?.checked ?? true;
    }

    /** Set how strongly the patches' colours and the labels are drawn, 0..1 each. */
    function setOpacity(uid, patches, labels) {
      for (const [layer, opacity] of [[uid, patches], [LABELS, labels]]) {
        if (!dataUtils.data[layer]) continue;
        dataUtils.data[layer]._opacity = opacity;
        glUtils._markerOpacity[layer] = opacity;
      }
      glUtils.draw();
    }

    /** Keep TissUUmaps from opening a tooltip at every click that seeds; returns how to undo that. */
    function muteTooltips() {
      const before = glUtils._showMarkerInfo;
      glUtils._showMarkerInfo = false;
      return () => { glUtils._showMarkerInfo = before; };
    }

    return {
      patchLayers, centres, toImage, toViewport, on, off, isDrawingRegions, lookAt, placeOf, drawSlide,
      showLabels, removeLabels, setClassVisible, isClassVisible, setOpacity, muteTooltips,
      container: () => osd().canvas,
      overlay: () => overlayUtils._d3nodes.ISS_svgnode.node(),
      LOADED: "glUtilsDraw", // TissUUmaps' event when a marker layer is ready
    };
  })();

  // ---------------------------------------------------------------- the server

  class ServerError extends Error {
    constructor(status, message) {
      super(message);
      this.status = status;
    }
  }

  async function post(endpoint, content) {
    let response;
    try {
      response = await fetch(`/plugins/SIC/${endpoint}`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content),
      });
    } catch {
      throw new ServerError(0, "The server does not answer. Is it still running? Seeds made so far are saved.");
    }
    if (response.ok) return response;
    const text = await response.text();
    let message = `The server answered ${response.status}.`;
    try { message = JSON.parse(text).error ?? message; } catch { /* not ours: an error page of TissUUmaps */ }
    throw new ServerError(response.status, message);
  }

  const postForState = async (endpoint, content) => (await post(endpoint, content)).json();

  /** Ask for labels: a header length (uint32), the header as JSON, then one byte a patch. */
  async function postForLabels(endpoint, content) {
    const buffer = await (await post(endpoint, content)).arrayBuffer();
    const length = new DataView(buffer).getUint32(0, true);
    const state = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    return { state, labels: new Uint8Array(buffer, 4 + length) };
  }

  // ---------------------------------------------------------------- where the patches are

  /** Find patches by place; all in the page's image pixels. */
  function makeGrid({ x, y }) {
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

    return { x, y, spacing, at, inside, under };
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

  function holds(polygon, x, y) {
    let within = false;
    for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
      const a = polygon[i], b = polygon[j];
      if (a.y > y !== b.y > y && x < ((b.x - a.x) * (y - a.y)) / (b.y - a.y) + a.x) within = !within;
    }
    return within;
  }

  // ---------------------------------------------------------------- the plugin

  const app = {
    layer: null, // {uid, h5ad} of the patches
    grid: null,
    state: null, // what the server knows of the slide's session
    labels: null, // Uint8Array, one a patch
    active: 1, // the class that a click gives
    view: "colors",
    method: "refine",
    embedding: MAIN, // of the h5ad: which one the next run is on
    opacity: 0.65,
    seeding: true,
    tool: "lasso", // what Shift-drag does
    live: false, // run again after every change
    session: "", // name of the session; "" is the one without
    suggested: null, // row of the patch that is best seeded next
    hovered: null, // row of the patch under the pointer
    why: null, // which seeds it is most like, as the server tells
    flips: null, // share of labels that change when the seeds are resampled, of this revision
    busy: "",
    error: "",
    status: "",
  };
  let panel = null;
  let unmute = () => {};
  let queue = Promise.resolve();

  /** Do one thing after another: a change must start from the revision that the one before it made. */
  function enqueue(busy, work) {
    queue = queue.then(async () => {
      app.busy = busy;
      app.error = "";
      render();
      try {
        await work();
      } catch (error) {
        app.error = error.message;
        app.status = "";
        if (!(error instanceof ServerError)) console.error(error);
        if (error.status === 409) await reload().catch((again) => { app.error = again.message; });
      }
      app.busy = "";
      render();
    });
    return queue;
  }

  const request = (more = {}) => ({ h5ad: app.layer.h5ad, session: app.session, ...more });

  async function reload() {
    takeState(await postForState("open", request()));
    app.labels = null;
    const { run, embeddings } = app.state;
    if (run) app.embedding = run.embedding;
    if (!embeddings.some((each) => each.name === app.embedding)) app.embedding = MAIN;
    if (run) {
      app.method = run.method;
      const found = await postForLabels("labels", request());
      app.state = found.state;
      await takeLabels(found.labels);
    } else {
      viewer.removeLabels();
    }
    drawSeeds();
  }

  /** Keep a session's new state; what hung on the old one goes, but for the class that is chosen. */
  function takeState(state) {
    const before = app.state;
    app.state = state;
    app.suggested = app.flips = app.why = app.hovered = null;
    const name = before?.classes[app.active]?.name;
    const place = state.classes.findIndex((each) => each.name === name);
    // Labels move when a class goes; a class that only has another name stays where it is.
    if (place >= 0) app.active = place;
    else if (before?.classes.length !== state.classes.length) app.active = state.listed[0];
  }

  function change(what, status) {
    return enqueue("Saving", async () => {
      const before = JSON.stringify(app.state.run?.classes);
      takeState(await postForState("change", request({
        revision: app.state.revision, user: user(), change: what(),
      })));
      app.status = status ?? "Saved";
      drawSeeds();
      // Renamed, merged, or one of these undone: the same labels mean something else.
      if (app.labels && JSON.stringify(app.state.run.classes) !== before) await takeLabels(app.labels);
      if (app.live && app.state.run?.stale !== false && unseeded().length === 0) await label();
    });
  }

  const unseeded = () =>
    app.state.classes.filter((_, label) => !app.state.seeds.labels.includes(label)).map((each) => each.name);

  const user = () => localStorage.getItem("SIC.user") ?? "";

  /** Ask for the patch whose seed would tell most, and go there. */
  function suggest() {
    return enqueue("Looking for the most telling patch", async () => {
      const found = await postForState("suggest", request({
        revision: app.state.revision, method: app.method, embedding: app.embedding, n: 1,
      }));
      app.flips = found.flips;
      app.suggested = found.patches[0] ?? null;
      if (app.suggested === null) app.status = "Every patch is seeded";
      else {
        app.status = "Seed the marked patch; N finds the next one";
        viewer.lookAt(app.grid.x[app.suggested], app.grid.y[app.suggested]);
      }
      drawSeeds();
    });
  }

  const addClass = () => change(() => {
    const names = new Set(app.state.classes.map((each) => each.name));
    let number = app.state.classes.length + 1;
    while (names.has(`Class ${number}`)) number++;
    return { kind: "add-class", name: `Class ${number}` };
  }, "Added; click its name to change it").then(() => {
    if (app.error) return;
    app.active = app.state.classes.length - 1;
    render();
    panel.querySelector(`tr[data-label="${app.active}"] input[type=text]`)?.select();
  });

  function removeClass(label, into) {
    const { name } = app.state.classes[label];
    return change(
      () => ({ kind: "remove-class", label, into }),
      into === null ? `“${name}” is removed; Undo brings it back` : `“${name}” is merged; Undo parts them`,
    );
  }

  function openSession(name) {
    return enqueue("Opening", async () => {
      const before = app.session;
      app.session = name;
      try {
        await reload();
      } catch (error) {
        app.session = before;
        throw error;
      }
      applyView();
      app.status = "";
    });
  }

  function newSession() {
    const name = window.prompt("Name of the new session, for example your own", user());
    if (name?.trim()) openSession(name.trim());
  }

  const undo = () => change(() => ({ kind: "undo" }), "Undone");
  const redo = () => change(() => ({ kind: "redo" }), "Done again");
  const clear = () => change(() => ({ kind: "clear" }), "Seeds cleared; Undo brings them back");

  /** Seed patches with the active class; where all of them have it already, take it from them. */
  function seed(rows) {
    const label = app.active;
    return change(() => {
      const known = seededLabels();
      const all = rows.every((row) => known.get(row) === label);
      return { kind: "seed", label: all ? null : label, patches: rows };
    });
  }

  const seededLabels = () =>
    new Map(app.state.seeds.patches.map((row, i) => [row, app.state.seeds.labels[i]]));

  const editClass = (label, edit) =>
    change(() => ({ kind: "class", label, ...app.state.classes[label], ...edit }));

  const run = () => enqueue("Running", label);

  async function label() {
    const found = await postForLabels("run", request({
      revision: app.state.revision, method: app.method, embedding: app.embedding,
    }));
    app.state = found.state;
    app.view = "labels";
    await takeLabels(found.labels);
    app.status = `Labelled ${count(found.labels.length)} patches in ${found.state.seconds.toFixed(2)} s`;
  }

  function write() {
    return enqueue("Writing", async () => {
      const { written } = await postForState("write", request({ revision: app.state.revision }));
      app.status = `Labels are in ${written} (obs: sic_label, sic_score, sic_seed)`;
    });
  }

  async function takeLabels(labels) {
    app.labels = labels;
    const { classes } = app.state.run; // as of the run: some may have come or gone since
    await viewer.showLabels({
      uid: app.layer.uid,
      names: Array.from(labels, (label) => classes[label].name),
      colors: Object.fromEntries(classes.map((each) => [each.name, each.color])),
    });
    applyView();
  }

  function applyView() {
    viewer.setOpacity(
      app.layer.uid, app.view === "colors" ? app.opacity : 0, app.view === "labels" ? app.opacity : 0);
  }

  // ---------------------------------------------------------------- seeds and lasso on the slide

  function drawSeeds() {
    const overlay = viewer.overlay();
    overlay.querySelector("#SIC_seeds")?.remove();
    if (!app.state) return;
    const group = svg("g", { id: "SIC_seeds", "pointer-events": "none" });
    const half = app.grid.spacing / 2;
    for (const [row, label] of seededLabels()) {
      const corner = viewer.toViewport(app.grid.x[row] - half, app.grid.y[row] - half);
      const opposite = viewer.toViewport(app.grid.x[row] + half, app.grid.y[row] + half);
      const place = {
        x: corner.x, y: corner.y, width: opposite.x - corner.x, height: opposite.y - corner.y,
        fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round",
      };
      // A dark line under the coloured one: seen on pale glass, on dark nuclei, and on its own label.
      group.append(
        svg("rect", { ...place, stroke: "#111", "stroke-width": 6 }),
        svg("rect", { ...place, stroke: app.state.classes[label].color, "stroke-width": 3,
          "data-patch": row, "data-label": label }));
    }
    if (app.suggested !== null) {
      const corner = viewer.toViewport(app.grid.x[app.suggested] - half, app.grid.y[app.suggested] - half);
      const opposite = viewer.toViewport(app.grid.x[app.suggested] + half, app.grid.y[app.suggested] + half);
      const place = {
        x: corner.x, y: corner.y, width: opposite.x - corner.x, height: opposite.y - corner.y,
        fill: "none", "vector-effect": "non-scaling-stroke",
      };
      group.append(
        svg("rect", { ...place, stroke: "#111", "stroke-width": 5 }),
        svg("rect", { ...place, stroke: "#fff", "stroke-width": 3, "stroke-dasharray": "6 4",
          "data-suggested": app.suggested }));
    }
    overlay.append(group);
  }

  const pointer = { start: null, lasso: null, line: null };

  function dropLasso() {
    pointer.line?.remove();
    pointer.lasso = pointer.line = null;
  }

  const mouse = {
    "canvas-press": (event) => {
      dropLasso();
      pointer.start = null;
      const button = event.originalEvent?.button ?? 0;
      if (button !== 0 || !app.seeding || !app.state || viewer.isDrawingRegions()) return;
      pointer.start = event.position.clone();
      if (!event.originalEvent?.shiftKey) return;
      pointer.lasso = [pointer.start];
      pointer.line = svg("svg", { class: "sic-lasso" });
      pointer.line.append(svg(app.tool === "brush" ? "polyline" : "polygon", { points: "" }));
      viewer.container().append(pointer.line);
    },
    "canvas-drag": (event) => {
      if (!pointer.start) return;
      if (pointer.lasso) {
        event.preventDefaultAction = true;
        const here = event.position.clone();
        if (app.tool === "rectangle") pointer.lasso = corners(pointer.start, here);
        else pointer.lasso.push(here);
        const points = pointer.lasso.map((each) => `${each.x},${each.y}`).join(" ");
        pointer.line.firstChild.setAttribute("points", points);
      } else if (pointer.start.distanceTo(event.position) < DRAG_TOLERANCE) {
        event.preventDefaultAction = true; // a trembling hand does not pan
      } else {
        pointer.start = null;
      }
    },
    "canvas-release": (event) => {
      const { start, lasso } = pointer;
      pointer.start = null;
      dropLasso();
      if (!start) return;
      if (lasso && start.distanceTo(event.position) + lasso.length > DRAG_TOLERANCE + 1) {
        const line = lasso.map(viewer.toImage);
        const rows = app.tool === "brush" ? app.grid.under(line) : app.grid.inside(line);
        if (rows.length) seed(rows);
        else tell(app.tool === "brush" ? "No patch lies under the brush" : "No patch centre lies inside");
        return;
      }
      const row = app.grid.at(viewer.toImage(start));
      if (row === null) tell("There is no patch here"); else seed([row]);
    },
  };

  function corners(a, b) {
    const at = (x, y) => Object.assign(a.clone(), { x, y });
    return [a, at(b.x, a.y), b, at(a.x, b.y)];
  }

  // ---------------------------------------------------------------- why a patch is what it is

  const HOVER = 150; // ms that the pointer rests before the server is asked
  const THUMBNAIL = 48; // CSS pixels
  let rest = 0;

  function onHover(event) {
    clearTimeout(rest);
    if (event.buttons || !app.state?.seeds.patches.length) return;
    const row = app.grid.at(viewer.placeOf(event));
    if (row === app.hovered) return;
    rest = setTimeout(() => explain(row), HOVER);
  }

  async function explain(row) {
    if (app.busy) return;
    app.hovered = row;
    if (row === null) return;
    const { revision } = app.state;
    try {
      const found = await postForState("why", request({ revision, embedding: app.embedding, patch: row }));
      // Not what was asked for a place that the pointer has left, or of seeds that are no longer these.
      if (app.hovered !== row || app.state.revision !== revision) return;
      app.why = found;
    } catch {
      app.why = null; // nothing that was asked for with a click: the next click tells what is wrong
    }
    // Not the whole panel: a name may be half typed there.
    panel?.querySelector("#sic-why")?.replaceWith(whyBox());
  }

  function whyBox() {
    const { why, state } = app;
    if (!why) return html("div", { id: "sic-why", class: "text-muted" }, "Point at a patch to see its nearest seeds.");
    const label = seededLabels().get(why.patch);
    const margin = why.margin === null ? "" : `, ahead by ${why.margin.toFixed(2)}`;
    return html("div", { id: "sic-why", "data-patch": why.patch },
      html("div", { class: "sic-why-row" }, thumbnail(why.patch),
        html("div", {},
          html("div", {}, app.labels ? `Labelled ${state.run.classes[app.labels[why.patch]].name}` : "Not labelled yet",
            label === undefined ? "" : `, seeded ${state.classes[label].name}`),
          html("div", { class: "text-muted" }, `Most like ${state.classes[why.nearest[0].label].name}${margin}`))),
      ...why.nearest.map(({ label: of, patches, similarities }) =>
        html("div", { class: "sic-why-row" },
          html("span", { class: "sic-why-name", style: `border-color: ${state.classes[of].color}` }, state.classes[of].name),
          ...patches.map((row, place) => html("button", {
            type: "button", class: "sic-why-seed", "data-patch": row,
            title: `Go to this seed of ${state.classes[of].name}, likeness ${similarities[place].toFixed(2)}`,
            onclick: () => viewer.lookAt(app.grid.x[row], app.grid.y[row]),
          }, thumbnail(row), html("span", {}, similarities[place].toFixed(2)))))));
  }

  function thumbnail(row) {
    const canvas = html("canvas", { width: 2 * THUMBNAIL, height: 2 * THUMBNAIL, "data-row": row });
    viewer.drawSlide(canvas, app.grid.x[row], app.grid.y[row], app.grid.spacing * 2)
      .then((drawn) => { if (!drawn) canvas.remove(); })
      .catch(() => canvas.remove());
    return canvas;
  }

  function tell(status) {
    app.status = status;
    render();
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !app.state) return;
    // Where keys mean something already: a class that was just chosen, or a box that was ticked, is no such place.
    const typed = "input:not([type=radio], [type=checkbox]), select, textarea, [contenteditable], .modal";
    if (event.target.closest(typed) || (event.key === " " && event.target.closest("input, button"))) return;
    const actions = { z: undo, Z: redo, " ": run, n: suggest, N: suggest, Escape: cancel };
    // In the order of the list: the positive class comes first.
    const label = /^[1-9]$/.test(event.key) ? app.state.listed[event.key - 1] : undefined;
    if (label !== undefined) {
      app.active = label;
      render();
    } else if (actions[event.key]) {
      actions[event.key]();
    } else {
      return;
    }
    event.preventDefault();
  }

  function cancel() {
    pointer.start = null;
    dropLasso();
    if (app.suggested === null) return;
    app.suggested = null;
    drawSeeds();
    render();
  }

  // ---------------------------------------------------------------- the panel

  const count = (n) => n.toLocaleString("en");
  const share = (part, whole) => `${((100 * part) / whole).toFixed(part && part / whole < 0.1 ? 1 : 0)} %`;

  function html(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  function svg(tag, attributes = {}) {
    return fill(document.createElementNS(NS, tag), attributes, []);
  }

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (typeof value === "boolean") element.toggleAttribute(name, value);
      else element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  function button(text, title, onclick, more = {}) {
    return html("button", { type: "button", class: "btn btn-sm btn-outline-secondary", title, onclick, ...more }, text);
  }

  function classRow(label) {
    const seedClass = app.state.classes[label];
    const seeds = app.state.seeds.labels.filter((each) => each === label).length;
    const labelled = countOf(seedClass.name);
    const place = app.state.listed.indexOf(label) + 1;
    const visible = viewer.isClassVisible(seedClass.name);
    return html("tr", { class: label === app.active ? "sic-active" : "", "data-label": label },
      html("td", {}, html("input", {
        type: "radio", name: "sic-class", class: "form-check-input", checked: label === app.active,
        id: `sic-class-${label}`, title: `Seed “${seedClass.name}”` + (place < 10 ? ` (key ${place})` : ""),
        onchange: () => { app.active = label; render(); },
      })),
      html("td", {}, html("input", {
        type: "color", value: seedClass.color, title: "Colour of this class",
        "aria-label": `Colour of ${seedClass.name}`,
        onchange: (event) => editClass(label, { color: event.target.value }),
      })),
      html("td", {}, html("input", {
        type: "text", value: seedClass.name, class: "form-control form-control-sm", title: "Name of this class",
        "aria-label": "Name of the class", maxlength: 60,
        onchange: (event) => editClass(label, { name: event.target.value }),
        onkeydown: (event) => { if (event.key === "Enter") event.target.blur(); },
      })),
      html("td", { class: "sic-number sic-seeds" }, count(seeds)),
      html("td", { class: "sic-number sic-count" },
        labelled === undefined ? "–" : `${count(labelled)} (${share(labelled, app.state.n_patches)})`),
      html("td", {}, labelled === undefined ? "" : html("input", {
        type: "checkbox", class: "form-check-input", checked: visible, title: "Show this class's labels",
        "aria-label": `Show labels of ${seedClass.name}`,
        onchange: (event) => { viewer.setClassVisible(seedClass.name, event.target.checked); },
      })),
      html("td", {}, app.state.classes.length > 2 ? removal(label) : ""));
  }

  /** What a class has got in the last run, under the name that it has now. */
  function countOf(name) {
    const { run } = app.state;
    if (!run) return undefined;
    const counts = run.counts.filter((_, place) => run.classes[place].name === name);
    return counts.length ? counts.reduce((a, b) => a + b) : undefined;
  }

  function removal(label) {
    const { name } = app.state.classes[label];
    const others = app.state.listed.filter((each) => each !== label);
    return html("select", { class: "sic-removal", title: `Remove or merge “${name}”`,
      "aria-label": `Remove or merge ${name}`, disabled: Boolean(app.busy),
      onchange: (event) => {
        const into = event.target.value === "remove" ? null : Number(event.target.value);
        event.target.value = "";
        removeClass(label, into);
      } },
      html("option", { value: "", selected: true, hidden: true }, "⋯"),
      html("option", { value: "remove" }, "Remove with its seeds"),
      ...others.map((each) => html("option", { value: each }, `Merge into ${app.state.classes[each].name}`)));
  }

  function render() {
    if (!panel) return;
    // A name that is being typed survives what happens meanwhile.
    if (panel.contains(document.activeElement) && document.activeElement.type === "text" && app.busy) return;
    const focused = panel.contains(document.activeElement) ? document.activeElement.id : "";
    panel.replaceChildren(style(), app.state ? body() : waiting(), messages(),
      ...(app.state?.seeds.patches.length ? [whyBox()] : []));
    if (focused) document.getElementById(focused)?.focus();
  }

  function waiting() {
    return html("p", { class: "text-muted mt-2" }, app.error ? "" : "Waiting for the patches of an h5ad to load …");
  }

  function body() {
    const { state } = app;
    const idle = !app.busy;
    const layers = viewer.patchLayers();
    return html("div", {},
      html("div", { class: "sic-head" },
        layers.length > 1
          ? html("select", { class: "form-select form-select-sm", title: "Which patches to label", id: "sic-layer",
              onchange: (event) => choose(layers[event.target.selectedIndex]) },
            ...layers.map((each) => html("option", { selected: each.uid === app.layer.uid }, each.h5ad)))
          : html("b", {}, state.slide),
        html("span", { class: "text-muted" }, `${count(state.n_patches)} patches`)),
      sessionRow(),
      html("table", { class: "sic-classes" },
        html("thead", {}, html("tr", {},
          ...["", "", "Class", "Seeds", "Labelled", "", ""].map((each, i) =>
            html("th", { class: i === 3 || i === 4 ? "sic-number" : "" }, each)))),
        html("tbody", {}, ...state.listed.map(classRow))),
      button("+ Class", "Add a class", addClass, { id: "sic-add-class", disabled: !idle }),
      html("div", { class: "form-check form-switch my-1" },
        html("input", { type: "checkbox", class: "form-check-input", id: "sic-seeding", checked: app.seeding,
          title: "Off: clicks only look",
          onchange: (event) => { app.seeding = event.target.checked; mute(); render(); } }),
        html("label", { class: "form-check-label", for: "sic-seeding" },
          "Click a patch to seed it, again to unseed")),
      html("div", { class: "sic-tools" },
        html("span", { class: "text-muted" }, "Shift-drag:"),
        html("div", { class: "btn-group btn-group-sm", role: "group", "aria-label": "What Shift-drag does" },
          ...Object.entries(TOOLS).map(([tool, [text, title]]) =>
            button(text, title, () => { app.tool = tool; render(); }, {
              id: `sic-tool-${tool}`, disabled: !app.seeding,
              class: `btn btn-sm ${tool === app.tool ? "btn-secondary" : "btn-outline-secondary"}`,
              "aria-pressed": String(tool === app.tool) })))),
      html("div", { class: "sic-buttons" },
        button("▶ Run", "Label every patch from the seeds (Space)", run,
          { id: "sic-run", class: "btn btn-sm btn-primary", disabled: !idle }),
        html("select", { class: "form-select form-select-sm sic-method", id: "sic-method", disabled: !idle,
          title: "How seeds become labels. Refined: every correction counts, and a seeded patch keeps its class. "
            + "As published: seeds only start the clustering",
          "aria-label": "Method", onchange: (event) => { app.method = event.target.value; } },
          ...Object.entries(METHODS).map(([method, text]) =>
            html("option", { value: method, selected: method === app.method }, text))),
        html("div", { class: "form-check form-switch sic-live" },
          html("input", { type: "checkbox", class: "form-check-input", id: "sic-live", checked: app.live,
            title: "Run again after every seed",
            onchange: (event) => { app.live = event.target.checked; render(); if (app.live) runIfReady(); } }),
          html("label", { class: "form-check-label", for: "sic-live" }, "Live"))),
      html("div", { class: "sic-buttons" },
        button("Suggest", "Go to the patch whose seed would tell most (N)", suggest,
          { id: "sic-suggest", disabled: !idle || unseeded().length > 0 }),
        button("↶ Undo", "Take the last seeding back (Z)", undo, { id: "sic-undo", disabled: !idle || !state.can_undo }),
        button("↷ Redo", "Do it again (Shift-Z)", redo, { id: "sic-redo", disabled: !idle || !state.can_redo }),
        button("Clear", "Remove all seeds; can be undone", clear,
          { id: "sic-clear", disabled: !idle || !state.seeds.patches.length })),
      state.embeddings.length > 1
        ? html("div", { class: "sic-embedding" },
          html("label", { for: "sic-embedding" }, "Embedding"),
          html("select", { class: "form-select form-select-sm", id: "sic-embedding", disabled: !idle,
            title: "What the patches are compared by: another network, or another scale",
            onchange: (event) => { app.embedding = event.target.value; } },
            ...state.embeddings.map(({ name, title }) =>
              html("option", { value: name, selected: name === app.embedding }, title))))
        : null,
      html("div", { class: "sic-view" },
        html("div", { class: "btn-group btn-group-sm", role: "group", "aria-label": "What is drawn" },
          ...Object.entries(VIEWS).map(([view, text]) =>
            button(text, `Show ${text.toLowerCase()}`, () => { app.view = view; applyView(); render(); }, {
              id: `sic-view-${view}`, disabled: view === "labels" && !app.labels,
              class: `btn btn-sm ${view === app.view ? "btn-secondary" : "btn-outline-secondary"}`,
              "aria-pressed": String(view === app.view) }))),
        html("input", { type: "range", class: "form-range", id: "sic-opacity", min: 0.1, max: 1, step: 0.05,
          value: app.opacity, title: "Opacity", "aria-label": "Opacity", disabled: app.view === "slide",
          oninput: (event) => { app.opacity = Number(event.target.value); applyView(); } })),
      state.run
        ? html("div", { class: "sic-buttons" },
          button("Write labels into the h5ad", "Adds sic_label, sic_score and sic_seed to the file itself", write,
            { id: "sic-write", disabled: !idle || state.run.stale }))
        : null);
  }

  function runIfReady() {
    if (unseeded().length === 0 && app.state.run?.stale !== false) run();
  }

  function sessionRow() {
    const { state } = app;
    const names = [...new Set([...state.sessions, app.session, ""])].sort();
    return html("div", { class: "sic-session" },
      html("label", { for: "sic-session", class: "text-muted" }, "Session"),
      html("select", { class: "form-select form-select-sm", id: "sic-session", disabled: Boolean(app.busy),
        title: "Whose seeds: each session is a file of its own beside the slide's",
        onchange: (event) => openSession(event.target.value) },
        ...names.map((name) => html("option", { value: name, selected: name === app.session }, name || "(shared)"))),
      button("New …", "Begin a session of its own, for a second reader or another question", newSession,
        { id: "sic-new-session", disabled: Boolean(app.busy) }),
      html("input", { type: "text", class: "form-control form-control-sm", id: "sic-user", value: user(),
        maxlength: 60, placeholder: "Your name", title: "Kept with every seed that you make",
        "aria-label": "Your name", onchange: (event) => localStorage.setItem("SIC.user", event.target.value.trim()) }));
  }

  /** The stop sign: what is known of how much more clicks would change. */
  function stopSign() {
    if (app.flips === null) return null;
    const settled = app.flips < SETTLED;
    return html("div", { id: "sic-stop", class: settled ? "sic-settled" : "" },
      settled
        ? `Settled: ${share(app.flips, 1)} of the labels hang on single seeds; more clicks will change little.`
        : `${share(app.flips, 1)} of the labels hang on single seeds: more seeds will help.`);
  }

  function messages() {
    const stale = app.state?.run?.stale && !app.busy;
    return html("div", { class: "sic-messages" },
      app.error
        ? html("div", { class: "alert alert-danger py-1 px-2 mb-1", role: "alert", id: "sic-error" },
          app.error.charAt(0).toUpperCase() + app.error.slice(1))
        : null,
      html("div", { class: "text-muted", role: "status", id: "sic-status" },
        app.busy ? html("span", { class: "spinner-border spinner-border-sm me-1" }) : null,
        app.busy ? `${app.busy} …` : app.status,
        app.busy ? null : stopSign(),
        stale ? html("div", { class: "sic-stale" }, "The seeds have changed since the last run.") : null));
  }

  function style() {
    return html("style", {}, `
      .sic-head { display: flex; gap: .75em; align-items: baseline; margin: .5em 0; }
      .sic-classes { width: 100%; border-collapse: separate; border-spacing: 0 .15em; }
      .sic-classes th { font-weight: normal; color: #6c757d; font-size: .85em; padding: 0 .3em; }
      .sic-classes td { padding: .2em .3em; vertical-align: middle; }
      .sic-classes tr.sic-active td { background: #e7f1ff; }
      .sic-classes input[type=color] { width: 2em; height: 1.7em; padding: 0; border: 1px solid #ccc; }
      .sic-number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
      .sic-buttons { display: flex; flex-wrap: wrap; gap: .3em; margin: .5em 0; }
      .sic-method { width: auto; }
      .sic-live { margin: .3em 0 0 .5em; }
      .sic-tools, .sic-session { display: flex; gap: .5em; align-items: center; margin: .4em 0; }
      .sic-session select { width: auto; max-width: 9em; }
      .sic-session button { white-space: nowrap; }
      .sic-session input { flex: 1; min-width: 5em; }
      .sic-removal { width: 2em; border: 0; background: none; appearance: none; text-align: center; cursor: pointer; }
      #sic-why { border-top: 1px solid #ddd; padding-top: .5em; min-height: 14em; }
      .sic-why-row { display: flex; gap: .5em; align-items: center; margin: .3em 0; }
      .sic-why-row canvas { width: ${THUMBNAIL}px; height: ${THUMBNAIL}px; border-radius: 3px; display: block; }
      .sic-why-name { flex: 1; min-width: 4em; border-left: 4px solid; padding-left: .4em; overflow: hidden; text-overflow: ellipsis; }
      .sic-why-seed { border: 0; background: none; padding: 0; font-size: .8em; font-variant-numeric: tabular-nums; }
      .sic-settled { color: #146c43; }
      .sic-embedding { display: flex; gap: .6em; align-items: center; margin: .5em 0; }
      .sic-embedding select { flex: 1; min-width: 0; }
      .sic-view { display: flex; gap: 1em; align-items: center; margin: .6em 0; }
      .sic-view .btn-group { flex: none; }
      .sic-messages { min-height: 3em; }
      .sic-stale { color: #8a5a00; }
      .sic-lasso { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
      .sic-lasso polyline { fill: none; stroke: #fff; stroke-opacity: .7; stroke-width: 8; stroke-linecap: round; }
      .sic-lasso polygon { fill: rgba(255, 255, 255, .2); stroke: #111; stroke-width: 2; stroke-dasharray: 5 3; }
    `);
  }

  // ---------------------------------------------------------------- coming and going

  function mute() {
    unmute();
    unmute = app.seeding ? viewer.muteTooltips() : () => {};
  }

  function choose(layer) {
    return enqueue("Opening", async () => {
      app.layer = layer;
      app.grid = makeGrid(viewer.centres(layer.uid));
      app.state = null;
      await reload();
      applyView();
      app.status = app.state.seeds.patches.length ? "The seeds of last time are back" : "";
    });
  }

  function onLoaded() {
    if (app.layer) return;
    const [first] = viewer.patchLayers();
    if (first) choose(first);
  }

  function init(container) {
    panel = html("div", { class: "sic px-1 pb-2" });
    container.replaceChildren(panel);
    viewer.on(mouse);
    document.addEventListener("keydown", onKey);
    document.addEventListener(viewer.LOADED, onLoaded);
    viewer.container().addEventListener("pointermove", onHover);
    mute();
    render();
    onLoaded();
  }

  function close() {
    viewer.off(mouse);
    document.removeEventListener("keydown", onKey);
    document.removeEventListener(viewer.LOADED, onLoaded);
    viewer.container().removeEventListener("pointermove", onHover);
    clearTimeout(rest);
    viewer.overlay().querySelector("#SIC_seeds")?.remove();
    dropLasso();
    unmute();
    panel?.remove();
    panel = null;
  }

  return { name: "Seeded iterative clustering", init, close, app };
})();
