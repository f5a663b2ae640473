"""Seeds of another slide in a session: borrowed, run, undone, replayed to the same labels, or refused."""

import json
import shutil

import anndata
import numpy as np
import pytest
from making.many import seeds_of, write_mosaic

from tissuumaps_sic.annotation.classes import SeedClass, make_class
from tissuumaps_sic.annotation.lending import flag_unlike, guests_of, lend, only_from
from tissuumaps_sic.annotation.loans import Loan
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import cluster, replay
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.export.h5ad import write_labels
from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.labelling.refine import Guests
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture
def lender(tmp_path):
    (tmp_path / "cases").mkdir()
    path, truth = write_mosaic(tmp_path / "cases", "there", seed=1)
    return open_slide_file(path), seeds_of(path, truth)


@pytest.fixture
def slide(tmp_path):
    return open_slide_file(write_mosaic(tmp_path, "here", seed=2, strange=True)[0])


CLASSES = (SeedClass(name="Stroma", color="#00a6fb"), SeedClass(name="Gland", color="#ffb000"))


def borrowed(slide, lender, session=None, classes=CLASSES):
    source, seeds = lender
    return (session or Session.new(slide)).borrow(lend(source, seeds, slide), classes)


def ran(slide, session, **options):
    run, scores = cluster(
        slide, session.classes, session.seeds, guests=guests_of(slide, session.loans), **options
    )
    return session.with_run(run), scores


def test_a_new_session_takes_the_others_classes_and_an_undo_gives_back_what_it_began_with(slide, lender):
    session = borrowed(slide, lender)
    assert session.classes == CLASSES
    assert session.seeds == {}
    (loan,) = session.loans
    assert (loan.slide, loan.path, loan.seeds) == ("there", "cases/there.h5ad", lender[1])
    assert session.undo().classes == Session.new(slide).classes
    assert session.undo().loans == ()
    assert session.undo().redo().loans == session.loans
    dropped = session.give_back(loan.path)
    assert dropped.loans == ()
    assert dropped.undo().loans == session.loans
    with pytest.raises(SessionError, match="nothing is borrowed from"):
        dropped.give_back(loan.path)


def test_a_session_that_is_used_keeps_its_classes_and_gets_those_that_it_lacks(slide, lender):
    own = Session.new(slide).seed([slide.patch_names[0]], 1)
    classes = (SeedClass(name="Tumour", color="#123456"), SeedClass(name="Fat", color="#ffb000"))
    session = borrowed(slide, lender, own, classes)
    assert [each.name for each in session.classes] == ["Other", "Tumour", "Fat"]
    # By the name: what is class 0 there is class 1 here, in this session's colour.
    assert session.classes[1].color == own.classes[1].color
    assert len({each.color for each in session.classes}) == 3
    assert {session.loans[0].seeds[patch] for patch, label in lender[1].items() if label == 0} == {1}
    assert {session.loans[0].seeds[patch] for patch, label in lender[1].items() if label == 1} == {2}
    assert session.undo().classes == own.classes


def test_merging_and_removing_classes_takes_borrowed_seeds_along(slide, lender):
    own = Session.new(slide).add_class(make_class("Fat", "#336699")).seed([slide.patch_names[0]], 2)
    classes = (SeedClass(name="Other", color="#00a6fb"), SeedClass(name="Gland", color="#ffb000"))
    session = borrowed(slide, lender, own, classes)
    names = [each.name for each in session.classes]
    merged = session.remove_class(names.index("Gland"), into=names.index("Fat"))
    of = {each.name: label for label, each in enumerate(merged.classes)}
    assert sorted(merged.loans[0].seeds.values()) == sorted([of["Other"]] * 4 + [of["Fat"]] * 4)
    removed = session.remove_class(names.index("Gland"))
    assert len(removed.loans[0].seeds) == 4
    assert removed.remove_class([e.name for e in removed.classes].index("Other")).loans == ()
    assert removed.undo().loans == session.loans
    # A class added later never has the number of one that came with a loan.
    numbers = session.undo().add_class(make_class("New", "#112233")).state.numbers
    assert numbers[-1] not in session.state.numbers[-1:]


