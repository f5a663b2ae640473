"""The start page of a folder in a real Chromium, without JavaScript."""

import shutil

from making.many import write_mosaic
from viewer import ARTIFACTS, served

from tissuumaps_sic.annotation.runs import label
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.slides.slide import open_slide_file


def test_a_folder_of_slides_has_a_start_page_that_leads_on(browser, demo_folder, tmp_path):
    """C22: the bare address opened the first slide; no pictures, no states, no next one."""
    folder = shutil.copytree(demo_folder, tmp_path / "slides")
    write_mosaic(folder, "mosaic_1")
    slide = open_slide_file(folder / "demo.h5ad")
    names = [str(each) for each in slide.patch_names]
    session = Session.new(slide).seed(names[:3], 1, user="Anna").seed(names[400:403], 0, user="Anna")
    session = label(slide, session).session.note("Fold at the rim", user="Anna").check(user="Ben")
    save_session(session_path(folder / "demo.h5ad"), session)
    with served(folder) as (_, address):
        base = address.rpartition("/")[0]
        context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 720})
        page = context.new_page()
        problems = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("requestfailed", lambda request: problems.append(request.url))
        page.on("response", lambda answer: problems.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"{base}/")
        page.wait_for_load_state("networkidle")
        ARTIFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTIFACTS / "start.png")
        assert page.title() == "2 slides, 1 reviewed"
        card = page.locator("[data-slide='demo']")
        for told in ("labelled, 6 seeds", "Tumour", "Last change: Ben", "✓ Reviewed: Ben", "Fold at the rim"):
            assert told in card.inner_text()
        # Labels lie on the picture of the slide, which has come.
        picture, labels = (card.locator(f"img.{each}") for each in ("slide", "labels"))
        assert picture.bounding_box()["width"] > 150
        outer, inner = picture.bounding_box(), labels.bounding_box()
        assert inner["x"] >= outer["x"] - 4
        assert inner["width"] <= outer["width"] + 8
        assert page.locator("#next").inner_text() == "Next to review: mosaic_1"
        # By the keyboard alone.
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/mosaic_1.tmap")
        context.close()
    assert not problems
