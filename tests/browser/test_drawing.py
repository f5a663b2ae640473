"""What is drawn again only where it has changed is right all the same."""

import numpy as np
from making.many import STRIDE, write_mosaic
from viewer import looking


def found_by_regions(viewer):
    """The patches of each class that TissUUmaps' own regions find in the whole slide, by its trees."""
    found = viewer.evaluate(
        """() => {
            const how = { globalCoords: true, xselector: "x", yselector: "y", dataset: "SICLABELS" };
            const trees = Object.entries(dataUtils.data.SICLABELS._groupgarden);
            return Object.fromEntries(trees.map(([name, tree]) =>
                [name, regionUtils.searchTreeForPointsInBbox(tree, -1e9, -1e9, 1e9, 1e9, how)]));
        }"""
    )
    return {name: sorted(rows) for name, rows in found.items()}


def test_labels_of_a_second_run_are_drawn_counted_and_found_by_regions(viewer):
    for label, row in ((0, 10), (1, 200)):
        viewer.choose(label)
        viewer.click_patch(row)
    viewer.run()
    first = viewer.layer["names"]
    viewer.choose(0)
    viewer.click_patch(int(np.flatnonzero(np.array(first) == "Tumour")[0]))
    viewer.run()
    names = np.array(viewer.layer["names"])
    assert (names != np.array(first)).any()
    labels, classes = viewer.evaluate(
        "[[...SIC.app.labels], SIC.app.state.run.classes.map((each) => each.name)]"
    )
    assert np.array_equal(names, np.array(classes)[labels])
    expected = {name: np.flatnonzero(names == name).tolist() for name in set(names)}
    assert found_by_regions(viewer) == expected
    assert viewer.legend == {name: len(rows) for name, rows in expected.items()}


def test_a_hidden_class_stays_hidden_in_the_next_run(viewer):
    for label, row in ((0, 10), (1, 200)):
        viewer.choose(label)
        viewer.click_patch(row)
    viewer.run()
    viewer.page.uncheck("#sic-shown-1")
    viewer.choose(0)
    viewer.click_patch(12)
    viewer.run()
    centres = viewer.adata.obsm["spatial"]
    assert viewer.canvas_alpha(*centres[viewer.tissue_of("Tumour")]) == 0
    assert viewer.canvas_alpha(*centres[viewer.tissue_of("Other")]) > 0


def test_many_seeds_are_drawn_as_the_outline_of_what_they_cover(browser, server, place):
    """A lasso around a part of a slide of 48 x 48 patches, more of them than are drawn one by one."""
    side, inner = 48, range(4, 44)
    write_mosaic(place, "grid", columns=side, rows=side)
    with looking(browser, place, server.address(place / "grid.tmap")) as viewer:
        viewer.choose(1)
        low, high = (STRIDE * each + STRIDE // 2 for each in (inner[0], inner[-1] + 1))
        corners = [(low, low), (high, low), (high, high), (low, high)]
        viewer.drag([viewer.screen(*each) for each in corners], shift=True)
        rows = {line * side + column for line in inner for column in inner}
        assert set(viewer.evaluate("SIC.app.state.seeds.patches")) == rows
        assert not viewer.seeds
        # The border of a square, in the pixels of the slide: each patch on it gives one edge a side.
        drawn = viewer.page.get_attribute("#SIC_seeds path[data-label='1']", "d")
        numbers = np.array([each.replace("L", " ").split() for each in drawn.split("M")[1:]], dtype=float)
        origin, unit = (
            viewer.evaluate(
                """(at) => {
                    const { x, y } = tmapp.ISS_viewer.world.getItemAt(0).imageToViewportCoordinates(at, at);
                    return [x, y];
                }""",
                each,
            )
            for each in (STRIDE // 2, STRIDE // 2 + STRIDE)
        )
        edges = (numbers.reshape(-1, 2, 2) - origin) / (np.array(unit) - origin)
        cells = {tuple(map(tuple, edge)) for edge in edges.round(3).tolist()}
        first, last = float(inner[0]), float(inner[-1] + 1)
        expected = {
            *(((x, y), (x + 1.0, y)) for x in map(float, inner) for y in (first, last)),
            *(((x, y), (x, y + 1.0)) for y in map(float, inner) for x in (first, last)),
        }
        assert cells == expected
        viewer.press("undo")
        assert viewer.page.query_selector("#SIC_seeds path") is None