def test_own_seeds_and_borrowed_ones_label_together_as_the_estimator_does(slide, lender):
    source, seeds = lender
    own = [str(name) for name in slide.patch_names[-30:-25]]
    session = borrowed(slide, lender).seed(own, 1)
    session, scores = ran(slide, session)
    y = np.full(slide.n_patches, -1)
    y[[slide.index[name] for name in own]] = 1
    rows = np.array(sorted(source.index[name] for name in seeds))
    labels = np.array([seeds[str(source.patch_names[row])] for row in rows])
    guests = Guests(source.prepared.neighbourhoods(rows), labels)
    expected = SeededIterativeClustering(method="refine").fit(slide.prepared, y, guests=guests)
    assert np.array_equal(session.run.unpack(), expected.labels_)
    assert np.array_equal(scores, expected.scores_)
    assert (session.run.unpack()[y == 1] == 1).all()
    assert not session.is_stale
    assert session.give_back("cases/there.h5ad").is_stale
    # Every class may have its seeds among the guests alone; without them class 0 has none.
    with pytest.raises(SessionError, match="Each class needs a seed: Gland 5, Stroma 0"):
        cluster(slide, session.classes, session.seeds)
    with pytest.raises(SessionError, match="need the refined method"):
        ran(slide, session, method="sic")


def test_a_borrowed_run_is_replayed_bit_for_bit_from_its_file(slide, lender, tmp_path):
    session, scores = ran(slide, borrowed(slide, lender).seed([str(slide.patch_names[3])], 0), border=0.4)
    save_session(session_path(slide.path), session)
    again = open_slide_file(slide.path)
    loaded = load_session(session_path(slide.path), again)
    assert loaded == session
    labelled = replay(again, loaded)
    assert labelled.classes == session.run_classes
    labels = session.run.unpack()
    assert np.array_equal(labelled.labels, labels)
    assert np.array_equal(labelled.scores, scores[np.arange(len(labels)), labels])
    # Seeds that came or went since do not change what was run.
    assert np.array_equal(replay(again, loaded.give_back("cases/there.h5ad")).labels, labels)
    write_labels(labelled, tmp_path / "out.h5ad")
    told = json.loads(anndata.read_h5ad(tmp_path / "out.h5ad").uns["sic"])
    assert told["run"]["loans"][0]["slide"] == "there"
    assert "cases" not in json.dumps(told)


def test_what_cannot_be_replayed_says_why(slide, lender):
    session, _ = ran(slide, borrowed(slide, lender))
    path = lender[0].path
    away = path.rename(path.with_name("away.h5ad"))
    with pytest.raises(SessionError, match=r"cases/there\.h5ad: is not there, and 8 seeds are borrowed"):
        replay(slide, session)
    adata = anndata.read_h5ad(away)
    adata.X = adata.X + 1
    adata.write_h5ad(path, convert_strings_to_categoricals=False)
    with pytest.raises(SessionError, match="its embeddings have changed since"):
        replay(slide, session)
    # Run anew it takes what is there now.
    assert ran(slide, session)[0].run.loans[0].sample != session.run.loans[0].sample
    write_mosaic(path.parent, "other")[0].replace(path)
    with pytest.raises(SessionError, match="holds other patches than when its seeds were borrowed"):
        replay(slide, session)
    away.replace(path)
    assert len(replay(slide, session).labels) == slide.n_patches


def test_only_admitted_files_lend(slide, lender):
    session, _ = ran(slide, borrowed(slide, lender))
    beside = only_from(lambda path: path.parent == slide.path.parent)
    with beside, pytest.raises(SessionError, match="is not there"):
        replay(slide, session)
    with only_from(lambda path: path == lender[0].path.resolve()):
        assert len(replay(slide, session).labels) == slide.n_patches
    assert len(replay(slide, session).labels) == slide.n_patches


def test_a_slide_of_another_embedding_lends_nothing(slide, tmp_path):
    path, truth = write_mosaic(tmp_path, "other", known={"encoder": {"name": "else"}, "grid": {}})
    other = open_slide_file(path)
    with pytest.raises(SessionError, match=r"encoder \(else there, net here\)"):
        lend(other, seeds_of(path, truth), slide)
    with pytest.raises(SessionError, match="cannot borrow its own"):
        lend(slide, {str(slide.patch_names[0]): 1}, slide)
    with pytest.raises(SessionError, match="has no seeds to borrow"):
        lend(other, {}, slide)


