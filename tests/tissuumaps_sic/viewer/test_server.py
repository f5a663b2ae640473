"""What requests cost, which of them wait, and what is answered when something is not as it should be."""

import errno
import json
import os
import shutil
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from making.files import write_small_h5ad
from making.server import ask

from tissuumaps_sic.annotation import actions, next_patches
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import editing, load_session, session_path
from tissuumaps_sic.export.formats import FORMATS
from tissuumaps_sic.labelling.methods import DEFAULT_METHOD, METHODS
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.h5ad import SlideFileError
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer import alike, answers, exports, opened, overview, runs, suggestions, turns
from tissuumaps_sic.viewer.endpoints import Server
from tissuumaps_sic.viewer.jobs import FullError, Room

SEEDS = {0: 0, 13: 0, 11: 1, 22: 1}


class Page:
    """What a browser's page does to one session of a slide."""

    def __init__(self, server, h5ad, name=""):
        self.server, self.h5ad, self.revision = server, h5ad, 0
        self.about = {"h5ad": h5ad.name, "session": name}

    def ask(self, endpoint, **content):
        found = ask(self.server, endpoint, self.h5ad.parent, {**self.about, **content})
        state, *arrays = found if isinstance(found, tuple) else (found,)
        self.revision = state.get("revision", self.revision)
        return (state, *arrays) if arrays else state

    def change(self, **what):
        return self.ask("change", revision=self.revision, change=what)

    def seed(self, label, *rows):
        return self.change(kind="seed", label=label, patches=list(rows))

    def seed_and_run(self):
        for row, label in SEEDS.items():
            self.seed(label, row)
        return self.ask("run", revision=self.revision)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def page(server, small_h5ad):
    return Page(server, small_h5ad)


@pytest.fixture
def counted(monkeypatch):
    """How often actions were done and sessions read since it was cleared."""
    count = Counter()

    def counting(name, real):
        def counted_one(*args, **options):
            count[name] += 1
            return real(*args, **options)

        return counted_one

    monkeypatch.setattr(actions, "do", counting("done", actions.do))
    monkeypatch.setattr(opened, "load_session", counting("read", opened.load_session))
    return count


@pytest.fixture(scope="module")
def large_h5ad(tmp_path_factory):
    return write_small_h5ad(tmp_path_factory.mktemp("large") / "large.h5ad", columns=100, rows=100)


def test_a_click_costs_one_action_whatever_came_before_it(server, large_h5ad, counted):
    page = Page(server, large_h5ad, "clicks")
    rng = np.random.default_rng(0)
    for number in range(40):
        page.seed(number % 2, *np.sort(rng.choice(10_000, 5000, replace=False)).tolist())
    lassoed = session_path(large_h5ad, "clicks").stat().st_size
    # Of today's form it were four megabytes.
    assert lassoed < 200_000
    for what in ("seed", "clear", "seed"):
        counted.clear()
        page.change(kind="clear") if what == "clear" else page.seed(1, 7)
        assert counted == {"done": 1}
    assert session_path(large_h5ad, "clicks").stat().st_size < lassoed + 1000
    counted.clear()
    state = page.ask("open")
    assert not counted
    assert state["seeds"] == {"patches": [7], "labels": [1]}


