"""The evaluation against scikit-learn, against results worked out by hand, and against itself."""

import json
from itertools import pairwise
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
from making import scenes
from making.files import write_small_h5ad
from PIL import Image
from sklearn import metrics
from threadpoolctl import threadpool_info

from tissuumaps_sic.evaluation import slide_runs
from tissuumaps_sic.evaluation.evaluate import evaluate
from tissuumaps_sic.evaluation.figures import f1_by_clicks, f1_by_seeds
from tissuumaps_sic.evaluation.jobs import pair_up, slide_and_encoders
from tissuumaps_sic.evaluation.report import report, write_report
from tissuumaps_sic.evaluation.results import Design, Evaluation
from tissuumaps_sic.evaluation.simulation import (
    STRATEGIES,
    EvaluationError,
    Grid,
    Turn,
    draw_seeds,
    measure,
    simulate,
)
from tissuumaps_sic.evaluation.slide_runs import generator
from tissuumaps_sic.labelling.calibration import SLOPE, apply_slope
from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.labelling.prepared import Prepared
from tissuumaps_sic.labelling.typical import choose_typical
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.truth.classes import TruthClasses
from tissuumaps_sic.truth.truth import Truth

CLASSES = TruthClasses.parse(["Left=1", "Right=2"])
SIZE = (1664, 1152)  # of the slide in level-0 pixels: 12 x 8 patches of 256 every 128


