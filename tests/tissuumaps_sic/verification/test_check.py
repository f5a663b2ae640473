"""A check of a slide's labels: kept in the session, asked blind, told, void or reweighted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from making.labels import CLASSES, labelled, plan, write_grid_h5ad

from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.document import to_text
from tissuumaps_sic.annotation.history import list_steps, tell_undo
from tissuumaps_sic.annotation.records import SessionError, SessionFileError
from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.verification.check import (
    begin_check,
    compare_checks,
    join_check,
    list_questions,
    list_rows,
    require_question,
    verify,
)


@pytest.fixture(scope="module")
def h5ad(tmp_path_factory):
    return write_grid_h5ad(tmp_path_factory.mktemp("check") / "slide.h5ad", plan((6000, 5000)))


@pytest.fixture
def made(h5ad):
    """Labels that are wrong for a tenth of the patches, the scores low where they are."""
    rng = np.random.default_rng(2)
    n = labelled(h5ad, np.zeros(len(plan((6000, 5000))))).slide.n_patches
    truth = (np.arange(n) % 4 == 0).astype(int)
    labels = np.where(rng.random(n) < 0.1, 1 - truth, truth)
    found = labelled(h5ad, labels, classes=CLASSES[:2], scores=np.where(labels == truth, 0.9, 0.6))
    return found, truth


def answer(slide, session, truth, n, *, untold=(), user="Ada"):
    for place in range(n):
        row = list_questions(slide, session)[0]
        label = None if place in untold else int(truth[row])
        session = session.answer(require_question(slide, session, row), label, user=user)
    return session


def test_a_check_is_drawn_answered_interrupted_and_undone(made, h5ad):
    found, truth = made
    slide = found.slide
    assert verify(slide, found.session).state == "none"
    begun = begin_check(found.session, found.scores, randomness=7, user="Ada")
    assert begun.seeds == found.session.seeds
    assert not begun.is_stale
    session = answer(slide, begun, truth, 9)
    few = verify(slide, session)
    assert (few.state, few.answers, few.classes) == ("few", 9, ())
    session = answer(slide, session, truth, 32, untold=(3,))
    # As a file, from another day.
    save_session(session_path(h5ad), session)
    again = load_session(session_path(h5ad), slide)
    session_path(h5ad).unlink()
    assert again == session
    assert json.loads(to_text(session))["schema"] == "tissuumaps-sic/session/5"
    assert list_questions(slide, again, 5) == list_questions(slide, session, 5)
    told = verify(slide, again)
    assert (told.state, told.answers, told.unclear, told.readers) == ("ready", 40, 1, "Ada")
    assert "40 patches chosen at random and judged without seeing the labels" in told.told
    assert "1 more could not be told and is left out" in told.told
    assert [each.name for each in told.classes] == ["Tumour", "Other"]
    tumour = told.classes[0]
    right = np.mean(truth[found.labels == 1] == 1)
    assert tumour.precision.low <= right <= tumour.precision.high
    assert tumour.area.low <= (truth == 1).mean() * sum(each.labelled_area for each in told.classes) * 1.2
    assert told.halved == "Tumour"
    assert told.halving > 10
    assert verify(slide, again.undo()).answers == 39
    assert verify(slide, again.undo().redo()) == told
    # Answers label nothing.
    assert again.seeds == found.session.seeds
    assert again.run == found.session.run
    assert tell_undo(again).text == "an answer to the check sample"
    steps = list_steps(again)
    assert [each.text for each in steps if "drawn" in each.text] == ["a check sample drawn"]
    rows = list_rows(told)
    assert ("Tumour", "f1") in {row[:2] for row in rows}
    assert len({len(row) for row in rows}) == 1


def test_what_is_passed_over_counts_as_not_told_and_may_be_answered_later(made):
    found, truth = made
    slide = found.slide
    session = begin_check(found.session, found.scores, randomness=7)
    rows = list_questions(slide, session, 14)
    for row in rows[2:]:
        session = session.answer(require_question(slide, session, row), int(truth[row]))
    told = verify(slide, session)
    assert (told.answers, told.unclear) == (12, 2)
    assert set(rows) & set(list_questions(slide, session, 20)) == set()
    session = session.answer(require_question(slide, session, rows[0]), int(truth[rows[0]]))
    assert (verify(slide, session).answers, verify(slide, session).unclear) == (13, 1)
    # The last answer to a patch counts.
    changed = session.answer(require_question(slide, session, rows[0]), None)
    assert (verify(slide, changed).answers, verify(slide, changed).unclear) == (12, 2)


def test_patches_that_somebody_chose_are_refused(made):
    found, _ = made
    session = begin_check(found.session, found.scores, randomness=7)
    asked = set(list_questions(found.slide, session, 50))
    other = next(row for row in range(found.slide.n_patches) if row not in asked)
    for row in (other, 10**6):
        with pytest.raises(SessionError, match="chosen at random"):
            require_question(found.slide, session, row)
    with pytest.raises(SessionError, match="no check sample"):
        found.session.answer("x", 1)
    with pytest.raises(SessionError, match="no check sample"):
        list_questions(found.slide, found.session)


def test_other_labels_are_judged_by_the_same_answers_unless_one_became_a_seed(made, h5ad):
    found, truth = made
    slide = found.slide
    session = answer(slide, begin_check(found.session, found.scores, randomness=7), truth, 50)
    before = verify(slide, session)
    better = np.where(np.arange(len(truth)) % 3 == 0, truth, found.labels)
    run = labelled(h5ad, better, classes=CLASSES[:2]).session.run
    asked = {slide.index[patch] for patch in session.answers}
    free = next(row for row in range(len(truth)) if row not in asked)
    seeds = {**found.session.seeds, str(slide.patch_names[free]): int(truth[free])}
    after = verify(slide, session.with_run(run.model_copy(update={"seeds": seeds})))
    assert (after.state, after.is_reweighted) == ("ready", True)
    assert "none of those patches became a seed" in after.told
    assert after.accuracy.value > before.accuracy.value
    assert after.accuracy.low <= (better == truth).mean() <= after.accuracy.high
    used = next(iter(session.answers))
    seeds[used] = int(truth[slide.index[used]])
    # Seeded, but the labels are still those from before.
    assert verify(slide, session.seed([used], seeds[used])).state == "ready"
    void = verify(slide, session.with_run(run.model_copy(update={"seeds": seeds})))
    assert (void.state, void.classes, void.accuracy) == ("void", (), None)
    assert "1 of the patches that were asked about is a seed" in void.told


def test_patches_that_were_seeds_when_they_were_drawn_make_no_check_void(made, h5ad):
    found, truth = made
    slide = found.slide
    row = list_questions(slide, begin_check(found.session, found.scores, randomness=7))[0]
    name = str(slide.patch_names[row])
    seeds = {str(slide.patch_names[0]): int(found.labels[0]), name: int(truth[row])}
    again = labelled(h5ad, found.labels, classes=CLASSES[:2], seeds=seeds, scores=found.every)
    session = answer(slide, begin_check(again.session, again.scores, randomness=7), truth, 12)
    assert name in session.answers
    assert verify(slide, session).state == "ready"


def test_classes_may_be_renamed_merged_and_unknown_to_the_labels(made):
    found, truth = made
    slide = found.slide
    session = found.session.add_class(SeedClass(name="Necrosis", color="#123456"))
    session = begin_check(session, found.scores, randomness=7)
    row = list_questions(slide, session)[0]
    session = session.answer(require_question(slide, session, row), 2)
    session = answer(slide, session, truth, 20)
    told = verify(slide, session)
    assert [each.name for each in told.classes] == ["Tumour", "Other", "Necrosis"]
    assert (told.classes[2].precision, told.classes[2].recall.value) == (None, 0)
    session = session.with_class(1, SeedClass(name="Cancer", color="#ffb000"))
    assert [each.name for each in verify(slide, session).classes] == ["Cancer", "Other", "Necrosis"]
    merged = verify(slide, session.remove_class(2, into=1))
    assert [each.name for each in merged.classes] == ["Cancer", "Other"]
    assert merged.classes[0].answers == told.classes[0].answers + 1


def test_two_readers_answer_the_same_patches_and_are_compared(made):
    found, truth = made
    slide = found.slide
    first = answer(slide, begin_check(found.session, found.scores, randomness=7), truth, 30, untold=(1,))
    second = join_check(found.session, first, user="Ben")
    assert list_questions(slide, second, 20) == list_questions(
        slide, begin_check(found.session, found.scores, randomness=7), 20
    )
    said = truth.copy()
    asked = [slide.index[patch] for patch in first.answers]
    said[asked[4]] = 1 - said[asked[4]]
    second = answer(slide, second, said, 25, user="Ben")
    agreement, names = compare_checks(slide, first, second)
    assert names[:2] == ("Other", "Tumour")
    assert agreement.n_patches == 24
    assert agreement.share.value == pytest.approx(23 / 24)
    assert agreement.table.sum() - np.trace(agreement.table) == 1
    both = agreement.table / 24
    chance = (both.sum(axis=0) * both.sum(axis=1)).sum()
    assert agreement.kappa.value == pytest.approx((23 / 24 - chance) / (1 - chance))
    assert agreement.kappa.low < agreement.kappa.value <= agreement.kappa.high <= 1
    nothing, _ = compare_checks(slide, first, found.session)
    assert (nothing.n_patches, nothing.share, nothing.kappa) == (0, None, None)
    with pytest.raises(SessionError, match="has no check sample"):
        join_check(first, found.session)


def test_a_check_without_labels_and_a_damaged_one_are_told(made, h5ad):
    found, truth = made
    slide = found.slide
    with pytest.raises(SessionError, match="no labels to check"):
        begin_check(found.session.model_copy(update={"run": None}), found.scores)
    session = answer(slide, begin_check(found.session, found.scores, randomness=7), truth, 12)
    text = to_text(session)
    strata = session.sample.strata
    path = session_path(h5ad, "damaged")
    for spoilt in (strata[:-9], "AAAA"):
        path.write_text(text.replace(strata, spoilt))
        with pytest.raises(SessionError, match="check sample is"):
            verify(slide, load_session(path, slide))
    path.write_text(text.replace('"kind":"verify-start"', '"kind":"clear"', 1))
    with pytest.raises(SessionFileError):
        load_session(path, slide)
    path.unlink()


def test_areas_are_not_told_without_a_resolution(tmp_path):
    h5ad = write_grid_h5ad(tmp_path / "plain.h5ad", plan((3000, 2000)), told=False)
    n = len(plan((3000, 2000)))
    truth = np.arange(n) % 2
    found = labelled(h5ad, truth, classes=CLASSES[:2])
    session = answer(found.slide, begin_check(found.session, found.scores, randomness=1), truth, 12)
    told = verify(found.slide, session)
    assert told.classes[0].area is None
    assert told.classes[0].share.low < 0.5 < told.classes[0].share.high
    assert replace(told, told="") != told
