"""`run --seeds` with what other programs made: one file of a slide, or a folder with one for each."""

import json

import pytest
from making.drawings import box, feature, write_geojson, write_imagescope
from making.files import write_small_h5ad

from tissuumaps_sic.cli import main


@pytest.fixture
def slides(tmp_path, monkeypatch):
    folder = tmp_path / "slides"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate("abc"):
        write_small_h5ad(folder / f"{name}.h5ad", seed=number)
    return folder


# The embeddings differ right and left of the middle, x 768.
LEFT, RIGHT = box(0, 0, 512, 512), box(1024, 0, 1536, 512)


def drawn(path):
    return write_geojson(path, feature("Polygon", [LEFT], "Tumor"), feature("Polygon", [RIGHT], "Stroma"))


def test_a_drawing_labels_a_slide(slides, tmp_path, capsys, caplog):
    path = drawn(tmp_path / "x.geojson")
    assert main(["run", str(slides / "a.h5ad"), "--seeds", str(path), "--positive", "tumor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == {"Stroma": 48, "Tumor": 48}
    assert "less than 50% inside" in caplog.text
    assert main(["run", str(slides / "a.h5ad"), "--seeds", str(path)]) == 1
    assert "say which of the classes Stroma and Tumor is the positive one" in caplog.text


def test_classes_are_corrected_by_a_table_and_inside_is_asked_for(slides, tmp_path, capsys, caplog):
    path = drawn(tmp_path / "x.geojson")
    table = tmp_path / "classes.csv"
    table.write_text("from,to\nTumor,Carcinoma\n")
    arguments = ["run", str(slides / "a.h5ad"), "--seeds", str(path), "--classes", str(table)]
    more = ["--positive", "Carcinoma", "--inside", "1", "--no-from-bounds", "--json"]
    assert main([*arguments, *more]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == {"Stroma": 48, "Carcinoma": 48}
    assert "less than 100% inside" in caplog.text
    table.write_text("from,to\nTumor,\n")
    assert main([*arguments, "--positive", "Stroma"]) == 1
    assert "has seeds of 1 class (Stroma)" in caplog.text
    with pytest.raises(SystemExit):
        main([*arguments, "--inside", "0"])
    assert main(["run", str(slides / "a.h5ad"), "--classes", str(table)]) == 2


def test_a_folder_has_a_file_for_each_slide_and_who_has_none_is_left_out(slides, tmp_path, caplog):
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    drawn(seeds / "a.geojson")
    write_imagescope(seeds / "b.xml", Tumor=[(LEFT, False)], Stroma=[(RIGHT, False)])
    out = tmp_path / "out"
    arguments = ["run", str(slides), "--seeds", str(seeds), "--positive", "Tumor", "-o", str(out)]
    assert main(arguments) == 0
    assert sorted(each.name for each in out.glob("[!.]*")) == ["a.labels.csv", "b.labels.csv"]
    assert (out / "a.labels.csv").read_text().count(",Tumor,") == 48
    assert "c.h5ad: has no seeds in seeds" in caplog.text
    assert main(["run", str(slides / "c.h5ad"), "--seeds", str(seeds)]) == 1
    assert "holds no seeds of c; call their file c.geojson" in caplog.text
    assert main(["run", str(slides), "--seeds", str(seeds / "a.geojson")]) == 2
