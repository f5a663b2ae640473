"""Brush, eraser and wand on the slide, in a real TissUUmaps."""

import json

import numpy as np
from viewer import ARTIFACTS

COLOR = "document.getElementById('SIC_painted')?.getAttribute('fill')"


def block_of(viewer, columns=6, rows=5):
    """The corner of a block that is all patches, and the row of each of its patches by column and line."""
    known = {tuple(each): row for row, each in enumerate(viewer.adata.obsm["spatial"])}
    x, y = next(c for c in sorted(known) if all((c[0] + i * 128, c[1] + j * 128) in known
                                                for i in range(columns) for j in range(rows)))  # fmt: skip
    return (x, y), {(i, j): known[x + i * 128, y + j * 128] for i in range(columns) for j in range(rows)}


def stroke(viewer, points):
    """Press with Shift and drag, and stay there."""
    viewer.page.keyboard.down("Shift")
    viewer.page.mouse.move(*points[0])
    viewer.page.mouse.down()
    for point in points[1:]:
        viewer.page.mouse.move(*point, steps=6)


def lift(viewer):
    viewer.page.mouse.up()
    viewer.page.keyboard.up("Shift")
    viewer.wait()


def test_the_brush_has_a_size_and_the_classs_colour_and_says_what_it_recolours(viewer):
    """C15: a white line without a size; seeds of another class recoloured without a word."""
    (x, y), rows = block_of(viewer)
    viewer.press("tool-brush")
    viewer.choose(0)
    at = viewer.screen(x + 2 * 128, y + 2 * 128)
    stroke(viewer, [at, (at[0] + 1, at[1])])
    lift(viewer)
    assert viewer.seeds == {rows[2, 2]: 0}
    viewer.choose(1)
    # Larger by the wheel, with Shift, and by a key; the slide stays where it is.
    zoom = viewer.evaluate("tmapp.ISS_viewer.viewport.getZoom()")
    viewer.page.mouse.move(*at)
    viewer.page.keyboard.down("Shift")
    viewer.page.mouse.wheel(0, -100)
    viewer.page.wait_for_function("window.SIC.app.brush === 2")
    viewer.page.keyboard.up("Shift")
    viewer.page.keyboard.press(".")
    assert viewer.evaluate("SIC.app.brush") == 3
    assert viewer.evaluate("tmapp.ISS_viewer.viewport.getZoom()") == zoom
    stroke(viewer, [at, (at[0] + 1, at[1])])
    assert viewer.evaluate(COLOR) == viewer.evaluate("SIC.app.state.classes[1].color")
    assert viewer.page.is_visible(".sic-brush")
    viewer.keep_picture(ARTIFACTS, "brush")
    lift(viewer)
    disc = {row for (i, j), row in rows.items() if np.hypot(i - 2, j - 2) <= 1.5}
    assert viewer.seeds == dict.fromkeys(disc, 1)
    assert "1 seed of Other now Tumour; Undo brings" in viewer.status
    viewer.press("undo")
    assert viewer.seeds == {rows[2, 2]: 0}


def test_a_lasso_says_whose_seeds_it_recolours_and_is_undone_as_one(viewer):
    (x, y), rows = block_of(viewer)
    viewer.choose(0)
    for place in ((1, 1), (2, 1), (1, 2)):
        viewer.click_patch(rows[place])
    before = viewer.seeds
    viewer.choose(1)
    viewer.press("tool-rectangle")
    viewer.drag([viewer.screen(x - 30, y - 30), viewer.screen(x + 400, y + 400)], shift=True)
    assert len(viewer.seeds) > 9
    assert "3 seeds of Other now Tumour; Undo brings all of it back" in viewer.status
    viewer.press("undo")
    assert viewer.seeds == before


def test_the_eraser_takes_seeds_back_and_nothing_else(viewer):
    (x, y), rows = block_of(viewer)
    viewer.choose(1)
    for place in ((0, 0), (1, 0), (3, 0)):
        viewer.click_patch(rows[place])
    viewer.press("tool-eraser")
    stroke(viewer, [viewer.screen(x, y), viewer.screen(x + 2 * 128, y)])
    lift(viewer)
    assert viewer.seeds == {rows[3, 0]: 1}
    assert "2 seeds erased" in viewer.status
    kept = json.loads(viewer.session_path.read_text())["actions"][-1]
    assert (kept["label"], len(kept["patches"])) == (None, 2)


def test_a_key_hides_the_seeds_and_shows_them_again(viewer):
    _, rows = block_of(viewer)
    viewer.click_patch(rows[0, 0])
    assert viewer.page.is_visible("#SIC_seeds rect")
    viewer.page.keyboard.press("i")
    assert not viewer.page.is_visible("#SIC_seeds rect")
    viewer.page.keyboard.press("i")
    assert viewer.page.is_visible("#SIC_seeds rect")


def test_the_wand_lights_what_is_like_a_patch_widens_seeds_and_is_taken_back(viewer):
    adata = viewer.adata
    unit = adata.X / np.linalg.norm(adata.X, axis=1, keepdims=True)
    (x, y), rows = block_of(viewer)
    start = rows[2, 2]
    asked = []
    viewer.page.on("request", lambda request: asked.append(request.url))
    viewer.choose(1)
    viewer.press("tool-wand")
    at = viewer.screen(x + 2 * 128, y + 2 * 128)
    stroke(viewer, [at])
    lit = "document.getElementById('SIC_painted')?.getAttribute('d')?.split('M').length - 1"
    viewer.page.wait_for_function(f"({lit}) > 0")
    few = viewer.evaluate(lit)
    viewer.page.mouse.move(*viewer.screen(x + 2 * 128, y + 14 * 128), steps=12)
    viewer.page.wait_for_function(f"({lit}) > {few}")
    viewer.keep_picture(ARTIFACTS, "wand")
    # A drag asks the server nothing.
    assert sum(url.endswith("/alike") for url in asked) == 1
    many = viewer.evaluate(lit)
    lift(viewer)
    seeded = viewer.seeds
    assert len(seeded) == many
    assert start in seeded
    assert set(seeded.values()) == {1}
    # They are more like the patch than others at the same distance.
    away = np.hypot(*(adata.obsm["spatial"] - adata.obsm["spatial"][start]).T)
    near = np.flatnonzero(away <= away[list(seeded)].max())
    others = [row for row in near if row not in seeded]
    assert (
        min(unit[row] @ unit[start] for row in seeded)
        >= max(unit[row] @ unit[start] for row in others) - 1e-5
    )
    viewer.press("undo")
    assert viewer.seeds == {}
    stroke(viewer, [at])
    viewer.page.wait_for_function(f"({lit}) > 0")
    viewer.page.keyboard.press("Escape")
    assert viewer.page.query_selector("#SIC_painted") is None
    lift(viewer)
    assert viewer.seeds == {}
