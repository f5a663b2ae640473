"""Readers of one slide: agreement by Cohen's own formula, and a consensus of what nobody disputes."""

import csv
import json
import math

import numpy as np
import pytest

from tissuumaps_sic.annotation.agreement import compare, consensus, decisions, list_disputed, name_kappa
from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import cluster, label
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slides.slide import open_slide_file

STROMA = SeedClass(name="Stroma", color="#009e73")


@pytest.fixture
def slide(small_h5ad):
    return open_slide_file(small_h5ad)


def read(slide, *, other, tumour, stroma=()):
    names = slide.patch_names
    session = Session.new(slide).seed(names[list(other)], 0).seed(names[list(tumour)], 1)
    if stroma:
        session = session.add_class(STROMA).seed(names[list(stroma)], 2)
    return session.with_run(cluster(slide, session.classes, session.seeds)[0])


def by_name(session):
    return {patch: session.classes[label].name for patch, label in session.seeds.items()}


def test_agreement_is_cohens_kappa_of_names_and_not_of_numbers(slide):
    first = read(slide, other=[0, 13], tumour=[11, 22])
    # The same classes the other way round: where the readers agree, the numbers do not.
    names, (no, tumour) = slide.patch_names, Session.new(slide).classes
    second = Session(slide=slide.name, fingerprint=slide.fingerprint, classes=(tumour, no)).add_class(STROMA)
    second = second.seed(names[[0, 40]], 1).seed(names[[11]], 0).seed(names[[50]], 2)
    second = second.with_run(cluster(slide, second.classes, second.seeds)[0])
    one = np.array(["Other", "Tumour"])[first.run.unpack()]
    other = np.array(["Tumour", "Other", "Stroma"])[second.run.unpack()]
    observed = (one == other).mean()
    chance = sum((one == name).mean() * (other == name).mean() for name in {*one, *other})
    found = compare(slide, first, second)
    assert found.kappa == pytest.approx((observed - chance) / (1 - chance))
    assert found.share == pytest.approx(observed)
    assert 0 < found.kappa < 1
    assert np.array_equal(found.disputed, one != other)
    assert found.table.loc["Tumour", "Stroma"] == ((one == "Tumour") & (other == "Stroma")).sum()
    assert found.table.to_numpy().sum() == slide.n_patches
    assert compare(slide, first, first).kappa == 1


def test_with_one_class_alone_there_is_nothing_to_agree_on(slide):
    session = read(slide, other=[0], tumour=[11])
    merged = session.add_class(STROMA).remove_class(0, into=1)
    assert {each.name for each in merged.run_classes} == {"Tumour"}
    found = compare(slide, merged, merged)
    assert math.isnan(found.kappa)
    assert found.share == 1


def test_without_labels_nothing_is_compared(slide):
    with pytest.raises(SessionError, match="no labels yet"):
        compare(slide, read(slide, other=[0], tumour=[11]), Session.new(slide))


def test_a_consensus_holds_what_nobody_disputes(slide):
    names = slide.patch_names
    anna = read(slide, other=[0, 13], tumour=[11, 22]).model_copy(update={"run": None})
    # Labels would count as well; these two have seeds alone.
    ben = read(slide, other=[0, 22], tumour=[30], stroma=[50]).model_copy(update={"run": None})
    merged, disputed = consensus({"Anna": anna, "Ben": ben})
    assert disputed == [names[22]]
    expected = {0: "Other", 13: "Other", 11: "Tumour", 30: "Tumour", 50: "Stroma"}
    assert by_name(merged) == {names[row]: name for row, name in expected.items()}
    users = {patch: a.user for a in merged.actions if a.kind == "seed" for patch in a.patches}
    assert users == {names[r]: "Ben" if r in (30, 50) else "Anna" for r in expected}
    assert [each.name for each in merged.classes] == ["Other", "Tumour", "Stroma"]
    with pytest.raises(SessionError, match="two sessions or more"):
        consensus({"Anna": anna})
    with pytest.raises(SessionError, match="different patches"):
        consensus({"Anna": anna, "Ben": ben.model_copy(update={"fingerprint": "sha256:0"})})