def noisy_slide(folder, name="one", *, encoder=None, seed=0, provenance=True):
    """An embedded slide whose tissues overlap a little, with its mask: glass above, then left and right."""
    folder.mkdir(exist_ok=True)
    path = write_small_h5ad(folder / f"{name}.h5ad", seed=seed)
    adata = anndata.read_h5ad(path)
    adata.X += np.random.default_rng(seed).normal(size=adata.X.shape).astype(np.float32) * 4
    if encoder:
        adata.var_names = [f"{encoder}_{i:04d}" for i in range(adata.n_vars)]
    if provenance:
        adata.uns["embedder"] = json.dumps({"slide": {"name": name, "size": SIZE, "bounds": [0, 0, *SIZE]}})
    adata.write_h5ad(path)
    mask = np.zeros((SIZE[1] // 16, SIZE[0] // 16), np.uint8)
    mask[12:, :52], mask[12:, 52:] = 1, 2
    Image.fromarray(mask).save(folder / f"{name}_mask.png")
    return path


def small(pairs, **options):
    options = {
        "classes": CLASSES,
        "methods": ("sic",),
        "seeds_per_class": (1, 3),
        "repeats": 3,
        "clicks": 6,
    } | options
    return evaluate(pairs, **options)


# --------------------------------------------------------------------------------------------- measures


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_measures_are_scikit_learns(n_classes):
    rng = np.random.default_rng(n_classes)
    truth, labels = rng.integers(0, n_classes, 200), rng.integers(0, n_classes, 200)
    average = "binary" if n_classes == 2 else "macro"
    ours = measure(np.append(truth, [-1, -1]), np.append(labels, [0, 1]), n_classes)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, labels, average=average)
    assert (ours["f1"], ours["precision"], ours["recall"]) == pytest.approx((f1, precision, recall))
    assert ours["macro_f1"] == pytest.approx(metrics.f1_score(truth, labels, average="macro"))
    assert ours["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, labels))


def test_a_class_that_is_never_found_scores_nothing():
    ours = measure(np.array([0, 0, 1]), np.array([0, 0, 0]), 2)
    assert (ours["f1"], ours["precision"], ours["recall"]) == (0, 0, 0)
    assert ours["balanced_accuracy"] == 0.5


# ------------------------------------------------------------------------------------------------ draws


def test_seeds_lie_inside_their_class_and_nowhere_else():
    labels = np.array([-1] * 20 + [0] * 30 + [1] * 4)
    for repeat in range(20):
        y = draw_seeds(labels, 5, generator(0, "s", 5, repeat))
        assert np.array_equal(y[y >= 0], labels[y >= 0])
        assert [(y == number).sum() for number in (0, 1)] == [5, 4]


def test_draws_depend_on_the_names_alone_and_are_the_same_on_any_machine():
    assert generator(0, "slide", 3, 1).integers(0, 1000, 4).tolist() == KNOWN
    assert generator(0, "slide", 3, 2).integers(0, 1000, 4).tolist() != KNOWN
    assert generator(1, "slide", 3, 1).integers(0, 1000, 4).tolist() != KNOWN
    # Not by joining the names to one text: slide 1, repeat 2 is not slide 12.
    assert generator(0, "a1", 2).integers(0, 2**60) != generator(0, "a", 12).integers(0, 2**60)


KNOWN = [362, 352, 32, 872]

# ------------------------------------------------------------------------------------------- annotators


def scene(truth, labels, *, seeds=None, scores=None, suggest=()):
    """A turn on patches drawn as text: digits are classes, a dot is no truth, a space is no patch."""
    cells = [(r, c) for r, row in enumerate(truth) for c, sign in enumerate(row) if sign != " "]
    grid = Grid(*(np.array(each, dtype=np.intp) for each in zip(*cells, strict=True)))

    def numbers(rows):
        return np.array([-1 if rows[r][c] == "." else int(rows[r][c]) for r, c in cells])

    fitted = SimpleNamespace(labels_=numbers(labels), scores_=scores, suggest=lambda n: list(suggest)[:n])
    y = np.full(len(cells), -1) if seeds is None else numbers(seeds)
    features = np.random.default_rng(1).normal(size=(len(cells), 3))
    prepared = Prepared(features, np.array(cells, float))
    turn = Turn(numbers(truth), grid, y, prepared, fitted, np.random.default_rng(0))
    return turn, lambda chosen: None if chosen is None else cells[chosen]


def test_the_largest_error_is_clicked_in_its_middle():
    turn, place = scene(
        ["1111100000", "1111100000", "1111100000", "1111100000", "1111100000", "0000000011", "0000000011"],
        ["0000000000"] * 7,
    )
    assert place(STRATEGIES["largest-error"](turn)) == (2, 2)


def test_areas_are_joined_by_sides_and_within_one_true_class():
    # The five at the left touch by corners only; of class 0 and 1 together the middle would be largest.
    turn, place = scene(
        ["1000000000", "0100000000", "1000100000", "0100110000", "1000100111"],
        ["0000000000", "0000000000", "0000010000", "0000001000", "0000010000"],
    )
    assert place(STRATEGIES["largest-error"](turn)) == (3, 4)


def test_the_middle_is_deep_inside_and_not_at_the_centroid_of_a_bent_area():
    turn, place = scene(
        ["11111111", "1      1", "1      1", "1    111", "1    111", "0    111"],
        ["00000000", "0      0", "0      0", "0    000", "0    000", "0    000"],
    )
    assert place(STRATEGIES["largest-error"](turn)) == (4, 6)


def test_seeded_patches_and_those_without_truth_are_never_clicked_again():
    truth, labels = ["111..", "111..", "111.1"], ["00000", "00000", "00000"]
    turn, place = scene(truth, labels, seeds=[".....", ".1...", "....."])
    chosen = place(STRATEGIES["largest-error"](turn))
    assert chosen in [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert chosen == (0, 1)
    turn, place = scene(truth, labels, seeds=["111..", "111..", "111.."])
    assert place(STRATEGIES["largest-error"](turn)) == (2, 4)
    turn, _ = scene(truth, labels, seeds=["111..", "111..", "111.1"])
    assert [STRATEGIES[name](turn) for name in ("largest-error", "random", "border", "suggest")] == [None] * 4


def test_every_strategy_clicks_only_free_patches():
    rng = np.random.default_rng(0)
    signs = ["".join(rng.choice(list("01."), 9)) for _ in range(7)]
    seeds = ["." * 9] * 6 + [signs[6]]
    scores = rng.random((63, 2))
    turn, _ = scene(signs, ["1" * 9] * 7, seeds=seeds, scores=scores, suggest=range(62, -1, -1))
    free = np.flatnonzero(turn.free)
    for name, choose in STRATEGIES.items():
        assert choose(turn) in free, name
    assert STRATEGIES["border"](turn) == free[np.argmin(abs(scores[free, 0] - scores[free, 1]))]
    assert STRATEGIES["suggest"](turn) == free[-1]
    assert len({STRATEGIES["random"](turn) for _ in range(300)}) == len(free)


def teachable(truth, *, start):
    """An estimator that gives every patch `start`, and around a seed those of its class the right one."""

    def fit(y):
        labels = np.full(len(truth), start)
        for seed in np.flatnonzero(y >= 0):
            near = np.arange(max(0, seed - 4), min(len(truth), seed + 5))
            labels[near[truth[near] == y[seed]]] = y[seed]
        return SimpleNamespace(labels_=labels, slope_=SLOPE)

    return fit


def test_a_simulated_annotator_mends_the_labels_and_then_rests():
    labels = np.repeat([0, 1], 18)
    truth = Truth(("A", "B"), labels, np.zeros((36, 2), np.float32), ())
    grid = Grid(np.zeros(36, np.intp), np.arange(36))
    first = np.full(36, -1)
    first[0], first[35] = 0, 1
    seen = []

    def engine(y):
        seen.append(y.copy())
        return teachable(labels, start=0)(y)

    curve = [
        each["f1"]
        for each in simulate(engine, None, truth, grid, first, strategy="largest-error", clicks=9, rng=None)
    ]
    # The last five are known; of the 13 before them the middle is clicked, then each of the two ends left.
    assert [int(np.flatnonzero(after != before)[0]) for before, after in pairwise(seen)] == [24, 18, 29]
    hits = np.array([5, 14, 16, 18])
    f1 = 2 * hits / (hits + 18)
    # Nothing is wrong any more: the curve stays, and the estimator has rest.
    assert curve == pytest.approx([*f1, 1, 1, 1, 1])
    assert (first >= 0).sum() == 2


def test_the_grid_survives_gaps_and_a_spacing_that_is_a_little_off(small_h5ad):
    slide = open_slide_file(small_h5ad)
    columns, rows = np.divmod(np.arange(96)[::-1], 8)
    centres = np.column_stack([columns * 127.97, rows * 127.97]).round()
    keep = (columns != 3) & (rows != 5)
    shifted = type(slide)(slide.path, slide.X[keep], slide.patch_names[keep], centres[keep])
    grid = Grid.of(shifted)
    assert np.array_equal(grid.columns, columns[keep])
    assert np.array_equal(grid.rows, rows[keep])
    # Thousands of columns, each 0.4 pixels nearer than the step between the first two.
    far = np.column_stack([np.arange(3000) * 127.6, np.zeros(3000)])
    far[1, 0] = 128
    line = type(slide)(slide.path, slide.X[:1], slide.patch_names[:1], far)
    assert np.array_equal(Grid.of(line).columns, np.arange(3000))


# --------------------------------------------------------------------------------------- whole evaluations


def test_a_run_is_what_the_estimator_gives_for_the_same_draw(tmp_path):
    path = noisy_slide(tmp_path / "a")
    evaluation = small([(path, tmp_path / "a")], clicks=0, random_state=7)
    slide = open_slide_file(path)
    # Three quarters of the first row of patches are glass, and a quarter of the second.
    x, y = slide.centres.T
    labels = np.where(y < 256, -1, (x >= 832).astype(int))
    assert evaluation.slides.loc[0, "n_counted"] == (labels >= 0).sum()
    assert len(evaluation.runs) == 6
    for row in evaluation.runs.to_dict("records"):
        seeds = draw_seeds(labels, row["n_seeds"], generator(7, "one", row["n_seeds"], row["repeat"]))
        found = SeededIterativeClustering(random_state=7).fit(slide.X, seeds).labels_
        counted = labels >= 0
        assert row["f1"] == pytest.approx(metrics.f1_score(labels[counted], found[counted]))
        assert row["n_seeds_drawn"] == 2 * row["n_seeds"]
    assert len(set(evaluation.runs["f1"])) > 1
    assert evaluation.clicks.empty
    assert report(evaluation)["clicks_summary"] == []


def test_encoders_side_by_side_get_the_same_draws_and_workers_change_nothing(tmp_path):
    pairs = [
        (noisy_slide(tmp_path / "a", encoder="first"), tmp_path / "a"),
        (noisy_slide(tmp_path / "b", encoder="second"), tmp_path / "a" / "one_mask.png"),
        (noisy_slide(tmp_path / "a", "two", encoder="first", seed=3), tmp_path / "a"),
        (tmp_path / "missing.h5ad", tmp_path),
        (noisy_slide(tmp_path / "c", "three", encoder="first"), tmp_path / "nowhere.png"),
    ]
    alone = small(pairs)
    together = small(pairs, workers=2)
    for key in ("slides", "runs", "clicks"):
        pd.testing.assert_frame_equal(getattr(alone, key), getattr(together, key))
    assert alone.failures == together.failures
    assert [failure.file for failure in alone.failures] == ["missing.h5ad", "three.h5ad"]
    assert all("no such file" in failure.message for failure in alone.failures)
    # One and the same slide, embedded the same under two names.
    first, second = (alone.runs[alone.runs["encoder"] == name].reset_index() for name in ("first", "second"))
    assert first[first["slide"] == "one"]["f1"].tolist() == second["f1"].tolist()
    assert list(zip(alone.slides["slide"], alone.slides["encoder"], strict=True)) == [
        ("one", "first"),
        ("one", "second"),
        ("two", "first"),
    ]


def test_annotators_begin_with_the_run_of_one_seed_and_all_strategies_alike(tmp_path):
    evaluation = small(
        [(noisy_slide(tmp_path / "a"), tmp_path / "a")], strategies=("largest-error", "random", "border")
    )
    starts = evaluation.runs.query("n_seeds == 1").set_index("repeat")["f1"]
    clicks = evaluation.clicks
    assert clicks["clicks"].unique().tolist() == [2, 3, 4, 5, 6]
    for (_, repeat), rows in clicks.groupby(["strategy", "repeat"]):
        assert rows["f1"].iloc[0] == starts[repeat]
    assert clicks.groupby("strategy")["f1"].apply(tuple).nunique() == 3


def nearest_mean(slide, method, random_state):
    """Three classes, which the estimator does not tell apart: the nearest of the seeds' means."""

    X = np.asarray(slide.X)

    def fit(y):
        means = np.stack([X[y == number].mean(axis=0) for number in range(y.max() + 1)])
        distances = ((X[:, None] - means) ** 2).sum(axis=2)
        scores = apply_slope(-distances, 1.0)
        return SimpleNamespace(labels_=distances.argmin(axis=1), scores_=scores, slope_=SLOPE)

    return fit


def test_three_classes_are_evaluated_by_their_mean(tmp_path, monkeypatch):
    monkeypatch.setattr(slide_runs, "_engine", nearest_mean)
    classes = TruthClasses.parse(["Glass=0", "Left=1", "Right=2"])
    evaluation = small([(noisy_slide(tmp_path / "a"), tmp_path / "a")], classes=classes)
    assert not evaluation.failures
    assert evaluation.runs["f1"].tolist() == evaluation.runs["macro_f1"].tolist()
    assert evaluation.clicks["clicks"].unique().tolist() == [3, 4, 5, 6]
    shares = evaluation.slides.loc[0, ["share_Glass", "share_Left", "share_Right"]]
    assert shares.sum() == pytest.approx(1)


def test_a_slide_is_computed_by_one_thread(tmp_path, monkeypatch):
    threads = []

    def engine(slide, method, random_state):
        threads.extend(library["num_threads"] for library in threadpool_info())
        return nearest_mean(slide, method, random_state)

    monkeypatch.setattr(slide_runs, "_engine", engine)
    assert not small([(noisy_slide(tmp_path / "a"), tmp_path / "a")]).failures
    assert set(threads) == {1}


def test_a_bug_in_one_slide_is_told_and_the_others_are_done(tmp_path, monkeypatch):
    def engine(slide, method, random_state):
        if slide.name == "two":
            raise ZeroDivisionError("float division")
        return nearest_mean(slide, method, random_state)

    monkeypatch.setattr(slide_runs, "_engine", engine)
    names = ("one", "two", "three")
    evaluation = small([(noisy_slide(tmp_path / "a", name), tmp_path / "a") for name in names])
    assert [failure.message for failure in evaluation.failures] == [
        "two.h5ad: ZeroDivisionError: float division (unexpected)"
    ]
    assert evaluation.slides["slide"].tolist() == ["one", "three"]


def test_a_truth_without_a_class_tells_its_values(tmp_path):
    path = noisy_slide(tmp_path / "a")
    evaluation = small([(path, tmp_path / "a")], classes=TruthClasses.binary("7"))
    (failure,) = evaluation.failures
    assert failure.message.startswith(
        "one_mask.png: no patch is Positive; its values are 0, 1, 2; name others"
    )
    with pytest.raises(EvaluationError, match="no slide could be evaluated"):
        write_report(evaluation, tmp_path / "out")
    assert report(evaluation)["failures"][0]["file"] == "one.h5ad"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ("magic",)}, "'magic' is not a method; give one of sic, refine"),
        ({"methods": ()}, "at least one method"),
        ({"strategies": ("guess",)}, "'guess' is not a strategy; give one of largest-error, random"),
        ({"strategies": ()}, "give one of largest-error"),
        ({"seeds_per_class": (1, 0)}, "number of seeds is 0; give 1 or more"),
        ({"seeds_per_class": ()}, "one number of seeds"),
        ({"repeats": 0}, "repeats is 0"),
        ({"workers": 0}, "workers is 0"),
        ({"random_state": -1}, "random state is -1"),
        ({"clicks": 1}, "clicks: 1 is too few to seed 2 classes"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is(options, message):
    with pytest.raises(EvaluationError, match=message):
        small([], **options)


def test_a_slide_comes_once_for_each_encoder(tmp_path):
    pairs = [(noisy_slide(tmp_path / folder), tmp_path) for folder in ("a", "b")]
    with pytest.raises(EvaluationError, match=r"same slide \(one\) with the same encoder"):
        small(pairs)


def test_truths_are_paired_with_slides_by_order_or_found_in_one_folder(tmp_path):
    files = [tmp_path / "a.h5ad", tmp_path / "b.h5ad"]
    truths = [tmp_path / "1.png", tmp_path / "2.png"]
    assert pair_up(files, truths) == list(zip(files, truths, strict=True))
    assert pair_up(files, [tmp_path]) == [(file, tmp_path) for file in files]
    assert pair_up(files[:1], truths[:1]) == [(files[0], truths[0])]
    with pytest.raises(EvaluationError, match="there are 2 slides and 1 truth;"):
        pair_up(files, truths[:1])


def test_slide_and_encoder_are_named_by_the_provenance_and_else_by_the_file(tmp_path):
    path = noisy_slide(tmp_path / "a", "x.second", encoder="my_net", provenance=False)
    assert slide_and_encoders(path) == ("x.second", {"X": "my_net"})
    adata = anndata.read_h5ad(path)
    adata.uns["embedder"] = json.dumps({"slide": {"name": "x"}, "encoder": {"name": "other"}})
    adata.write_h5ad(path)
    assert slide_and_encoders(path) == ("x", {"X": "other"})
    assert slide_and_encoders(write_small_h5ad(tmp_path / "plain.h5ad")) == ("plain", {"X": "unknown"})


# ------------------------------------------------------------------------------------------------ report


@pytest.fixture
def made():
    """Two slides, two repeats, worked out by hand below."""
    runs = pd.DataFrame(
        [
            {"slide": slide, "encoder": "e", "method": "sic", "n_seeds": 1, "repeat": repeat, "f1": f1}
            for slide, repeat, f1 in [("a", 0, 0.2), ("a", 1, 0.6), ("b", 0, 0.9), ("b", 1, 0.7)]
        ]
    )
    clicks = pd.DataFrame(
        [
            {"slide": slide, "encoder": "e", "method": "sic", "strategy": "random", "repeat": 0} | row
            for slide in "ab"
            for row in ({"clicks": 2, "f1": 0.2 + 0.4 * (slide == "b")}, {"clicks": 3, "f1": 1.0})
        ]
    )
    design = Design(CLASSES, ("sic",), (1,), 2, 3, ("random",), 0, None)
    slides = pd.DataFrame([{"slide": slide, "encoder": "e"} for slide in "ab"])
    return Evaluation(design, slides, runs, clicks, ())


def test_summaries_are_over_repeats_first_and_then_over_slides(made):
    assert made.per_slide()["mean_f1"].tolist() == pytest.approx([0.4, 0.8])
    assert made.per_slide()["best_f1"].tolist() == pytest.approx([0.6, 0.9])
    (row,) = made.summary().to_dict("records")
    assert (row["slides"], row["mean_f1"], row["best_f1"]) == pytest.approx((2, 0.6, 0.75))
    assert (row["mean_f1_sd"], row["best_f1_sd"]) == pytest.approx((0.4 / 2**0.5, 0.3 / 2**0.5))
    assert made.clicks_summary()["f1"].tolist() == pytest.approx([0.4, 1.0])
    assert made.clicks_summary()["f1_sd"].tolist() == pytest.approx([0.4 / 2**0.5, 0])


def test_figures_show_f1_from_0_to_1_with_every_slide_and_no_legend_on_the_data(made):
    figure = f1_by_seeds(made.per_slide(), repeats=2)
    best, mean = figure.axes
    for panel, values in ((best, [0.6, 0.9]), (mean, [0.4, 0.8])):
        assert panel.get_ylim() == (0, 1)
        dots = next(line for line in panel.lines if line.get_marker() == "o")
        assert list(dots.get_ydata()) == pytest.approx(values)
        assert panel.get_legend() is None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["e, sic"]
    (panel,) = f1_by_clicks(made.clicks).axes
    assert panel.get_ylim() == (0, 1)
    assert list(panel.lines[0].get_ydata()) == pytest.approx([0.4, 1.0])
    assert "random" in panel.get_title()


def test_the_report_holds_tables_figures_and_strict_json(tmp_path):
    path = noisy_slide(tmp_path / "a", encoder="net")
    evaluation = small([(path, tmp_path / "a")], random_state=5)
    files = write_report(evaluation, tmp_path / "new" / "out")
    assert sorted(file.name for file in files) == sorted(
        each.name for each in (tmp_path / "new/out").iterdir()
    )
    assert {file.name for file in files} == {
        "evaluation.csv", "clicks.csv", "pixels.csv",
        "evaluation.json", "f1_by_seeds.png", "f1_by_clicks.png",
    }  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "new/out/evaluation.csv"), evaluation.runs)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "new/out/clicks.csv"), evaluation.clicks)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    text = (tmp_path / "new/out/evaluation.json").read_text()
    known = json.loads(text, parse_constant=refuse)
    assert known["parameters"]["classes"] == [
        {"name": "Left", "values": ["1"]},
        {"name": "Right", "values": ["2"]},
    ]
    assert known["parameters"]["random_state"] == 5
    # One slide has no deviation over slides.
    assert known["summary"][0]["mean_f1_sd"] is None
    assert known["summary"][0]["mean_f1"] == pytest.approx(evaluation.summary().loc[0, "mean_f1"])
    assert known["slides"][0]["truth"] == "one_mask.png"
    assert str(tmp_path) not in text
    for name in ("f1_by_seeds.png", "f1_by_clicks.png"):
        with Image.open(tmp_path / "new/out" / name) as image:
            assert min(image.size) > 500


