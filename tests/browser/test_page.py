"""The plugin is a guest of TissUUmaps: it replaces nothing there, and leaves nothing behind."""

import json

from test_annotating import click_seeds, some_seeds

# Source of every function below TissUUmaps' global objects, but for what it makes anew with each page.
FUNCTIONS = """() => {
    const found = {};
    const roots = { dataUtils, glUtils, interfaceUtils, overlayUtils, pluginUtils, projectUtils, regionUtils,
        tmapp, HTMLElementUtils, markerUtils, filterUtils, CPDataUtils: window.CPDataUtils };
    for (const [name, root] of Object.entries(roots))
        for (const [key, value] of Object.entries(root ?? {}))
            if (typeof value === "function") found[`${name}.${key}`] = value.toString();
    for (const [key, value] of Object.entries(Object.getPrototypeOf(tmapp.ISS_viewer)))
        if (typeof value === "function") found[`viewer.${key}`] = value.toString();
    return found;
}"""

# How many handlers the viewer has for each of its events.
HANDLERS = """() => Object.fromEntries(Object.entries(tmapp.ISS_viewer.events)
    .map(([event, handlers]) => [event, handlers.length]).filter(([, number]) => number))"""


def test_nothing_of_tissuumaps_is_replaced_and_nothing_is_left_behind(fresh, browser):
    viewer = fresh
    click_seeds(viewer, some_seeds(viewer))
    viewer.run()
    viewer.press("regions")
    viewer.press("map-toggle")
    ours = viewer.evaluate(FUNCTIONS)
    viewer.page.mouse.move(*viewer.screen(*viewer.adata.obsm["spatial"][100]))

    project = json.loads((viewer.folder / "demo.tmap").read_text())
    (viewer.folder / "plain.tmap").write_text(json.dumps(project | {"plugins": [], "settings": []}))
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(viewer.address.replace("demo.tmap", "plain.tmap"))
    page.wait_for_function("window.glUtils?._numPoints?.patches")
    # Its handlers are there once the first tiles are.
    page.wait_for_load_state("networkidle")
    theirs = page.evaluate(FUNCTIONS)
    assert len(theirs) > 300
    assert {name for name in theirs if ours.get(name) != theirs[name]} == set()
    assert ours.keys() == theirs.keys()

    viewer.evaluate("SIC.close()")
    assert viewer.evaluate(HANDLERS) == page.evaluate(HANDLERS)
    page.close()
    left = viewer.evaluate(
        """() => [...document.querySelectorAll("[id^=SIC_], [id^=sic-], .sic, .sic-lasso")]
            .map((each) => each.id)"""
    )
    assert left == []
    assert viewer.evaluate("Object.keys(regionUtils._regions).length") == 0
    # Keys and clicks are TissUUmaps' alone again.
    saved = viewer.session_path.read_bytes()
    viewer.page.mouse.click(*viewer.screen(*viewer.adata.obsm["spatial"][100]))
    viewer.page.keyboard.press("z")
    viewer.page.wait_for_timeout(500)
    assert viewer.session_path.read_bytes() == saved