def test_the_commands_compare_and_merge(slide, tmp_path, capsys, caplog):
    anna = read(slide, other=[0, 13], tumour=[11, 22])
    ben = read(slide, other=[0, 22], tumour=[30])
    save_session(session_path(slide.path, "Anna"), anna)
    save_session(session_path(slide.path), ben)
    file, out = str(slide.path), tmp_path / "disputed.csv"
    assert main(["compare", file, "--sessions", "Anna", "", "--json", "-o", str(out)]) == 0
    report = json.loads(capsys.readouterr().out)
    expected = compare(slide, anna, ben)
    assert report["kappa"] == pytest.approx(expected.kappa)
    with out.open() as written:
        rows = list(csv.DictReader(written))
    assert [row["patch"] for row in rows] == slide.patch_names[expected.disputed].tolist()
    assert [(float(r["x"]), float(r["y"])) for r in rows] == [
        tuple(each) for each in slide.centres[expected.disputed]
    ]
    assert report["disputed"] == len(rows)

    assert main(["merge", file, "--sessions", "Anna", "", "--into", "both"]) == 0
    told = capsys.readouterr().out
    assert "1 left out, where another reader's seeds or labels differ" in told
    assert slide.patch_names[22] in told
    assert by_name(load_session(session_path(slide.path, "both"), slide)) == by_name(
        consensus({"Anna": anna, "": ben})[0]
    )
    assert main(["merge", file, "--sessions", "Anna", "", "--into", "both"]) == 2
    assert "is there already" in caplog.text
    assert main(["compare", file, "--sessions", "Anna", "Nobody"]) == 1
    assert "small.Nobody.sic.json" in caplog.text


def test_disputed_patches_that_touch_are_one_place_and_the_largest_comes_first(slide):
    at = {tuple(centre): row for row, centre in enumerate(slide.centres.tolist())}
    step = slide.spacing

    def block(column, row, width, height):
        return {
            at[128 + (column + i) * step, 128 + (row + j) * step] for i in range(width) for j in range(height)
        }

    small, large, alone = block(0, 0, 2, 1), block(4, 2, 3, 3), block(11, 7, 1, 1)
    # One step over a corner still touches; two steps do not.
    corner = block(7, 5, 1, 1)
    disputed = np.zeros(slide.n_patches, dtype=bool)
    disputed[list(small | large | alone | corner)] = True
    found = list_disputed(slide, disputed)
    assert [size for _, size in found] == [10, 2, 1]
    assert found[0][0] in block(5, 3, 1, 1) | block(6, 3, 1, 1) | block(5, 4, 1, 1) | block(6, 4, 1, 1)
    assert found[1][0] in small
    assert {found[2][0]} == alone
    assert list_disputed(slide, np.zeros(slide.n_patches, dtype=bool)) == []


@pytest.mark.parametrize(
    ("kappa", "word"),
    [
        (-0.1, "poor"), (0.0, "slight"), (0.2, "slight"), (0.21, "fair"), (0.59, "moderate"),
        (0.61, "substantial"), (0.81, "almost perfect"), (1.0, "almost perfect"), (float("nan"), ""),
    ],
)  # fmt: skip
def test_a_kappa_has_the_word_of_landis_and_koch(kappa, word):
    assert name_kappa(kappa) == word


def test_a_seed_where_the_others_labels_differ_is_left_out_and_asked_about(slide):
    """B8: of 118 disputed patches the consensus left out one, and kept a seed in a disputed place."""
    names = [str(name) for name in slide.patch_names]
    one = Session.new(slide).seed(names[:3], 0).seed(names[-3:], 1)
    other = one.seed(names[40:41], 1)
    sessions = {"Anna": label(slide, one).session, "Ben": label(slide, other).session}
    labels = {name: each.run.unpack() for name, each in sessions.items()}
    anna = labels["Anna"][40]
    merged, disputed = consensus(sessions)
    assert merged.readers == ("Anna", "Ben")
    assert (names[40] in disputed) == (anna != 1)
    assert (names[40] in merged.seeds) == (anna == 1)
    flipped = sessions["Ben"].seed(names[41:42], 1 - int(labels["Anna"][41]))
    merged, disputed = consensus({"Anna": sessions["Anna"], "Ben": flipped})
    assert names[41] in disputed
    assert names[41] not in merged.seeds
    # What is left out is asked about, once it is disputed; then every place of disputed labels.
    readers = {"Anna": sessions["Anna"], "Ben": flipped}
    asked = decisions(slide, merged, readers)
    assert 41 in [each.row for each in asked]
    first = next(each for each in asked if each.row == 41)
    classes = merged.classes
    theirs = classes[int(labels["Anna"][41])].name
    assert dict(first.said) == {"Anna": theirs, "Ben": next(c.name for c in classes[:2] if c.name != theirs)}
    # A decision is a seed, and is not asked about again.
    after = decisions(slide, merged.seed([names[41]], 1, user="Chris"), readers)
    assert 41 not in [each.row for each in after]
    assert len(after) == len(asked) - 1


def test_every_disputed_label_is_of_a_place_that_is_asked_about(slide):
    names = [str(name) for name in slide.patch_names]
    one = label(slide, Session.new(slide).seed(names[:2], 0).seed(names[-2:], 1)).session
    other = label(slide, Session.new(slide).seed(names[:2], 0).seed(names[-40:], 1)).session
    both = compare(slide, one, other)
    merged, _ = consensus({"": one, "b": other})
    asked = decisions(slide, merged, {"": one, "b": other})
    for each in asked:
        assert len({name for _, name in each.said}) == 2
    if both.disputed.any():
        assert asked
