"""What pages are told of where to click first, and of which clicks to doubt."""

import anndata
import numpy as np
import pytest
from making.many import write_mosaic
from making.server import ask

from tissuumaps_sic.annotation.store import session_path
from tissuumaps_sic.labelling.typical import is_untold
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.viewer.endpoints import Server
from tissuumaps_sic.viewer.tables import page_tables


@pytest.fixture
def slide(tmp_path):
    return write_mosaic(tmp_path, "one")


@pytest.fixture
def page(slide):
    h5ad, _ = slide
    server = Server()

    def call(endpoint, **content):
        asked = {"h5ad": h5ad.name, "revision": call.revision, **content}
        return ask(server, endpoint, h5ad.parent, asked)

    def change(**what):
        call.revision = call("change", user="Anna", change=what)["revision"]

    call.revision, call.change = 0, change
    return call


def of_class(truth, label, n):
    return np.random.default_rng(3).choice(np.flatnonzero(truth == label), n, replace=False).tolist()


def test_an_untouched_slide_has_typical_patches_of_every_tissue_and_nothing_is_written(page, slide):
    h5ad, truth = slide
    answer = page("suggest", n=6)
    assert set(answer) == {"patches", "flips", "cold"}
    assert answer["cold"] is True
    assert answer["flips"] is None
    assert len(set(answer["patches"])) == 6
    assert set(truth[answer["patches"]]) == {0, 1}
    assert not session_path(h5ad).exists()


def test_what_was_shown_skipped_or_seeded_is_not_typical_again(page):
    first = page("suggest", n=6)["patches"]
    again = page("suggest", n=6, shown=first)
    assert again["cold"] is True
    assert not set(first) & set(again["patches"])
    page.change(kind="skip", patches=first[:1])
    page.change(kind="seed", label=1, patches=first[1:3])
    rest = page("suggest", n=20)
    assert rest["cold"] is True
    assert not set(first[:3]) & set(rest["patches"])


def test_glass_is_not_typical(page, slide):
    h5ad, truth = slide
    adata = anndata.read_h5ad(h5ad)
    adata.obs["tissue"] = np.where(truth == 1, 1.0, 0.2).astype(np.float32)
    adata.write_h5ad(h5ad, convert_strings_to_categoricals=False)
    found = page("suggest", n=20)["patches"]
    assert set(truth[found]) == {1}


def test_from_six_seeds_of_two_classes_on_it_is_of_what_is_in_doubt(page, slide):
    _, truth = slide
    page.change(kind="seed", label=1, patches=of_class(truth, 1, 7))
    assert page("suggest", n=3)["cold"] is True  # one class, however many seeds
    page.change(kind="undo")
    page.change(kind="seed", label=1, patches=of_class(truth, 1, 3))
    page.change(kind="seed", label=0, patches=of_class(truth, 0, 2))
    assert page("suggest", n=3)["cold"] is True
    page.change(kind="seed", label=0, patches=of_class(truth, 0, 3))
    answer = page("suggest", n=3)
    assert answer["cold"] is False
    assert 0 <= answer["flips"] <= 1


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"n": 101}, {"shown": [-1]}, {"method": "x"}, {"embedding": "x"}]
)
def test_a_suggestion_that_is_not_understood_is_refused_on_an_untouched_slide(page, wrong):
    with pytest.raises(SicError):
        page("suggest", **wrong)


def test_the_seed_that_all_others_contradict_is_told_with_what_they_say(page, slide):
    h5ad, truth = slide
    tumour, other = of_class(truth, 1, 6), of_class(truth, 0, 5)
    wrong = tumour.pop()
    page.change(kind="seed", label=1, patches=tumour)
    page.change(kind="seed", label=0, patches=[*other, wrong])
    before = session_path(h5ad).read_bytes()
    answer = page("judge")
    assert set(answer) == {"doubtful", "accuracy", "judged"}
    (doubt,) = answer["doubtful"]
    assert doubt == {"patch": wrong, "label": 0, "expected": 1, "score": doubt["score"]}
    assert 0.5 < doubt["score"] <= 1
    assert answer["judged"] == 11
    assert answer["accuracy"] == pytest.approx(10 / 11)
    assert session_path(h5ad).read_bytes() == before
    page.change(kind="seed", label=1, patches=[wrong])
    assert page("judge") == {"doubtful": [], "accuracy": 1.0, "judged": 11}


