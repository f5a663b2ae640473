"""Seeds of one slide label another one of the same embedding, and of no other."""

import csv
import json
import shutil

import anndata
import numpy as np
import pytest

from tissuumaps_sic.annotation import runs
from tissuumaps_sic.annotation.classes import DEFAULT_CLASSES
from tissuumaps_sic.annotation.lending import lend
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import cluster, own_scores
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slides.slide import open_slide_file

PROVENANCE = {
    "encoder": {"name": "net", "weights_sha256": "aa", "transform": "none"},
    "grid": {"target_mpp": 0.5, "patch_size": 256},
}
MEANS = np.random.default_rng(0).normal(size=(3, 24)) * 2


def slide(folder, name, *, strange=False, seed=0, known=PROVENANCE):
    """A slide of two tissues, left and right, and (`strange`) a third one in its lowest rows."""
    rng = np.random.default_rng(seed)
    x, y = (each.ravel() for each in np.meshgrid(np.arange(16), np.arange(16)))
    truth = (x >= 8).astype(int)
    if strange:
        truth[y >= 12] = 2
    X = (MEANS[truth] + rng.normal(size=(256, 24))).astype(np.float32)
    adata = anndata.AnnData(X)
    adata.obs_names = [f"{name}_{a * 128}_{b * 128}" for a, b in zip(x, y, strict=True)]
    adata.obsm["spatial"] = np.column_stack([x, y]) * 128.0 + 128
    if known:
        adata.uns["embedder"] = json.dumps(known)
    adata.write_h5ad(folder / f"{name}.h5ad", convert_strings_to_categoricals=False)
    return open_slide_file(folder / f"{name}.h5ad"), truth


def seeds_of(source, truth, per_class=5):
    rng = np.random.default_rng(1)
    return {
        str(source.patch_names[row]): label
        for label in (0, 1)
        for row in rng.choice(np.flatnonzero(truth == label), per_class, replace=False)
    }


def label_from(source, seeds, target):
    return runs.label(target, Session.new(target).borrow(lend(source, seeds, target), DEFAULT_CLASSES))


def test_seeds_of_one_slide_label_another_and_flag_what_they_do_not_know(tmp_path):
    source, there = slide(tmp_path, "a")
    target, here = slide(tmp_path, "b", strange=True, seed=2)
    labelled = label_from(source, seeds_of(source, there), target)
    run, unlike = labelled.run, labelled.unlike
    known = here < 2
    assert (run.unpack()[known] == here[known]).mean() > 0.95
    assert labelled.scores.shape == (256,)
    inner = np.flatnonzero((here == 2) & (target.centres[:, 1] > 13 * 128))
    assert unlike[inner].mean() > 0.9
    assert unlike[known].mean() < 0.2
    assert run.seeds == {}
    assert [loan.slide for loan in run.loans] == ["a"]


def test_seeds_that_come_home_give_what_they_give_at_home(tmp_path):
    source, truth = slide(tmp_path, "a")
    seeds = seeds_of(source, truth)
    shutil.copy(source.path, tmp_path / "b.h5ad")
    labelled = label_from(source, seeds, open_slide_file(tmp_path / "b.h5ad"))
    at_home, home_scores = cluster(source, DEFAULT_CLASSES, seeds)
    assert np.array_equal(labelled.labels, at_home.unpack())
    # Only the seeds themselves are honoured at home and not abroad.
    free = [row for row, name in enumerate(source.patch_names) if name not in seeds]
    assert np.allclose(labelled.scores[free], own_scores(home_scores, labelled.labels)[free], atol=1e-3)
    assert not labelled.unlike[[source.index[name] for name in seeds]].any()


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("encoder", "name", "other", r"encoder \(net there, other here\)"),
        ("encoder", "weights_sha256", "bb", r"weights \(sha256\) \(aa there, bb here\)"),
        ("grid", "target_mpp", 1.0, r"mpp \(0.5 there, 1.0 here\)"),
        ("grid", "patch_size", 224, r"patch size \(256 there, 224 here\)"),
    ],
)
def test_slides_that_were_embedded_otherwise_are_refused_by_name(tmp_path, section, key, value, message):
    source, truth = slide(tmp_path, "a")
    known = json.loads(json.dumps(PROVENANCE))
    known[section][key] = value
    target, _ = slide(tmp_path, "b", known=known)
    with pytest.raises(SessionError, match=message):
        lend(source, seeds_of(source, truth), target)


def test_a_slide_without_provenance_is_refused(tmp_path):
    source, truth = slide(tmp_path, "a")
    target, _ = slide(tmp_path, "b", known=None)
    with pytest.raises(SessionError, match=r"b\.h5ad: does not say how it was embedded"):
        lend(source, seeds_of(source, truth), target)


def test_run_takes_a_session_from_another_slide(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    source, truth = slide(tmp_path, "a")
    target, _ = slide(tmp_path, "b", strange=True, seed=2)
    session = Session.new(source)
    for name, label in seeds_of(source, truth).items():
        session = session.seed([name], label)
    save_session(session_path(source.path), session)
    command = ["run", str(target.path), "--seeds", str(session_path(source.path)), "--from", str(source.path)]
    assert main([*command, "-o", "out.csv"]) == 0
    assert "are unlike any seed" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    unlike = label_from(source, session.seeds, target).unlike
    assert [bool(int(row["unlike"])) for row in rows] == unlike.tolist()
    assert main([*command, "-o", "out.h5ad"]) == 0
    labelled = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert labelled.obs["sic_unlike"].tolist() == unlike.tolist()
    assert labelled.obs["sic_label"].tolist() == [row["label"] for row in rows]
    assert main([*command, "--method", "sic"]) == 2
    assert "need --method refine" in caplog.text
