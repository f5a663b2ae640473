"""No cell of any CSV that we write is a formula to a spreadsheet, and each is read again as it was."""

import csv
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
from making.embeddings import write_ramp
from making.labels import labelled, plan, write_grid_h5ad

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.seeds import read_seeds
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.evaluation.report import write_report
from tissuumaps_sic.evaluation.results import Evaluation
from tissuumaps_sic.export.csv_rows import write_csv
from tissuumaps_sic.export.formats import FORMATS
from tissuumaps_sic.export.patch_images import write_patches
from tissuumaps_sic.slidefile.tables import read_table
from tissuumaps_sic.slides.slide import open_slide_file

CLASSES = tuple(
    SeedClass(name=name, color=color)
    for name, color in (("-2+3+cmd|calc", "#00a6fb"), ("=1+1", "#ffb000"), ("@SUM(A1)", "#009e73"))
)
NAMES = ['=HYPERLINK("http://x","y")', "+1", "-5", "@a", "\tb", "'=c", "plain", "\uff1dfull"]


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    write_ramp(folder / "ramp.tif")
    grid = plan((1400, 1100))
    path = write_grid_h5ad(folder / "ramp.h5ad", grid, image="ramp.tif")
    adata = anndata.read_h5ad(path)
    adata.obs_names = pd.Index([*NAMES, *adata.obs_names[len(NAMES) :]], dtype=object)
    adata.write_h5ad(path)
    labels = np.arange(len(grid)) % 3
    return labelled(path, labels, classes=CLASSES, seeds={name: n % 3 for n, name in enumerate(NAMES)})


def cells(path):
    with path.open(encoding="utf-8", newline="") as file:
        return [cell for row in csv.reader(file) for cell in row]


def computed(path):
    number = re.compile(r"-?\d+(\.\d+)?")
    return [
        cell for cell in cells(path) if re.match(r"\s*[=+\-@\t\r\uff1d]", cell) and not number.fullmatch(cell)
    ]


def names_in(path, column):
    return [row[column] for row in read_table(path, (column,)).rows]


def test_labels_of_patches(slide, tmp_path):
    path = tmp_path / "a.csv"
    write_csv(slide, path)
    assert computed(path) == []
    assert names_in(path, "patch") == list(slide.slide.patch_names)
    assert names_in(path, "label") == [CLASSES[label].name for label in slide.labels]
    assert names_in(path, "seed")[: len(NAMES)] == [CLASSES[n % 3].name for n in range(len(NAMES))]
    # Numbers are numbers.
    table = read_table(path, ("x", "y"), numbers=("x", "y"))
    assert [(table.number(row, "x"), table.number(row, "y")) for row in table.rows] == list(
        map(tuple, slide.slide.centres.tolist())
    )


def test_labels_are_seeds_again(slide, tmp_path):
    """What was written is read by the reader of seeds, names of patches and classes alike."""
    path = tmp_path / "a.csv"
    write_csv(slide, path)
    path.write_text(path.read_text().replace("label", "class", 1))
    seeds = read_seeds(path, slide.slide)
    found = {patch: seeds.classes[label].name for patch, label in seeds.patches.items()}
    assert found == {
        str(name): CLASSES[label].name
        for name, label in zip(slide.slide.patch_names, slide.labels, strict=True)
    }


def test_the_manifest_of_patches_and_its_files_open(slide, tmp_path):
    folder = write_patches(slide, tmp_path / "out", [each.name for each in CLASSES])
    path = folder / "manifest.csv"
    assert computed(path) == []
    assert sorted(names_in(path, "patch")) == sorted(slide.slide.patch_names)
    assert {*names_in(path, "class")} == {each.name for each in CLASSES}
    with path.open(encoding="utf-8", newline="") as file:
        assert all((folder / row["file"]).is_file() for row in csv.DictReader(file))


def test_a_projects_groups_are_named_as_its_csv_has_them(slide, tmp_path):
    target = tmp_path / "a.tmap"
    FORMATS["tmap"].write(slide, target)
    path = tmp_path / "a.tmap.csv"
    assert computed(path) == []
    header = json.loads(target.read_text())["markerFiles"][0]["expectedHeader"]
    with path.open(encoding="utf-8", newline="") as file:
        labels = {row["label"] for row in csv.DictReader(file)}
    assert labels == set(json.loads(header["cb_gr_dict"]))


def test_disputed_patches(slide, tmp_path):
    path = slide.slide.path
    for name, labels in (("a", slide.labels), ("b", (slide.labels + 1) % 3)):
        made = labelled(path, labels, classes=CLASSES)
        save_session(session_path(path, name), made.session)
    assert main(["compare", str(path), "--sessions", "a", "b", "-o", str(tmp_path / "d.csv")]) == 0
    assert computed(tmp_path / "d.csv") == []
    assert names_in(tmp_path / "d.csv", "patch") == list(slide.slide.patch_names)


def test_an_evaluation(tmp_path, monkeypatch):
    import tissuumaps_sic.evaluation.figures as figures
    import tissuumaps_sic.evaluation.report as module

    runs = pd.DataFrame({"slide": ["=1+1", "-a"], "f1": [-0.5, 0.25], "=x": [1, 2]})
    for name in ("f1_by_seeds", "f1_by_clicks"):
        monkeypatch.setattr(
            figures, name, lambda *_, **__: SimpleNamespace(savefig=lambda path: path.touch())
        )
    monkeypatch.setattr(module, "report", lambda _: {})
    monkeypatch.setattr(Evaluation, "per_slide", lambda _: runs)
    evaluation = Evaluation.__new__(Evaluation)
    tables = {"runs": runs, "clicks": runs, "pixels": runs}
    for key, value in (tables | {"design": SimpleNamespace(repeats=1)}).items():
        object.__setattr__(evaluation, key, value)
    monkeypatch.setattr(Evaluation, "pixels_summary", lambda _: runs)
    write_report(evaluation, tmp_path)
    for name in ("evaluation.csv", "clicks.csv", "pixels.csv"):
        assert computed(tmp_path / name) == []
        table = read_table(tmp_path / name, ("slide", "f1"), numbers=("f1",))
        assert [(row["slide"], table.number(row, "f1")) for row in table.rows] == [
            ("=1+1", -0.5),
            ("-a", 0.25),
        ]


def test_coordinates_keep_their_halves_on_slides_of_a_million_pixels(slide, tmp_path):
    opened = open_slide_file(slide.slide.path)
    opened.centres[:] += 1_234_567.5
    write_csv(replace(slide, slide=opened), tmp_path / "a.csv")
    table = read_table(tmp_path / "a.csv", ("x",), numbers=("x",))
    assert [table.number(row, "x") for row in table.rows] == opened.centres[:, 0].tolist()
