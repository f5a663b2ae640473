"""The contact sheet of a folder in a real Chromium: from a file, on its own, and into the viewer."""

from viewer import ARTIFACTS

from tissuumaps_sic.annotation.runs import label
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slides.slide import open_slide_file


def test_a_sheet_shows_every_slide_without_another_file_and_leads_into_the_viewer(
    browser, server, folder, tmp_path
):
    slide = open_slide_file(folder / "demo.h5ad")
    names = [str(each) for each in slide.patch_names]
    session = Session.new(slide).seed(names[:3], 1, user="Anna").seed(names[400:403], 0, user="Anna")
    save_session(session_path(folder / "demo.h5ad"), label(slide, session).session)
    (folder / "broken.h5ad").write_bytes(b"no h5ad")
    sheet = tmp_path / "sheet.html"
    base = server.address(folder / "demo.tmap").partition("/demo.tmap")[0]
    links = ["--server", base, "--root", str(server.root)]
    assert main(["table", str(folder), "--sheet", str(sheet), *links]) == 1
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    asked, problems = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.goto(sheet.as_uri())
    card = page.locator("[data-slide='demo']")
    for told in ("labelled", "6 seeds", "Anna", "Tumour"):
        assert told in card.inner_text()
    assert "not a readable h5ad" in page.locator("[data-slide='broken']").inner_text()
    assert card.locator("img").evaluate("picture => picture.complete && picture.naturalWidth") == 280
    # The bar is as wide as all shares together.
    wide = card.locator(".bar").evaluate(
        "bar => [...bar.children].reduce((sum, part) => sum + part.getBoundingClientRect().width, 0) / "
        "bar.getBoundingClientRect().width"
    )
    assert abs(wide - 1) < 0.02
    assert [each for each in asked if not each.startswith("data:")] == [sheet.as_uri()]
    assert problems == []
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "sheet.png")
    # On paper a card is whole, and nothing is cut off at the right.
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})
    page.screenshot(path=ARTIFACTS / "sheet_print.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    page.emulate_media(media="screen")
    with page.expect_response(
        lambda answer: answer.url.endswith(".tmap") or ".tmap?" in answer.url
    ) as answer:
        card.locator("h2 a").click()
    assert answer.value.ok
    context.close()