def test_going_back_to_the_first_click_costs_what_lies_between(small_h5ad, counted, monkeypatch):
    """Not every undo all of the history."""
    monkeypatch.setattr(actions, "_SPACING", 100)
    seeded = Session.new(open_slide_file(small_h5ad))
    for number in range(90):
        seeded = seeded.seed_rows(np.array([number]), number % 2)
    counted.clear()
    undone = seeded
    for number in range(90):
        undone = undone.undo()
        assert undone.seed_counts == [(90 - number) // 2, (89 - number) // 2]
    assert counted["done"] < 90 * 90 / 2 / 5
    assert not undone.can_undo
    for _ in range(90):
        undone = undone.redo()
    assert undone.seeds == seeded.seeds
    assert list(undone.seeds) == list(seeded.seeds)


def test_what_is_kept_of_a_session_is_bounded(server, large_h5ad):
    page = Page(server, large_h5ad, "kept")
    kept = page.server._shared.opened._sessions
    rows = list(range(5000))
    for number in range(60):
        page.seed(number % 2, *rows)
    (known,) = [each for path, (_, each, _) in kept._kept.items() if "kept" in path.name]
    assert len(known._states) <= actions._MOST_STATES + 2
    for number in range(30):
        Page(server, large_h5ad, f"reader {number}").seed(1, number)
    assert len(kept._kept) == kept._MOST
    kept._MOST_PATCHES = 35_000
    Page(server, large_h5ad, "one more").seed(1, 3)
    assert len(kept._kept) == 3


def test_what_another_program_writes_is_read_again(server, small_h5ad):
    """Another server, an editor, or someone who puts an old copy back."""
    page, other = Page(server, small_h5ad), Page(Server(), small_h5ad)
    page.seed(1, 3)
    path = session_path(small_h5ad)
    shutil.copy2(path, path.with_name("copy"))
    other.ask("open")
    other.seed(0, 4)
    assert page.ask("open")["seeds"] == {"patches": [3, 4], "labels": [1, 0]}
    page.seed(0, 5)
    path.with_name("copy").replace(path)
    assert page.ask("open")["seeds"] == {"patches": [3], "labels": [1]}
    saved = json.loads(path.read_text())
    saved["actions"][0]["label"] = 0
    path.write_text(json.dumps(saved))
    assert page.ask("open")["seeds"] == {"patches": [3], "labels": [0]}
    path.unlink()
    assert page.ask("open")["seeds"]["patches"] == []


def test_a_click_that_could_not_be_saved_is_not_there(server, small_h5ad, monkeypatch):
    page = Page(server, small_h5ad)
    page.seed(1, 3)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SicError, match="No space left on device"):
        page.seed(1, 4)
    monkeypatch.undo()
    assert page.ask("open")["seeds"]["patches"] == [3]
    page.seed(1, 5)
    assert load_session(session_path(small_h5ad), open_slide_file(small_h5ad)).seed_counts == [0, 2]


def test_readers_who_run_in_one_second_get_their_own_scores(server, small_h5ad, monkeypatch):
    monkeypatch.setattr("tissuumaps_sic.annotation.runs.now", lambda: "2025-01-01T00:00:00+00:00")
    anna, ben = Page(server, small_h5ad, "Anna"), Page(server, small_h5ad, "Ben")
    found = []
    for page, more in ((anna, 1), (ben, 2)):
        page.seed(0, more)
        found.append(page.seed_and_run()[1])
    assert np.array_equal(*found), "the labels differ, so that nothing was shown"
    kept = [page.ask("scores", revision=page.revision)[1] for page in (anna, ben)]
    assert not np.array_equal(*kept)
    for page, scores in zip((anna, ben), kept, strict=True):
        page.server = Server()  # which has to find them anew
        assert np.array_equal(page.ask("scores", revision=page.revision)[1], scores)


def test_scores_are_kept_for_the_run_that_they_are_of(page, monkeypatch):
    page.seed_and_run()
    monkeypatch.setattr(runs, "cluster", None)
    page.ask("scores", revision=page.revision)
    page.seed(1, 5)
    page.ask("scores", revision=page.revision)


@pytest.mark.parametrize(
    "numbers",
    [[], [0], [5], [0, 9, 10, 11, 99, 100, 2**31, 2**32 - 1], range(12_345), [7] * 99, [0, 13, 26] * 200],
    ids=["none", "nought", "one", "of all lengths", "many", "equal", "up and down"],
)  # fmt: skip
def test_numbers_are_written_as_json_writes_them(numbers):
    text = answers.join_numbers(np.array(list(numbers), np.int64))
    assert text == ",".join(str(number) for number in numbers)


def test_an_answer_with_many_seeds_is_the_json_of_its_lists(server, large_h5ad):
    page = Page(server, large_h5ad, "answered")
    state = page.seed(1, *range(0, 9000, 7))
    told = json.loads(answers.as_json(state))
    assert told["seeds"] == {"patches": list(range(0, 9000, 7)), "labels": [1] * 1286} == state["seeds"]
    assert told.keys() == state.keys()
    assert {**told, "seeds": None} == json.loads(json.dumps({**state, "seeds": None}))


@pytest.fixture
def moment(monkeypatch):
    """Nobody waits long before he counts as waiting."""
    monkeypatch.setattr(turns, "_MOMENT_SECONDS", 0.05)
    return Server()


def test_few_wait_for_a_slide_and_the_others_are_told_at_once(moment, small_h5ad):
    """While another program keeps the session, 24 clicks must not take all of the server's threads."""
    pages = [Page(moment, small_h5ad, f"reader {number}") for number in range(24)]
    with ThreadPoolExecutor(24) as pool:
        with editing(small_h5ad):
            clicks = [pool.submit(page.seed, 1, 3) for page in pages]
            refused = [each for each in clicks if not _waits(each, clicks)]
            assert len(refused) == 24 - turns._MOST_OF_SLIDE
            for each in refused:
                assert each.exception().status == 503
                assert "try again in a moment" in str(each.exception())
            # All else is answered meanwhile.
            assert pages[0].ask("open")["revision"] == 0
            assert pages[0].ask("progress", job="token-of-a-page") == {"stage": None, "share": None}
            assert pages[0].ask("cancel", job="token-of-a-page") == {"running": False}
        waited = [each.result(60) for each in clicks if each not in refused]
    assert all(state["revision"] == 1 for state in waited)
    # Who was refused can come again.
    assert Page(moment, small_h5ad, "one more").seed(1, 3)["revision"] == 1