def test_a_classs_only_seed_is_not_judged(page, slide):
    _, truth = slide
    page.change(kind="seed", label=1, patches=of_class(truth, 1, 1))
    page.change(kind="seed", label=0, patches=of_class(truth, 0, 1))
    assert page("judge") == {"doubtful": [], "accuracy": None, "judged": 0}


def test_seeds_of_one_class_cannot_be_judged(page, slide):
    _, truth = slide
    with pytest.raises(SicError):
        page("judge")
    page.change(kind="seed", label=1, patches=of_class(truth, 1, 6))
    with pytest.raises(SicError):
        page("judge")
    with pytest.raises(SicError) as error:
        page("judge", revision=0)
    assert error.value.status == 409


def test_the_page_is_told_from_how_many_seeds_on_suggestions_are_of_what_is_in_doubt():
    told = page_tables()["fewest_seeds"]
    assert not is_untold(np.arange(told) % 2)
    assert is_untold(np.arange(told - 1) % 2)


# --------------------------------------------------------------------------------------------- second opinion


def test_a_second_opinion_names_pairs_of_classes_and_patches_that_nobody_spoke_of(page, slide):
    h5ad, truth = slide
    page.change(kind="add-class", name="Necrosis")
    page.change(kind="seed", label=2, patches=of_class(truth, 1, 3))
    page.change(kind="seed", label=0, patches=of_class(truth, 0, 3))
    before = session_path(h5ad).read_bytes()
    (pair,) = page("opinion")["pairs"]
    # Of the classes of the session, of which the first has no seed and is not used.
    assert sorted(pair["classes"]) == [0, 2]
    assert 0 < len(pair["patches"]) <= min(20, pair["n_patches"])
    assert session_path(h5ad).read_bytes() == before
    page.change(kind="skip", patches=pair["patches"][:1])
    rest = page("opinion", shown=pair["patches"][1:2])["pairs"]
    assert not set(pair["patches"][:2]) & {row for each in rest for row in each["patches"]}
    (one,) = page("opinion", n=1)["pairs"]
    assert len(one["patches"]) == 1


def test_a_second_opinion_is_of_tissue(page, slide):
    h5ad, truth = slide
    page.change(kind="seed", label=1, patches=of_class(truth, 1, 3))
    page.change(kind="seed", label=0, patches=of_class(truth, 0, 3))
    (pair,) = page("opinion")["pairs"]
    adata = anndata.read_h5ad(h5ad)
    tissue = np.ones(adata.n_obs, np.float32)
    tissue[pair["patches"][0]] = 0.2
    adata.obs["tissue"] = tissue
    adata.write_h5ad(h5ad, convert_strings_to_categoricals=False)
    found = page("opinion")["pairs"]
    assert pair["patches"][0] not in {row for each in found for row in each["patches"]}
    # Where all patches are mostly glass they are all that there is.
    adata.obs["tissue"] = np.full(adata.n_obs, 0.2, np.float32)
    adata.write_h5ad(h5ad, convert_strings_to_categoricals=False)
    assert page("opinion")["pairs"] == [pair]
    assert page("suggest", n=3)["patches"]


def test_without_two_classes_there_is_no_second_opinion(page, slide):
    _, truth = slide
    page.change(kind="seed", label=1, patches=of_class(truth, 1, 6))
    with pytest.raises(SicError, match="Each class needs a seed"):
        page("opinion")
