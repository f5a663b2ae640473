"""The engine on real histology: fields of prostate and a mosaic of colon tiles, with their ground truth."""

import subprocess
import sys

import numpy as np
import pytest
from making.oracle import oracle

from tissuumaps_sic.evaluation.evaluate import evaluate
from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.truth.classes import TruthClasses
from tissuumaps_sic.truth.squares import patch_squares
from tissuumaps_sic.truth.truth import read_truth

PROSTATE = TruthClasses.parse(["Stroma=4", "Cancer=0,1", "Benign=3"])
COLON = TruthClasses.parse(["Glass=0", "Healthy=1", "Adenocarcinoma=2"])


def embed(slide, folder, *options):
    command = [
        sys.executable,
        "-m",
        "embedder",
        "embed",
        slide,
        "-o",
        folder,
        "--no-umap",
        "--min-tissue",
        "0",
        "--precision",
        "float32",
    ]
    subprocess.run([*command, *options], check=True)
    return folder / f"{slide.stem}.h5ad"


@pytest.fixture(scope="module")
def prostate(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prostate")
    options = ("--slide-mpp", "0.5", "--patch-size", "128")
    h5ad = embed(shared_data / "prostate" / "test10.jpg", folder, *options)
    return h5ad, shared_data / "prostate" / "test10_mask.png"


@pytest.fixture(scope="module")
def mosaic(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mosaic")
    h5ad = embed(shared_data / "mosaics" / "mosaic_3.tif", folder, "--patch-size", "224", "--overlap", "0")
    return h5ad, shared_data / "mosaics" / "mosaic_3_mask.png"


@pytest.fixture(params=["prostate", "mosaic"])
def pair(request):
    return request.getfixturevalue(request.param)


def draw(labels, per_class, seed):
    rng = np.random.default_rng(seed)
    y = np.full(len(labels), -1)
    for label in range(labels.max() + 1):
        there = np.flatnonzero(labels == label)
        y[rng.choice(there, min(per_class, there.size), replace=False)] = label
    return y


def test_the_published_method_labels_real_embeddings_as_its_oracle_does(pair):
    h5ad, mask = pair
    slide = open_slide_file(h5ad)
    classes = TruthClasses.binary("4" if "test10" in mask.name else "2")
    labels = read_truth(mask, patch_squares(slide), classes).labels
    for seed in range(10):
        y = draw(labels, 1 + seed % 5, seed)
        assert np.array_equal(SeededIterativeClustering().fit(slide.prepared, y).labels_, oracle(slide.X, y))


def test_three_classes_are_told_apart_and_seeds_pay(pair):
    h5ad, mask = pair
    slide = open_slide_file(h5ad)
    classes = PROSTATE if "test10" in mask.name else COLON
    truth = read_truth(mask, patch_squares(slide), classes).labels
    counted = truth >= 0
    assert set(truth[counted]) == {0, 1, 2}

    def recall(method, per_class):
        """Balanced accuracy, averaged over five draws of seeds."""
        found = []
        for seed in range(5):
            y = draw(truth, per_class, seed)
            labels = SeededIterativeClustering(method=method).fit(slide.prepared, y).labels_
            found.append(np.mean([(labels[truth == each] == each).mean() for each in range(3)]))
        return np.mean(found)

    # By chance it would be a third.
    assert recall("sic", 5) > 0.5
    # The mosaic is labelled so well from one seed that more can but keep it.
    assert recall("refine", 5) > max(recall("refine", 1) - 0.01, recall("sic", 5))
    assert recall("refine", 5) > (0.65 if classes is PROSTATE else 0.9)


def test_corrections_pay_on_real_tissue_and_more_than_those_of_the_published_method(prostate):
    found = evaluate(
        [prostate],
        classes=TruthClasses.binary("4"),
        methods=("sic", "refine"),
        seeds_per_class=(1,),
        repeats=3,
        clicks=20,
        strategies=("largest-error",),
    ).clicks
    f1 = found.pivot_table(index="clicks", columns="method", values="f1")
    assert f1.loc[20, "refine"] > f1.loc[2, "refine"] + 0.1
    assert f1.loc[20, "refine"] > f1.loc[20, "sic"] + 0.1
    assert f1.loc[20, "refine"] > 0.8
