"""A run that takes long is followed, stopped and overtaken, as a person would; the server is a slowed one."""

import json
import re

import pytest
from making.many import write_mosaic
from viewer import ARTIFACTS, looking, shared_server

# The command line as it is, but for clusterings that take their time where a file says so.
SLOWED = """
import importlib, pkgutil, sys, time
from pathlib import Path
from tissuumaps_sic import cli, viewer

folder = Path(sys.argv[2])

def slowed(quick):
    def slow(*args, progress, **options):
        with (folder / "begun").open("a") as file:
            file.write("x")
        seconds, at = float((folder / "seconds").read_text()), 0.0
        while at < seconds:
            time.sleep(0.02)
            at += 0.02
            progress("Being slow", 0.9 * min(at / seconds, 1.0))
        return quick(*args, progress=lambda stage, share: progress(stage, 0.9 + 0.1 * share), **options)
    return slow

for each in pkgutil.iter_modules(viewer.__path__):
    module = importlib.import_module(f"tissuumaps_sic.viewer.{each.name}")
    for name in {"cluster", "fit"} & vars(module).keys():
        setattr(module, name, slowed(getattr(module, name)))
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server whose clusterings take as long as a file says."""
    root, script = tmp_path_factory.mktemp("slowed"), tmp_path_factory.mktemp("script") / "slowed.py"
    script.write_text(SLOWED)
    with shared_server(root, program=[str(script)]) as server:
        yield server


@pytest.fixture
def slow(browser, server, folder, request):
    """The demo on a server whose clusterings take as long as its `take` was told."""
    root = server.root
    (root / "seconds").write_text("0")
    write_mosaic(folder, "second")  # so that the list of slides is on the page as well
    with looking(browser, folder, server.address(folder / "demo.tmap")) as viewer:
        viewer.take = lambda seconds: (root / "seconds").write_text(str(seconds))
        viewer.begun = lambda: len((root / "begun").read_text())
        for label, row in ((0, 10), (1, 200)):
            viewer.choose(label)
            viewer.click_patch(row)
        yield viewer
        if request.node.failed:
            viewer.keep_picture(ARTIFACTS, request.node.name)


def labels_of(viewer):
    return viewer.evaluate("[...SIC.app.labels]")


def place_of(viewer, selector):
    return viewer.page.locator(selector).bounding_box()


def wait_for_progress(viewer, least=1):
    viewer.page.wait_for_function(
        "(least) => Number(document.querySelector('#sic-progress .progress')?.ariaValueNow) >= least",
        arg=least,
    )


def click_without_waiting(viewer, row):
    viewer.page.mouse.click(*viewer.screen(*viewer.adata.obsm["spatial"][row]))


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_a_slow_run_is_followed_and_stopped_and_the_labels_stay(slow, how):
    slow.run()
    labels, saved = labels_of(slow), json.loads(slow.session_path.read_text())
    slow.choose(1)
    slow.click_patch(300)
    slow.wait_for_why(300)
    seeds = slow.seeds
    slow.take(60)
    above = place_of(slow, "#sic-run")
    why = place_of(slow, "#sic-why")
    slow.page.click("#sic-run")
    wait_for_progress(slow)
    assert slow.page.inner_text(".sic-progress-stage") == "Being slow"
    assert re.fullmatch(r"\d+ %", slow.page.inner_text(".sic-progress-share"))
    # Nothing jumps, above it or below.
    assert place_of(slow, "#sic-run") == above
    assert place_of(slow, "#sic-why") == why
    assert not slow.page.is_visible("#sic-status")
    slow.keep_picture(ARTIFACTS, f"progress_{how}")
    if how == "button":
        slow.page.click("#sic-stop-run")
    else:
        slow.page.mouse.move(*slow.screen(0, 0))
        slow.page.keyboard.press("Escape")
    slow.wait()
    assert slow.status.startswith("Stopped; the labels are as they were")
    assert slow.error is None
    assert slow.page.query_selector("#sic-progress") is None
    assert slow.page.inner_text("#sic-place") == "1 of 2"
    assert labels_of(slow) == labels
    assert slow.seeds == seeds
    after = json.loads(slow.session_path.read_text())
    assert after["run"] == saved["run"]
    # And the next run is a run like any other.
    slow.take(0)
    slow.run()
    assert slow.status.startswith("Labelled")
    assert len(json.loads(slow.session_path.read_text())["run"]["seeds"]) == 3


def test_the_bar_moves(slow):
    slow.take(3)
    slow.page.click("#sic-run")
    wait_for_progress(slow, least=20)
    width = place_of(slow, "#sic-progress .progress-bar")["width"]
    wait_for_progress(slow, least=60)
    assert place_of(slow, "#sic-progress .progress-bar")["width"] > width
    slow.wait()
    assert slow.status.startswith("Labelled")


def test_looking_for_a_suggestion_can_be_stopped(slow):
    slow.take(60)
    slow.page.keyboard.press("n")
    wait_for_progress(slow)
    slow.page.click("#sic-stop-run")
    slow.wait()
    assert slow.status.startswith("Stopped")
    assert slow.evaluate("SIC.app.suggested") is None


def test_live_seeds_overtake_the_run_that_they_make_useless(slow):
    slow.run()
    slow.page.check("#sic-live")
    slow.wait()
    slow.take(60)
    before = slow.begun()
    slow.choose(1)
    click_without_waiting(slow, 300)
    wait_for_progress(slow)
    assert slow.begun() == before + 1
    # Saved while its run is under way, and so are those that overtake it.
    assert len(slow.saved_seeds) == 3
    slow.take(0)
    for row in (310, 320, 330):
        click_without_waiting(slow, row)
    slow.page.wait_for_function("SIC.app.state.seeds.patches.length === 6 && !SIC.app.busy")
    assert slow.error is None
    assert slow.status.startswith("Labelled")
    assert not slow.evaluate("SIC.app.state.run.stale")
    run = json.loads(slow.session_path.read_text())["run"]
    assert run["seeds"] == slow.saved_seeds
    assert len(run["seeds"]) == 6


def test_a_seed_during_a_run_is_saved_and_the_run_made_anew(slow):
    slow.take(60)
    slow.page.click("#sic-run")
    wait_for_progress(slow)
    slow.take(0)
    slow.choose(0)
    click_without_waiting(slow, 20)
    slow.page.wait_for_function("SIC.app.labels && !SIC.app.busy")
    assert slow.error is None
    assert json.loads(slow.session_path.read_text())["run"]["seeds"] == slow.saved_seeds
    assert len(slow.saved_seeds) == 3


def test_a_run_asked_for_twice_is_made_once(slow):
    slow.take(60)
    slow.page.click("#sic-run")
    wait_for_progress(slow)
    begun = slow.begun()
    slow.take(0)
    # In one go: the first of them must not have come through before the last.
    slow.evaluate(
        """() => {
            for (let i = 0; i < 3; i++)
                for (const kind of ["keydown", "keyup"])
                    document.body.dispatchEvent(new KeyboardEvent(kind, { key: " ", bubbles: true }));
        }"""
    )
    slow.page.wait_for_function("SIC.app.labels && !SIC.app.busy")
    assert slow.begun() == begun + 1
    assert slow.status.startswith("Labelled")