def test_the_embedding_that_is_alike_is_found_under_another_name(slide, lender):
    source, seeds = lender
    adata = anndata.read_h5ad(source.path)
    known = json.loads(adata.uns["embedder"])
    adata.obsm["X_net"] = adata.X.copy()
    adata.X = np.random.default_rng(0).normal(size=adata.shape).astype(np.float32)
    known["encoders"] = [{"key": "obsm/X_net", **known["encoder"], **known["grid"]}]
    known["encoder"] = {"name": "else"}
    adata.uns["embedder"] = json.dumps(known)
    adata.write_h5ad(source.path, convert_strings_to_categoricals=False)
    source = open_slide_file(source.path)
    session, _ = ran(slide, borrowed(slide, (source, seeds)))
    assert session.run.loans[0].embedding == "net"
    assert len(replay(slide, session).labels) == slide.n_patches


def test_unlike_patches_are_those_of_a_tissue_that_nobody_seeded_until_somebody_does(slide, lender):
    strange = np.arange(slide.n_patches) >= 24 * 13
    guests = guests_of(slide, borrowed(slide, lender).loans)
    found = flag_unlike(slide, {}, guests)
    assert found[strange].mean() > 0.9
    assert found[~strange].mean() < 0.3
    seeds = {str(name): 1 for name in slide.patch_names[24 * 13 :: 5]}
    assert flag_unlike(slide, seeds, guests)[strange].mean() < 0.1
    assert flag_unlike(slide, seeds, ()) is None


def test_suggestions_and_the_stop_sign_work_with_borrowed_seeds_alone(slide, lender):
    from tissuumaps_sic.annotation.runs import fit

    session = borrowed(slide, lender)
    estimator, _ = fit(slide, session.classes, {}, guests=guests_of(slide, session.loans))
    assert len(set(estimator.suggest(5).tolist())) == 5
    flips = estimator.flips(10)
    assert flips.shape == (slide.n_patches,)
    # The border between the tissues hangs on single seeds, and not the middle of either.
    assert 0 < flips.mean() < 0.5


@pytest.mark.parametrize("schema", ["tissuumaps-sic/session/1", "tissuumaps-sic/session/2"])
def test_sessions_of_before_are_read(slide, tmp_path, schema):
    names = [str(name) for name in slide.patch_names]
    session = Session.new(slide).seed([names[0]], 0).seed([names[23]], 1)
    session, _ = ran(slide, session)
    data = json.loads(session.model_dump_json(by_alias=True)) | {"schema": schema}
    del data["run"]["loans"]
    (tmp_path / "old.sic.json").write_text(json.dumps(data))
    loaded = load_session(tmp_path / "old.sic.json", slide)
    assert loaded == session
    assert loaded.loans == ()
    assert not loaded.is_stale
    save_session(tmp_path / "new.sic.json", loaded)
    assert json.loads((tmp_path / "new.sic.json").read_text())["schema"] == "tissuumaps-sic/session/3"


@pytest.mark.parametrize(
    "change",
    [
        {"path": "/etc/slide.h5ad"},
        {"path": "C:/slide.h5ad"},
        {"path": "a\\b.h5ad"},
        {"path": "a\0.h5ad"},
        {"path": "passwd"},
        {"seeds": {}},
        {"seeds": {"a": -1}},
        {"seeds": {"a": 7}},
    ],
)
def test_a_spoilt_loan_is_told_and_not_used(slide, lender, tmp_path, change):
    data = json.loads(borrowed(slide, lender).model_dump_json(by_alias=True))
    data["actions"][0]["loan"] |= change
    (tmp_path / "x.sic.json").write_text(json.dumps(data))
    with pytest.raises(SessionError, match="not a session"):
        load_session(tmp_path / "x.sic.json", slide)


def test_a_loan_of_a_run_without_its_seeds_is_not_replayed(slide, lender):
    session, _ = ran(slide, borrowed(slide, lender))
    bare = session.model_copy(update={"run": session.run.model_copy(update={"loans": ()})})
    with pytest.raises(SessionError, match="came from seeds of another slide"):
        replay(slide, bare)


def test_borrowing_again_takes_the_seeds_of_now(slide, lender):
    source, seeds = lender
    session = borrowed(slide, lender)
    fewer = dict(list(seeds.items())[::2])
    again = session.borrow(lend(source, fewer, slide), CLASSES)
    assert [loan.seeds for loan in again.loans] == [fewer]
    assert [loan.seeds for loan in again.undo().loans] == [seeds]
    shutil.copy(source.path, source.path.with_name("third.h5ad"))
    third = open_slide_file(source.path.with_name("third.h5ad"))
    both = again.borrow(lend(third, fewer, slide), CLASSES)
    assert [loan.path for loan in both.loans] == ["cases/there.h5ad", "cases/third.h5ad"]
    assert isinstance(both.loans[0], Loan)
