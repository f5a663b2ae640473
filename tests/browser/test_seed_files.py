"""Seeds from a file of another program: dropped or chosen, mapped, added as one step and undone."""

import json

import pytest
from making.drawings import box, feature, write_asap, write_geojson
from viewer import ARTIFACTS

DROP = """([name, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name));
    const panel = document.querySelector(".sic .sic-above");
    for (const kind of ["dragover", "drop"]) {
        panel.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
    }
}"""


@pytest.fixture
def drawn(viewer, tmp_path):
    """Boxes around patches of the demo, as QuPath exports them, with the rows of the first one's."""
    places = viewer.adata.obsm["spatial"]
    left, top = places.min(axis=0) - 128
    right, bottom = places.max(axis=0) + 128
    middle = [(left + right) / 2, (top + bottom) / 2]
    third = (right - left) / 3
    x, y = places[len(places) // 2].tolist()
    return write_geojson(
        tmp_path / "slide 1.geojson",
        feature("Polygon", [box(left, top, left + third, bottom)], "tumour "),
        feature("Polygon", [box(right - third, top, right, bottom)], "Stroma"),
        feature("Polygon", [box(middle[0], middle[1], middle[0] + 300, middle[1] + 300)], "Ignore*"),
        feature("Point", [x, y], "Necrosis"),
        feature("Point", [x + 300, y], None),
        feature("LineString", [[left, top], [right, bottom]], "Stroma"),
    )


def drop(viewer, path):
    viewer.evaluate(DROP, [path.name, path.read_text()])
    viewer.page.wait_for_selector("#sic-seed-file, #sic-error")
    viewer.wait()


def rows(viewer):
    return viewer.evaluate(
        """() => [...document.querySelectorAll("#sic-seed-file tbody tr")].map((row) => [row.dataset.class,
            row.children[1].textContent, row.querySelector("select").selectedOptions[0].textContent])"""
    )


def choose_target(viewer, name, text):
    viewer.page.select_option(f"#sic-seed-file tr[data-class='{name}'] select", label=text)
    viewer.wait()


def counts(viewer):
    return viewer.evaluate(
        """() => Object.fromEntries(SIC.app.state.classes.map(({ name }, label) =>
            [name, SIC.app.state.seeds.labels.filter((each) => each === label).length]))"""
    )


def test_a_file_is_dropped_its_classes_mapped_and_all_of_it_undone_at_once(viewer, drawn):
    drop(viewer, drawn)
    assert viewer.error is None
    shown = {name: (n, becomes) for name, n, becomes in rows(viewer)}
    assert shown["tumour"][1] == "Tumour"
    assert shown["Stroma"][1] == "new class"
    assert shown["Necrosis"] == ("1", "new class")
    assert shown["Ignore*"] == ("\u2013", "leave out")
    assert shown[""] == ("\u2013", "leave out")
    told = viewer.page.inner_text("#sic-seed-file-told")
    assert "left out 1 line (feature 6)" in told
    assert "QuPath ignores names that end in *" in told
    assert "left out 1 drawing without a class" in told
    assert counts(viewer) == {"Other": 0, "Tumour": 0}, "nothing is added before it is asked for"
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    viewer.page.screenshot(path=ARTIFACTS / "seeds-from-a-file.png")
    choose_target(viewer, "Stroma", "Other")
    choose_target(viewer, "Necrosis", "leave out")
    n_tumour, n_stroma = (int(shown[name][0].replace(",", "")) for name in ("tumour", "Stroma"))
    viewer.press("seed-file-add")
    assert viewer.error is None
    assert counts(viewer) == {"Other": n_stroma, "Tumour": n_tumour}
    assert len(viewer.seeds) == n_stroma + n_tumour
    assert f"{n_stroma + n_tumour:,} seeds" in viewer.status
    assert viewer.page.query_selector("#sic-seed-file") is None
    action = json.loads(viewer.session_path.read_text())["actions"][-1]
    assert (action["kind"], action["source"]) == ("bring", "slide 1.geojson")
    viewer.page.screenshot(path=ARTIFACTS / "seeds-from-a-file-added.png")
    viewer.press("undo")
    assert "seeds from slide 1.geojson" in viewer.status
    assert counts(viewer) == {"Other": 0, "Tumour": 0}
    viewer.press("redo")
    assert len(viewer.seeds) == n_stroma + n_tumour


def test_a_file_is_chosen_and_cancelled_and_new_classes_come_with_their_colours(viewer, drawn):
    with viewer.page.expect_file_chooser() as chooser:
        viewer.page.click("#sic-seed-file-open")
    chooser.value.set_files(drawn)
    viewer.page.wait_for_selector("#sic-seed-file")
    viewer.wait()
    viewer.press("seed-file-cancel")
    assert counts(viewer) == {"Other": 0, "Tumour": 0}
    drop(viewer, drawn)
    choose_target(viewer, "tumour", "leave out")
    viewer.press("seed-file-add")
    # None of the classes that the session began with was used.
    colors = viewer.evaluate(
        "Object.fromEntries(SIC.app.state.classes.map(({ name, color }) => [name, color]))"
    )
    assert colors == {"Necrosis": "#090909", "Stroma": "#96c896"}
    viewer.run()
    assert viewer.error is None


def test_less_inside_gives_more_and_a_file_that_is_none_says_so(viewer, drawn, tmp_path):
    drop(viewer, drawn)
    first = viewer.page.inner_text("#sic-seed-file-seeds")
    viewer.page.select_option("#sic-seed-file-inside", label="100 %")
    viewer.wait()
    assert viewer.page.inner_text("#sic-seed-file-seeds") != first
    viewer.press("seed-file-cancel")
    broken = tmp_path / "broken.xml"
    broken.write_text('<!DOCTYPE a [<!ENTITY b "c">]><Annotations>&b;</Annotations>')
    drop(viewer, broken)
    assert "document type" in viewer.error
    viewer.press("error-close")
    asap = write_asap(tmp_path / "slide.xml", Tumour=[("Dot", [viewer.adata.obsm["spatial"][5].tolist()])])
    drop(viewer, asap)
    assert [row[:2] for row in rows(viewer)] == [["Tumour", "1"]]
    viewer.press("seed-file-add")
    assert viewer.seeds == {5: 1}
