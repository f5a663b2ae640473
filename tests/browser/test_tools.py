"""More than two classes, other ways to seed, live labels, suggestions and sessions, as a person uses them."""

import json

import numpy as np
import openslide
from test_annotating import click_seeds, headless, some_seeds
from viewer import ARTIFACTS

from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.slides.umap import read_layout


def add_class(viewer, name):
    viewer.press("add-class")
    # What is added is named first.
    viewer.page.keyboard.type(name)
    viewer.page.keyboard.press("Enter")
    viewer.wait()


def rows(viewer):
    """The classes as the panel lists them: name, number of seeds."""
    return [
        (
            row.query_selector(".sic-class-name").inner_text(),
            int(row.query_selector(".sic-seeds").inner_text()),
        )
        for row in viewer.page.query_selector_all(".sic-classes tbody tr[data-label]")
    ]


def active(viewer):
    return viewer.evaluate("SIC.app.state.classes[SIC.app.active].name")


def test_three_classes_are_added_seeded_by_key_run_merged_and_brought_back(viewer):
    add_class(viewer, "Stroma")
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    others = [row for row in range(viewer.adata.n_obs) if row not in seeds][::200][:3]
    # Whatever was clicked last, keys are not letters but in names.
    viewer.choose(0)
    viewer.page.keyboard.press("3")
    assert active(viewer) == "Stroma"
    for row in others:
        viewer.click_patch(row)
        seeds[row] = 2
    assert viewer.seeds == seeds
    assert rows(viewer) == [("Tumour", 3), ("Other", 3), ("Stroma", 3)]
    viewer.run()
    viewer.keep_picture(ARTIFACTS, "three-classes")
    names = ("Other", "Tumour", "Stroma")
    expected = [names[label] for label in headless(viewer, seeds)]
    assert viewer.layer["names"] == expected
    assert viewer.legend == {name: expected.count(name) for name in names}

    viewer.choose_from("#sic-removal-2", text="Merge into Other")
    viewer.wait()
    assert rows(viewer) == [("Tumour", 3), ("Other", 6)]
    assert viewer.layer["names"] == [{"Stroma": "Other"}.get(name, name) for name in expected]
    assert "changed since the last run" in viewer.status
    viewer.press("undo")
    assert rows(viewer) == [("Tumour", 3), ("Other", 3), ("Stroma", 3)]
    assert viewer.layer["names"] == expected
    # The class that is chosen stays chosen, though its label is another one then.
    viewer.choose(2)
    viewer.choose_from("#sic-removal-0", text="Remove with its seeds")
    viewer.wait()
    assert rows(viewer) == [("Tumour", 3), ("Stroma", 3)]
    assert active(viewer) == "Stroma"
    viewer.press("undo")
    viewer.reload()
    assert rows(viewer) == [("Tumour", 3), ("Other", 3), ("Stroma", 3)]
    # Back to before the class was there, though the labels have it.
    for _ in range(1 + len(seeds)):
        viewer.press("undo")
    assert viewer.error is None
    assert rows(viewer) == [("Tumour", 0), ("Other", 0)]
    assert viewer.layer["names"] == expected


def test_a_dozen_classes_fit_and_the_tenth_has_no_key(viewer):
    for number in range(10):
        add_class(viewer, f"Kind {number}")
    assert [name for name, _ in rows(viewer)] == ["Tumour", "Other", *(f"Kind {n}" for n in range(10))]
    colors = {each["color"] for each in viewer.evaluate("SIC.app.state.classes")}
    assert len(colors) == 12
    viewer.page.locator(".sic-head").click()
    viewer.page.keyboard.press("9")
    assert active(viewer) == "Kind 6"
    assert "(key 9)" in viewer.page.get_attribute("#sic-class-8", "title")
    assert "key" not in viewer.page.get_attribute("#sic-class-9", "title")
    box = viewer.page.query_selector(".sic.px-1").bounding_box()
    for row in viewer.page.query_selector_all(".sic-classes tbody tr"):
        assert row.bounding_box()["width"] <= box["width"]


def test_a_rectangle_and_a_brush_seed_what_they_cover(viewer):
    centres = viewer.adata.obsm["spatial"]
    known = {tuple(each): row for row, each in enumerate(centres)}
    x, y = next(c for c in sorted(known) if all((c[0] + i * 128, c[1] + j * 128) in known
                                                for i in range(4) for j in range(3)))  # fmt: skip
    viewer.choose(1)
    viewer.press("tool-rectangle")
    viewer.drag([viewer.screen(x - 30, y - 30), viewer.screen(x + 160, y + 290)], shift=True)
    block = {known[x + i * 128, y + j * 128] for i in range(2) for j in range(3)}
    assert viewer.seeds == dict.fromkeys(block, 1)
    viewer.choose(0)
    viewer.press("tool-brush")
    viewer.drag([viewer.screen(x, y + 10), viewer.screen(x + 3 * 128, y + 10)], shift=True)
    line = {known[x + i * 128, y] for i in range(4)}
    assert viewer.seeds == dict.fromkeys(block, 1) | dict.fromkeys(line, 0)
    viewer.press("undo")
    assert viewer.seeds == dict.fromkeys(block, 1)