def _waits(click, clicks):
    """Whether a click is one of those that wait; the others are refused first."""
    while sum(each.done() for each in clicks) < len(clicks) - turns._MOST_OF_SLIDE:
        threading.Event().wait(0.01)
    return not click.done()


def test_one_slide_that_is_kept_leaves_places_for_others(moment, tmp_path):
    kept, other = (write_small_h5ad(tmp_path / f"{name}.h5ad") for name in "ab")
    with ThreadPoolExecutor(24) as pool:
        with editing(kept):
            clicks = [pool.submit(Page(moment, kept, f"reader {n}").seed, 1, 3) for n in range(12)]
            for each in clicks:
                _waits(each, clicks)
            assert Page(moment, other).seed_and_run()[0]["run"]["counts"]
        for each in clicks:
            each.exception(60)


def test_a_run_that_is_done_is_saved_however_many_wait(moment, small_h5ad, monkeypatch):
    runner = Page(moment, small_h5ad)
    for row, label in SEEDS.items():
        runner.seed(label, row)
    begun, goes_on = threading.Event(), threading.Event()
    quick = runs.cluster

    def slow(*args, **options):
        begun.set()
        assert goes_on.wait(60)
        return quick(*args, **options)

    monkeypatch.setattr(runs, "cluster", slow)
    with ThreadPoolExecutor(24) as pool:
        running = pool.submit(runner.ask, "run", revision=runner.revision)
        assert begun.wait(60)
        with editing(small_h5ad):
            clicks = [pool.submit(Page(moment, small_h5ad, f"reader {n}").seed, 1, 3) for n in range(16)]
            while sum(each.done() for each in clicks) < 16 - turns._MOST_OF_SLIDE + 1:
                goes_on.wait(0.01)
            goes_on.set()
            # It waits for the session with the others.
            with pytest.raises(TimeoutError):
                running.result(0.3)
        assert running.result(60)[0]["run"]["counts"]
        for each in clicks:
            each.exception(60)


def test_runs_beyond_those_that_may_wait_are_told_at_once(moment, small_h5ad):
    page = Page(moment, small_h5ad)
    for row, label in SEEDS.items():
        page.seed(label, row)
    with ThreadPoolExecutor(24) as pool:
        with moment._shared.turns.clustering(small_h5ad):
            asked = [pool.submit(page.ask, "suggest", revision=page.revision) for _ in range(24)]
            refused = [each for each in asked if not _waits(each, asked)]
            assert {each.exception().status for each in refused} == {503}
            assert page.ask("open")["revision"] == page.revision
        assert len([each.result(60) for each in asked if each not in refused]) == turns._MOST_OF_SLIDE


def test_places_are_given_back(tmp_path):
    room = Room(3, 2, patience=0.0)
    with room.place(tmp_path / "a"), room.place(tmp_path / "a"):
        with pytest.raises(FullError, match="takes no more of this slide now"), room.place(tmp_path / "a"):
            pass
        with (
            room.place(tmp_path / "b"),
            pytest.raises(FullError, match="takes no more of other pages now"),
            room.place(tmp_path / "c"),
        ):
            pass
        with pytest.raises(KeyError), room.place(tmp_path / "b"):
            raise KeyError
    assert not room._taken


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (SlideFileError("x.h5ad: no provenance"), 422),
        (OSError(errno.EIO, "Input/output error", "/secret/x.h5ad"), 507),
        (MemoryError(), 507),
    ],
)
@pytest.mark.parametrize(
    "endpoint",
    [
        *("regions", "labels", "run", "suggest", "why", "map", "export", "open"),
        *("opinion", "alike", "likeness"),
    ],
)
def test_a_fault_of_a_file_is_told_wherever_it_comes_up(page, monkeypatch, endpoint, fault, status):
    page.seed_and_run()

    def fail(*_, **__):
        raise fault

    for module, name in (
        (exports, "find_regions"),
        (runs, "cluster"),
        (next_patches, "choose_typical"),
        (overview, "read_layout"),
        (suggestions, "cosines"),
        (suggestions, "ask_second_opinion"),
        (alike, "cosines"),
        (alike, "_likeness"),
        (opened, "session_names"),
    ):
        monkeypatch.setattr(module, name, fail)
    monkeypatch.setitem(exports.FORMATS, "csv", _Failing(fail))
    more = {
        "why": {"patch": 3},
        "alike": {"patch": 3},
        "likeness": {"patch": 3},
        "export": {"format": "csv"},
        **dict.fromkeys(("open", "map", "labels"), None),
    }.get(endpoint, {})
    is_seen = more is not None and endpoint not in ("alike", "likeness")
    content = (more or {}) | ({"revision": page.revision} if is_seen else {})
    with pytest.raises(SicError) as caught:
        page.ask(endpoint, **content)
    assert caught.value.status == status
    assert "secret" not in str(caught.value)


