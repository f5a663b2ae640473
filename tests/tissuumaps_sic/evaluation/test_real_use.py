"""How good labels became, click by click, in a session that was made before."""

import csv
import json
from dataclasses import replace

import anndata
import numpy as np
import pytest
from making.many import STRIDE, write_mosaic
from sklearn.metrics import f1_score

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.runs import cluster, label
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.evaluation.real_use import follow_session
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.truth.classes import TruthClasses, TruthError
from tissuumaps_sic.truth.squares import patch_squares
from tissuumaps_sic.truth.truth import Truth, read_truth
from tissuumaps_sic.verification.check import begin_check, list_questions, verify


@pytest.fixture
def made(tmp_path):
    """A slide, its truth, and a session of single clicks: two of each class, an undone one, then more."""
    h5ad, tissue = write_mosaic(tmp_path, "one")
    adata = anndata.read_h5ad(h5ad)
    adata.obs[["x0", "y0"]] = adata.obsm["spatial"] - STRIDE  # which tell how large a patch is
    adata.write_h5ad(h5ad, convert_strings_to_categoricals=False)
    slide = open_slide_file(h5ad)
    names = slide.patch_names.astype(str)
    rng = np.random.default_rng(0)
    session = Session.new(slide)
    for step in range(14):
        row = rng.choice(np.flatnonzero(tissue == step % 2))
        session = session.seed([names[row]], step % 2, user="Ada")
        if step == 5:
            session = session.seed([names[0]], 1).undo()
    session = label(slide, session).session
    truth = Truth(("Other", "tumour"), tissue.astype(np.int64), np.zeros((len(tissue), 2), np.float32), ())
    return slide, session, truth


def test_by_a_truth_each_click_is_measured_as_its_labels_are(made):
    slide, session, truth = made
    points = follow_session(slide, session, truth)
    assert [each.name for each in points[:2]] == ["Other", "tumour"]
    # From the second click on, when both classes have a seed; what was undone is no click.
    assert [each.clicks for each in points[::2]] == list(range(2, 15))
    for point in points[1::2]:
        then = session.restore(point.clicks)
        _, scores = cluster(slide, then.classes, then.seeds)
        assert point.f1 == pytest.approx(f1_score(truth.labels, scores.argmax(axis=1)))
        assert (point.low, point.high, point.by) == (None, None, "truth")
        assert point.seeds == len(then.seeds)
    assert points[-1].f1 > 0.8
    unknown = np.where(np.arange(len(truth.labels)) % 2, -1, truth.labels)
    half = follow_session(slide, session, replace(truth, labels=unknown))
    _, scores = cluster(slide, session.classes, session.seeds)
    counted = unknown >= 0
    assert half[-1].f1 == pytest.approx(f1_score(unknown[counted], scores.argmax(axis=1)[counted]))


def test_by_a_check_earlier_labels_are_judged_by_its_answers(made):
    slide, session, truth = made
    assert follow_session(slide, session) == []  # nothing tells how good they are
    found = label(slide, session)
    session = begin_check(found.session, found.scores, randomness=3, user="Ben")
    for _ in range(40):
        (row,) = list_questions(slide, session)
        session = session.answer(str(slide.patch_names[row]), int(truth.labels[row]), user="Ben")
    points = follow_session(slide, session)
    told = {each.name: each for each in points}
    last = {each.name: each.f1 for each in verify(slide, session).classes}
    for name, figure in last.items():
        assert (told[name].f1, told[name].low, told[name].high) == (figure.value, figure.low, figure.high)
        assert told[name].by == "check"
    # The truth of earlier labels lies in their intervals, but for a few.
    right = []
    for point in points:
        then = session.restore(point.clicks)
        _, scores = cluster(slide, then.classes, then.seeds)
        f1 = f1_score(truth.labels, scores.argmax(axis=1), pos_label=int(point.name == "Tumour"))
        right.append(point.low <= f1 <= point.high)
    assert np.mean(right) > 0.8
    assert {each.clicks for each in points} == set(range(2, 15))


def test_of_many_clicks_some_are_measured_and_the_last(made):
    slide, session, truth = made
    names = slide.patch_names.astype(str)
    for row in range(100):
        session = session.seed([names[row]], int(truth.labels[row]))
    clicks = sorted({each.clicks for each in follow_session(slide, session, truth)})
    assert clicks[:19] == list(range(2, 21))
    assert clicks[-1] == 114
    assert len(clicks) < 40


def test_classes_of_the_truth_are_those_of_the_session(made):
    slide, session, truth = made
    with pytest.raises(TruthError, match="the session has no class Necrosis; its classes are Other, Tumour"):
        follow_session(slide, session, replace(truth, names=("Other", "Necrosis")))
    # One that the truth does not name is wrong wherever it is labelled.
    more = session.add_class(SeedClass(name="Stroma", color="#00ff00"))
    rows = [str(slide.patch_names[row]) for row in np.flatnonzero(truth.labels == 0)[:12]]
    last = follow_session(slide, more.seed(rows, 2), truth)[-2]
    assert last.name == "Other"
    assert last.f1 < follow_session(slide, session, truth)[-2].f1


def test_the_curve_of_a_folder_is_a_table_or_a_picture(made, tmp_path, monkeypatch, capsys, caplog):
    slide, session, _ = made
    monkeypatch.chdir(tmp_path)
    save_session(session_path(slide.path, "Ada"), session)
    given = ["effort", str(slide.path)]
    assert main([*given, "--curve", "curve.csv"]) == 0
    assert "no session has a check" in caplog.text
    assert not (tmp_path / "curve.csv").exists()
    corners = [[1664, 0], [3400, 0], [3400, 2400], [1664, 2400], [1664, 0]]
    drawn = {
        "type": "Feature",
        "properties": {"classification": {"name": "Cancer"}},
        "geometry": {"type": "Polygon", "coordinates": [corners]},
    }
    (tmp_path / "one.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [drawn]}))
    by = ["--truth", str(tmp_path), "--class", "Other=*", "--class", "tumour=cancer"]
    assert main([*given, "--curve", "curve.csv", *by]) == 0
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = ["slide", "session", "clicks", "minutes", "seeds", "class", "f1", "f1_low", "f1_high", "by"]
    assert list(rows[0]) == columns
    classes = TruthClasses.parse(["Other=*", "tumour=cancer"])
    known = read_truth(tmp_path / "one.geojson", patch_squares(slide), classes)
    points = follow_session(slide, session, known)
    assert 0.6 < points[-1].f1 < 1
    assert [(row["clicks"], row["class"].casefold()) for row in rows] == [
        (str(each.clicks), each.name.casefold()) for each in points
    ]
    assert [float(row["f1"]) for row in rows] == pytest.approx([each.f1 for each in points], abs=1e-4)
    for suffix, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        assert main([*given, "--curve", f"curve.{suffix}", *by]) == 0
        assert (tmp_path / f"curve.{suffix}").read_bytes().startswith(start)
    capsys.readouterr()
    assert main([*given, "--json", "--curve", "again.csv", *by]) == 0
    assert json.loads(capsys.readouterr().out)[0]["reader"] == "Ada"


@pytest.mark.parametrize(
    "wrong", [["--curve", "x.txt"], ["--truth", "."], ["--curve", "x.csv", "--class", "A=1"],
              ["--curve", "x.csv", "--truth", ".", "--class", "A=1"]]
)  # fmt: skip
def test_what_does_not_belong_together_is_wrong_use(made, wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["effort", str(made[0].path), *wrong]) == 2
