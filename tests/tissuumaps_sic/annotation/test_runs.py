"""A session and its slide become labels: once, and again only where the scores are not known."""

from dataclasses import replace

import numpy as np
import pytest
from making.labels import labelled, write_grid_h5ad
from making.labels import plan as plan_grid
from making.many import seeds_of, write_mosaic

from tissuumaps_sic.annotation import runs
from tissuumaps_sic.annotation.classes import DEFAULT_CLASSES
from tissuumaps_sic.annotation.lending import lend
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import Labelled, agree, replay
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.export.formats import FORMATS
from tissuumaps_sic.labelling.calibration import SLOPE
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture
def here(tmp_path):
    """A slide that was labelled from its own seeds and another one's, and the other one's path."""
    there, truth = write_mosaic(tmp_path, "there", seed=1)
    slide = open_slide_file(write_mosaic(tmp_path, "here", seed=2)[0])
    loan = lend(open_slide_file(there), seeds_of(there, truth), slide)
    session = Session.new(slide).borrow(loan, DEFAULT_CLASSES).seed([str(slide.patch_names[0])], 0)
    return runs.label(slide, session, border=0.4), there


@pytest.fixture
def no_run(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the clustering was run")

    monkeypatch.setattr(runs, "fit", refuse)


def equal(one, other):
    return (
        one.classes == other.classes
        and all(
            np.array_equal(getattr(one, key), getattr(other, key))
            for key in ("labels", "scores", "seeds", "every")
        )
        and one.run == other.run
    )


def test_a_session_that_was_run_is_replayed_to_the_same_labels_scores_and_seeds(here):
    assert equal(replay(here[0].slide, here[0].session), here[0])


def test_a_run_of_before_seeds_were_judged_is_replayed_as_it_was(tmp_path):
    h5ad, truth = write_mosaic(tmp_path, "old", seed=3)
    slide = open_slide_file(h5ad)
    session = Session.new(slide)
    for label in (0, 1):
        session = session.seed([str(name) for name in slide.patch_names[truth == label][:25]], label)
    run, scores = runs.cluster(slide, session.classes, session.seeds, border=0.8, leave_one_out=False)
    known = {"leave_one_out", "slope"}
    old = {key: value for key, value in run.parameters.items() if key not in known}
    old_run = run.model_copy(update={"parameters": old})
    assert old_run.slope == SLOPE
    replayed = replay(slide, session.with_run(old_run))
    assert np.array_equal(replayed.labels, run.unpack())
    assert np.array_equal(replayed.every[:, ::-1], scores[:, ::-1])
    new, others = runs.cluster(slide, session.classes, session.seeds, border=0.8)
    assert new.slope != SLOPE
    assert not np.allclose(others, scores, atol=0.01)
    assert np.array_equal(replay(slide, session.with_run(new)).labels, new.unpack())


@pytest.mark.parametrize("told", [None, "steep", 0, -3, float("nan"), float("inf"), [4]])
def test_a_slope_that_is_none_is_the_usual_one(here, told):
    run = here[0].run.model_copy(update={"parameters": {"slope": told}})
    assert run.slope == SLOPE


def test_nothing_is_run_again_where_the_scores_are_known(here, no_run):
    assert equal(replay(here[0].slide, here[0].session, scores=here[0].every), here[0])


def test_scores_of_other_embeddings_are_not_taken_for_those_of_the_run(here, no_run):
    run = here[0].run.model_copy(update={"sample": "of another file"})
    session = here[0].session.model_copy(update={"run": run})
    with pytest.raises(AssertionError, match="the clustering was run"):
        replay(here[0].slide, session, scores=here[0].every)


def test_known_scores_do_not_hide_that_a_lender_has_gone(here):
    here[1].unlink()
    with pytest.raises(SessionError, match="is not there, and 8 seeds are borrowed from it"):
        replay(here[0].slide, here[0].session, scores=here[0].every)


def test_runs_agree_up_to_what_is_rounded(here):
    run, n = here[0].run, here[0].slide.n_patches

    def with_labels(labels):
        changes = {"counts": (n,), "labels": runs.pack(labels.tobytes())}
        return run.model_copy(update=changes)

    labels = np.zeros(n, np.uint8)
    some = labels.copy()
    some[: n // 100] = 1
    assert agree(with_labels(labels), with_labels(labels))
    assert not agree(with_labels(labels), with_labels(some))


def test_classes_are_listed_with_the_positive_one_first_and_merged_ones_once(tmp_path):
    grid = plan_grid()
    made = labelled(write_grid_h5ad(tmp_path / "a.h5ad", grid), np.arange(len(grid)) % 3)
    arranged = made.arrange()
    assert [each.name for each in arranged.classes] == ["Tumour", "Other", "In situ: low"]
    assert np.array_equal(arranged.labels, np.array([1, 0, 2])[made.labels])
    # The positive class itself goes into another one, which is then listed in its place.
    merged = Labelled.of(made.slide, made.session.remove_class(1, into=2), made.every)
    assert [each.name for each in merged.classes] == ["Other", "In situ: low"]
    assert [each.name for each in merged.arrange().classes] == ["In situ: low", "Other"]
    names = np.array([each.name for each in merged.arrange().classes])
    assert (names[merged.arrange().labels] == np.array(["Other", "In situ: low"])[merged.labels]).all()


@pytest.mark.parametrize("format_", [name for name in FORMATS if name != "lazyslide"])
def test_writers_run_nothing(tmp_path, no_run, format_):
    grid = plan_grid((1400, 1100))
    made = labelled(write_grid_h5ad(tmp_path / "a.h5ad", grid), np.arange(len(grid)) % 3)
    unlike = np.arange(len(grid)) % 5 == 0
    target = tmp_path / "out" / FORMATS[format_].ending
    target.parent.mkdir()
    FORMATS[format_].write(replace(made, unlike=unlike), target)
    files = [target, *target.rglob("*")] if target.is_dir() else [target]
    assert sum(path.stat().st_size for path in files) > 300