class _Failing:
    ending, in_panel = "csv", True

    def __init__(self, write):
        self.write = write


def test_a_mistake_of_ours_is_told_as_one(page, monkeypatch):
    def fail(*_, **__):
        raise KeyError("nobody expected this")

    monkeypatch.setattr(opened, "session_names", fail)
    with pytest.raises(KeyError):
        page.ask("open")


@pytest.mark.parametrize("format_", ["csv", "geojson", "h5ad", "html"])
def test_a_temporary_folder_that_is_gone_is_named(page, tmp_path, monkeypatch, format_):
    page.seed_and_run()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(SicError, match=r"gone cannot be used \(No such file.*TMPDIR") as caught:
        page.ask("export", revision=page.revision, format=format_)
    assert caught.value.status == 507


def test_a_temporary_folder_that_cannot_be_written_is_not_told_as_full(page, monkeypatch):
    page.seed_and_run()

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(exports.tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(SicError, match=r"cannot be used \(Permission denied\)") as caught:
        page.ask("export", revision=page.revision, format="csv")
    assert caught.value.status == 507


def test_a_temporary_folder_without_room_is_named_before_anything_is_copied(page, monkeypatch):
    page.seed_and_run()
    usage = shutil.disk_usage(tempfile.gettempdir())
    monkeypatch.setattr(exports.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    monkeypatch.setitem(exports.FORMATS, "h5ad", _Failing(None))
    told = r"does not fit into the temporary folder .* about 0\.\d MB are needed and 0\.0 MB are free"
    with pytest.raises(SicError, match=told) as caught:
        page.ask("export", revision=page.revision, format="h5ad")
    assert caught.value.status == 507


def test_a_temporary_folder_that_fills_is_named_and_left_empty(page, tmp_path, monkeypatch):
    page.seed_and_run()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fill(_labelled, target, *_):
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(exports.FORMATS, "csv", _Failing(fill))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SicError, match=r"\(No space left on device\): more is needed and .* are free"):
        page.ask("export", revision=page.revision, format="csv")
    assert sorted(tmp_path.iterdir()) == before


def test_a_pipe_in_place_of_a_session_is_told_and_not_waited_for(page, small_h5ad):
    os.mkfifo(session_path(small_h5ad))
    for ask_again in (lambda: page.ask("open"), lambda: page.seed(1, 3)):
        with pytest.raises(SicError, match="it is a pipe") as caught:
            ask_again()
        assert caught.value.status == 409
    (row,) = page.ask("worklist")["slides"]
    assert "it is a pipe" in row["problem"]


def test_a_session_keeps_its_mode(page, small_h5ad):
    page.seed(1, 3)
    session_path(small_h5ad).chmod(0o600)
    page.seed(1, 4)
    assert session_path(small_h5ad).stat().st_mode & 0o777 == 0o600


def test_a_page_is_sent_what_it_offers_when_a_slide_is_opened_and_not_again(page):
    tables = page.ask("open")["tables"]
    assert [each["name"] for each in tables["methods"]] == ["refine", "sic"]
    assert tables["methods"][0]["name"] == DEFAULT_METHOD
    assert {each["name"] for each in tables["methods"]} == set(METHODS)
    assert [each["name"] for each in tables["exports"]] == [
        name for name in FORMATS if FORMATS[name].is_offered
    ]
    assert all(each.keys() == {"name", "words", "use"} for each in tables["exports"])
    assert tables["signs"][:9] == [""] * 7 + ["A", "B"]
    assert len(set(tables["signs"])) == tables["most_classes"] - 6
    assert "tables" not in page.seed(0, 0)
    # One class more than is told is refused, and no class before.
    for number in range(tables["most_classes"] - len(page.ask("open")["classes"])):
        page.change(kind="add-class", name=f"Class {number}")
    with pytest.raises(SicError, match="the most there can be"):
        page.change(kind="add-class", name="One more")
