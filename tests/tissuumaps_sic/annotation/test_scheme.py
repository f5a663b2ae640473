"""Any class scheme: a folder's list, any name, and a run with those classes that the slide has."""

import json

import numpy as np
import pytest

from tissuumaps_sic.annotation.classes import SeedClass, make_class
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import cluster, label, replay
from tissuumaps_sic.annotation.scheme import FILE, find_scheme, read_scheme, write_scheme
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session
from tissuumaps_sic.export.formats import FORMATS
from tissuumaps_sic.slides.slide import open_slide_file

NAMES = [
    "Barrett's",
    "T & N",
    "<5 %",
    'quoted "x"',
    "腫瘍",
    "сосуд",
    "ورم",
    "a/b\\c:*?",
    "#1 50% ~",
    "__proto__",
]


@pytest.fixture
def slide(small_h5ad):
    return open_slide_file(small_h5ad)


def three(slide):
    return Session.new(slide).add_class(SeedClass(name="Necrosis", color="#009e73"))


@pytest.mark.parametrize("method", ["refine", "sic"])
def test_a_run_is_of_the_classes_that_have_seeds(slide, method):
    names = [str(name) for name in slide.patch_names]
    plain = Session.new(slide).seed(names[:2], 0).seed(names[-2:], 1)
    more = three(slide).seed(names[:2], 0).seed(names[-2:], 1)
    expected, scores = cluster(slide, plain.classes, plain.seeds, method=method)
    run, wider = cluster(slide, more.classes, more.seeds, method=method)
    assert run.labels == expected.labels
    assert run.counts == (*expected.counts, 0)
    assert np.array_equal(wider, np.column_stack([scores, np.zeros(slide.n_patches, np.float32)]))
    labelled = label(slide, more, method=method)
    assert not labelled.session.is_stale
    assert np.array_equal(replay(slide, labelled.session).labels, labelled.labels)


@pytest.mark.parametrize("method", ["refine", "sic"])
@pytest.mark.parametrize("used", [(0, 2), (1, 2), (2, 1)])
def test_the_positive_class_stays_it_and_where_it_has_no_seeds_the_first_takes_its_place(slide, method, used):
    names = [str(name) for name in slide.patch_names]
    session = three(slide).seed(names[:3], used[0]).seed(names[-3:], used[1])
    run, scores = cluster(slide, session.classes, session.seeds, method=method, border=0.4)
    labels = run.unpack()
    assert set(labels.tolist()) == set(used)
    assert (scores[:, next(iter({0, 1, 2} - set(used)))] == 0).all()
    # As if the class that is not there had never been.
    positive = 1 if 1 in used else 0
    code = {positive: 1, next(each for each in used if each != positive): 0}
    plain = Session.new(slide).seed(names[:3], code[used[0]]).seed(names[-3:], code[used[1]])
    border = 0.4 if positive == 1 else None
    expected = cluster(slide, plain.classes, plain.seeds, method=method, border=border)[0].unpack()
    assert [code[each] for each in labels.tolist()] == expected.tolist()


def test_every_format_is_written_where_a_class_is_not_used(slide, tmp_path):
    names = [str(name) for name in slide.patch_names]
    session = three(slide).seed(names[:2], 0).seed(names[-2:], 2)
    labelled = label(slide, session)
    for name, row in FORMATS.items():
        # A mask needs a resolution, which this file does not tell, and LazySlide's a store of its own.
        if name not in ("h5ad", "mask", "lazyslide"):
            row.write(labelled, tmp_path / f"out.{row.ending}")


def test_what_lacks_seeds_is_told_with_all_counts(slide):
    session = three(slide)
    with pytest.raises(SessionError, match="Two classes need a seed each: Tumour 0, Other 0, Necrosis 0"):
        cluster(slide, session.classes, session.seeds)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_may_have_any_sign(slide, tmp_path, name):
    session = Session.new(slide).with_class(1, make_class(name, "#ffb000"))
    assert session.classes[1].name == name
    patches = [str(each) for each in slide.patch_names]
    session = label(slide, session.seed(patches[:2], 0).seed(patches[-2:], 1)).session
    path = tmp_path / "small.sic.json"
    save_session(path, session)
    again = load_session(path, slide)
    assert again == session
    assert again.run_classes[1].name == name


def test_names_are_of_one_line_and_spelt_in_one_way():
    assert make_class("  a \n b\t\x00c ", "#000000").name == "a b c"
    assert make_class("e\u0301", "#000000").name == "é"
    for name, told in (
        (" ", "needs a name"),
        ("a" * 64, "has 64 characters, and the name of a class has 60 at most"),
    ):
        with pytest.raises(SessionError, match=told):
            make_class(name, "#000000")


def test_a_class_list_is_what_new_sessions_begin_with(slide, tmp_path):
    classes = (*Session.new(slide).classes, make_class("Barrett's", "#009e73"))
    path = tmp_path / FILE
    write_scheme(path, classes)
    listed = json.loads(path.read_text())["classes"]
    # As people see them: the positive class is the first.
    assert [each["name"] for each in listed] == ["Tumour", "Other", "Barrett's"]
    scheme = read_scheme(path)
    assert scheme.classes == classes
    session = scheme.start(slide)
    assert session.classes == classes
    assert session.revision == scheme.revision > 0
    session = session.seed([str(slide.patch_names[0])], 2)
    save_session(tmp_path / "small.sic.json", session)
    assert load_session(tmp_path / "small.sic.json", slide) == session
    # A person may leave colours out.
    path.write_text('{"schema": "tissuumaps-sic/classes/1", "classes": [{"name": "A"}, {"name": "B"}]}')
    assert len({each.color for each in read_scheme(path).classes}) == 2


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": "tissuumaps-sic/classes/1"}', "[" * 10_000]
    + [
        json.dumps({"schema": "tissuumaps-sic/classes/1", "classes": classes})
        for classes in (
            [{"name": "A"}],
            [{"name": "A"}, {"name": "A"}],
            [{"name": "A"}, {"name": ""}],
            [1, 2],
        )
    ],
)
def test_what_is_no_class_list_is_told(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(SessionError, match=r"classes\.json: is not a class list"):
        read_scheme(tmp_path / FILE)


def test_the_nearest_list_counts_and_none_from_where_nothing_may_be_read(tmp_path):
    inner = tmp_path / "served" / "patient"
    inner.mkdir(parents=True)
    (tmp_path / FILE).write_text("outside")
    served = tmp_path / "served"

    def admits(path):
        return path.is_relative_to(served)

    assert find_scheme(inner, admits) is None
    (served / FILE).write_text("{}")
    assert find_scheme(inner, admits) == served / FILE
    (inner / FILE).write_text("{}")
    assert find_scheme(inner, admits) == inner / FILE