def test_live_labels_follow_every_seed(viewer):
    seeds = some_seeds(viewer)
    viewer.page.check("#sic-live")
    viewer.wait()
    assert viewer.layer is None
    click_seeds(viewer, seeds)
    names = ("Other", "Tumour")
    assert viewer.layer["names"] == [names[label] for label in headless(viewer, seeds)]
    viewer.press("undo")
    seeds.popitem()
    assert viewer.seeds == seeds
    assert viewer.layer["names"] == [names[label] for label in headless(viewer, seeds)]
    assert viewer.error is None


def test_the_most_telling_patch_is_marked_and_found(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    adata = viewer.adata
    y = np.full(adata.n_obs, -1)
    for row, label in seeds.items():
        y[row] = label
    estimator = SeededIterativeClustering(method="refine").fit(adata.X, y, adata.obsm["spatial"])
    tissue = adata.obs["tissue"].to_numpy()
    wanted = next(int(row) for row in estimator.suggest(20) if tissue[row] >= 0.5)
    # Far from it, the view goes there.
    viewer.evaluate(
        """([x, y]) => {
            const view = tmapp.ISS_viewer.viewport, image = tmapp.ISS_viewer.world.getItemAt(0);
            view.zoomTo(8 * view.getHomeZoom(), null, true);
            view.panTo(image.imageToViewportCoordinates(x, y), true);
        }""",
        [6000 - float(adata.obsm["spatial"][wanted][0]), 4500 - float(adata.obsm["spatial"][wanted][1])],
    )
    box = viewer.page.query_selector(".openseadragon-canvas").bounding_box()

    def is_seen():
        left, top = viewer.screen(*adata.obsm["spatial"][wanted])
        return box["x"] < left < box["x"] + box["width"] and box["y"] < top < box["y"] + box["height"]

    assert not is_seen()
    viewer.page.keyboard.press("n")
    viewer.wait()
    assert viewer.page.get_attribute("rect[data-suggested]", "data-suggested") == str(wanted)
    viewer.wait_to_see(*adata.obsm["spatial"][wanted])
    assert is_seen()
    share = 100 * float(estimator.flips(10).mean())
    told = viewer.page.inner_text("#sic-stop")
    assert f"{share:.1f} %" in told or f"{share:.0f} %" in told
    viewer.keep_picture(ARTIFACTS, "suggested")
    viewer.page.keyboard.press("Escape")
    assert viewer.page.query_selector("rect[data-suggested]") is None


def test_two_readers_have_sessions_of_their_own(viewer):
    seeds = some_seeds(viewer)
    viewer.page.fill("#sic-user", "Anna")
    viewer.page.keyboard.press("Tab")
    click_seeds(viewer, seeds)
    shared = viewer.session_path.read_bytes()
    viewer.begin_session("Second reading")
    assert viewer.seeds == {}
    viewer.choose(1)
    viewer.click_patch(5)
    own = json.loads((viewer.folder / "demo.Second reading.sic.json").read_text())
    assert [action["user"] for action in own["actions"]] == ["Anna"]
    assert viewer.session_path.read_bytes() == shared
    assert {action["user"] for action in json.loads(shared)["actions"]} == {"Anna"}
    viewer.choose_from("#sic-session", value="")
    viewer.wait()
    assert viewer.seeds == seeds
    viewer.begin_session("../outside")
    assert "cannot be a session's name, which has letters" in viewer.error
    assert viewer.page.input_value("#sic-session-name") == "../outside"
    assert viewer.chosen("#sic-session") == ""
    assert viewer.seeds == seeds


def test_pointing_at_a_patch_shows_the_seeds_that_it_is_like(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    adata = viewer.adata
    unit = adata.X / np.linalg.norm(adata.X, axis=1, keepdims=True)
    row = next(row for row in range(100, adata.n_obs) if row not in seeds)
    cosine = unit @ unit[row]
    # A name that is half typed stays as it is.
    viewer.page.dblclick("label[for=sic-class-0]")
    name = viewer.page.locator("#sic-class-naming")
    name.fill("Half a na")
    viewer.page.mouse.move(*viewer.screen(*adata.obsm["spatial"][row]))
    viewer.page.wait_for_selector(f"#sic-why[data-patch='{row}']")
    shown = [
        int(each.get_attribute("data-patch")) for each in viewer.page.query_selector_all(".sic-why-seed")
    ]
    by_class = [
        sorted((r for r, each in seeds.items() if each == label), key=lambda r: -cosine[r])
        for label in (0, 1)
    ]
    assert name.input_value() == "Half a na"
    name.fill("Other")
    by_class.sort(key=lambda rows: -cosine[rows[0]])
    assert shown == by_class[0] + by_class[1]
    told = viewer.page.inner_text("#sic-why")
    most_like = ("Other", "Tumour")[seeds[by_class[0][0]]]
    assert f"Most like {most_like}, ahead by {cosine[by_class[0][0]] - cosine[by_class[1][0]]:.2f}" in told
    assert f"Labelled {viewer.layer['names'][row]}" in told
    # The thumbnails are of the slide: the mean colour is that of the place.
    viewer.wait_for_thumbnails("#sic-why")
    colors = viewer.evaluate(
        """() => [...document.querySelectorAll("#sic-why canvas")].map((canvas) => {
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            const sum = [0, 0, 0, 0];
            data.forEach((value, i) => { sum[i % 4] += value; });
            return [Number(canvas.dataset.row), sum.map((each) => each / (data.length / 4))];
        })"""
    )
    assert [each for each, _ in colors] == [row, *shown]
    with openslide.OpenSlide(viewer.folder / "demo.tif") as slide:
        for each, color in colors:
            x, y = (int(v) - 128 for v in adata.obsm["spatial"][each])
            pixels = np.asarray(slide.read_region((x, y), 0, (256, 256)).convert("RGB"), float)
            assert np.allclose(color[:3], pixels.mean(axis=(0, 1)), atol=4)
            assert color[3] == 255
    viewer.keep_picture(ARTIFACTS, "why")


def test_a_border_is_moved_seen_kept_and_taken_back(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    free = viewer.layer["names"]
    assert viewer.page.inner_text("#sic-border-value") == "auto"
    viewer.page.locator("#sic-border").fill("0.9")
    viewer.page.wait_for_function("SIC.app.state.run?.border === 0.9 && !SIC.app.busy")
    scores = fitted(viewer, seeds).scores_[:, 1]
    expected = [
        ("Other", "Tumour")[seeds.get(row, int(score >= np.float32(0.9)))] for row, score in enumerate(scores)
    ]
    assert expected != free
    assert viewer.layer["names"] == expected
    assert viewer.page.inner_text("#sic-border-value") == "0.90"
    viewer.reload()
    assert viewer.layer["names"] == expected
    # While it is moved, the page shows by itself what the run then keeps.
    viewer.evaluate(
        """() => {
            const slider = document.getElementById("sic-border");
            slider.value = 0.95;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
        }"""
    )
    preview = [
        ("Other", "Tumour")[seeds.get(row, int(score >= np.float32(0.95)))]
        for row, score in enumerate(scores)
    ]
    viewer.page.wait_for_function(
        "names => dataUtils.data.SICLABELS._processeddata.class.join() === names.join()", arg=preview
    )
    assert viewer.evaluate("SIC.app.state.run.border") == 0.9
    viewer.press("border-auto")
    assert viewer.layer["names"] == free


def test_confidence_is_drawn_as_the_scores_are(viewer):
    seeds = some_seeds(viewer)
    assert viewer.page.is_disabled("#sic-view-confidence")
    click_seeds(viewer, seeds)
    viewer.run()
    viewer.press("view-confidence")
    viewer.keep_picture(ARTIFACTS, "confidence")
    viewer.press("fine")  # off: of whole patches
    estimator = fitted(viewer, seeds)
    own, labels = estimator.scores_.max(axis=1), estimator.labels_
    shades = viewer.colors_seen
    shades = np.array([list(bytes.fromhex(shade[1:])) for shade in shades])
    for label, color in enumerate(each["color"] for each in viewer.evaluate("SIC.app.state.classes")):
        # Between white and the class's own colour: the surer, the stronger; one of 32 steps is the rounding.
        whole = 255 - np.array(list(bytes.fromhex(color[1:])))
        strength = (255 - shades[labels == label]) @ whole / (whole @ whole)
        assert np.allclose(255 - strength[:, None] * whole, shades[labels == label], atol=1)
        assert (np.diff(strength[np.argsort(own[labels == label])]) >= -1.5 / 32).all()
        assert strength.max() > strength.min() + 0.3
    assert viewer.page.is_visible("#sic-scale")
    viewer.press("view-labels")
    assert viewer.layer["names"] == [("Other", "Tumour")[label] for label in headless(viewer, seeds)]
    assert not viewer.page.is_visible("#sic-scale")


def fitted(viewer, seeds):
    slide = open_slide_file(viewer.h5ad)
    y = np.full(slide.n_patches, -1)
    y[list(seeds)] = list(seeds.values())
    return SeededIterativeClustering(method="refine").fit(slide.prepared, y)


def on_map(viewer, row):
    """Where a patch is on the screen, in the map of the feature space, as it opens."""
    umap = read_layout(viewer.h5ad).umap
    box = viewer.page.locator("#sic-map-canvas").bounding_box()
    x, y = 14 + umap[row] * (box["width"] - 28)
    return float(box["x"] + x), float(box["y"] + y)


def test_the_map_is_linked_with_the_slide_both_ways(viewer):
    viewer.press("map-toggle")
    viewer.keep_picture(ARTIFACTS, "map")
    umap = viewer.adata.obsm["X_umap"]
    # A patch that lies apart from the others, so that the pointer means no other one.
    distances = np.linalg.norm(umap[:, None] - umap[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    alone = int(distances.min(axis=1).argmax())
    viewer.page.mouse.move(*on_map(viewer, alone))
    viewer.page.wait_for_selector(f"#SIC_pointed[data-patch='{alone}']", state="attached")
    box = viewer.evaluate(
        "(({ x, y, width, height }) => [x + width / 2, y + height / 2])"
        "(document.querySelector('#SIC_pointed rect').getBoundingClientRect())"
    )
    assert np.allclose(box, viewer.screen(*viewer.adata.obsm["spatial"][alone]), atol=2)
    other = (alone + 400) % len(umap)
    viewer.page.mouse.move(*viewer.screen(*viewer.adata.obsm["spatial"][other]))
    viewer.page.wait_for_function("row => SIC.app.pointed === row", arg=other)

    # A lasso around the left half seeds what is there.
    box = viewer.page.locator("#sic-map-canvas").bounding_box()
    middle = box["x"] + box["width"] / 2
    corners = [
        (box["x"] + 1, box["y"] + 1),
        (middle, box["y"] + 1),
        (middle, box["y"] + box["height"] - 2),
        (box["x"] + 1, box["y"] + box["height"] - 2),
    ]
    viewer.choose(1)
    viewer.drag([*corners, corners[0]], shift=True)
    x = read_layout(viewer.h5ad).umap[:, 0]
    expected = set(np.flatnonzero(x < 0.5).tolist())
    close = set(np.flatnonzero(np.abs(x - 0.5) < 0.01).tolist())
    assert len(expected) > 20
    assert set(viewer.seeds) ^ expected <= close
    viewer.press("undo")
    assert viewer.seeds == {}
    viewer.press("map-close")
    assert viewer.page.query_selector("#sic-map") is None


def test_the_map_has_the_slides_colours(viewer):
    seeds = some_seeds(viewer)
    click_seeds(viewer, seeds)
    viewer.run()
    viewer.press("map-toggle")
    viewer.keep_picture(ARTIFACTS, "map-labels")
    labels = headless(viewer, seeds)
    drawn = colours_of_map(viewer)
    assert drawn.keys() - {"#00a6fb", "#ffb000"} == set()
    assert (drawn["#ffb000"] > drawn["#00a6fb"]) == (sum(labels) * 2 > len(labels))
    viewer.press("view-tissue")
    assert "#00a6fb" not in colours_of_map(viewer)
    shades = viewer.colors_seen
    tissue = viewer.adata.obs["tissue"].to_numpy()
    assert shades[int(tissue.argmax())] > "#c"
    assert len(set(shades)) > 20
    viewer.press("view-colors")
    # Of a patch whose dot is below others nothing is to be seen; on which that is depends on the layout.
    colours = set(viewer.adata.obs["umap_rgb"])
    drawn = colours_of_map(viewer).keys()
    assert drawn <= colours
    assert len(drawn) > len(colours) / 2


def colours_of_map(viewer):
    """How many pixels of the map have each colour."""
    pixels = viewer.evaluate(
        """() => {
            const canvas = document.getElementById("sic-map-points");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const found = {};
            for (let i = 0; i < data.length; i += 4) {
                const color = [data[i], data[i + 1], data[i + 2]].join();
                if (data[i + 3] === 255) found[color] = (found[color] ?? 0) + 1;
            }
            return found;
        }"""
    )
    return {"#" + bytes(map(int, each.split(","))).hex(): n for each, n in pixels.items()}