# ------------------------------------------------------------------------------------------ first clicks


def test_an_annotator_without_a_first_seed_starts_with_typical_patches_and_goes_on_by_doubt():
    X, coords, labels = scenes.scene(2, n_classes=3, noise=0.5)
    prepared, grid = Prepared(X, coords), Grid(*(coords[:, ::-1] // 128).astype(np.intp).T)
    truth = Truth(("A", "B", "C"), labels, np.zeros((len(labels), 3), np.float32), ())
    clicked: list[int] = []

    def engine(y):
        clicked.extend(np.setdiff1d(np.flatnonzero(y >= 0), clicked).tolist())
        return SeededIterativeClustering(method="refine").fit(prepared, y)

    nothing = np.full(len(labels), -1)
    curve = simulate(
        engine,
        prepared,
        truth,
        grid,
        nothing,
        strategy="cold",
        clicks=12,
        rng=np.random.default_rng(0),
        follow=lambda fitted, y: {"n_seeds": int((y >= 0).sum())},
    )
    assert len(curve) == 12
    first = choose_typical(prepared, 6)
    assert set(first.tolist()) <= set(clicked)
    # One class is one label everywhere, and nothing more is told of it.
    only = np.full(len(labels), labels[first[0]])
    assert curve[0] == {"f1": measure(labels, only, 3)["f1"]}
    assert curve[-1]["f1"] > 0.9
    known = np.full(len(labels), -1)
    known[first] = labels[first]
    by_doubt = SeededIterativeClustering(method="refine").fit(prepared, known).suggest(1)
    assert by_doubt[0] in clicked


def test_strategies_from_nothing_have_a_row_from_the_first_click_on(tmp_path):
    path = noisy_slide(tmp_path)
    options = {"strategies": ("cold", "cold-random", "random"), "clicks": 5, "repeats": 1}
    result = small(pair_up([path], [tmp_path]), methods=("refine",), **options)
    counts = result.clicks.groupby("strategy")["clicks"].agg(list)
    assert counts["cold"] == counts["cold-random"] == [1, 2, 3, 4, 5]
    assert counts["random"] == [2, 3, 4, 5]
