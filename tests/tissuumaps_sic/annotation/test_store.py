"""What stands in a session's file: old forms, packed ones, damaged ones, and files that are none."""

import base64
import json
import os
import socket
import tracemalloc
import zlib

import anndata
import numpy as np
import pytest
from making.files import write_small_h5ad

from tissuumaps_sic.annotation import document
from tissuumaps_sic.annotation.agreement import compare
from tissuumaps_sic.annotation.classes import SeedClass
from tissuumaps_sic.annotation.loans import Loan
from tissuumaps_sic.annotation.patch_rows import pack
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.runs import cluster
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, read_session, save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """1,500 patches, so that a session of half of them is a large one."""
    return open_slide_file(
        write_small_h5ad(tmp_path_factory.mktemp("slide") / "small.h5ad", columns=50, rows=30)
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "small.sic.json"


def by_name(slide, rows):
    return [str(slide.patch_names[row]) for row in rows]


def lassoed(slide, n=4):
    """A session of a few large lassos that cross."""
    session = Session.new(slide)
    for number in range(n):
        rows = np.flatnonzero(np.arange(slide.n_patches) % (number + 2) == 0)
        session = session.seed_rows(rows, number % 2, user="Anna")
    return session


def steps_of(session):
    """Every session that there is between the first click and the last one."""
    while session.can_undo:
        session = session.undo()
    yield session
    while session.can_redo:
        session = session.redo()
        yield session


def test_small_sessions_name_their_patches_and_older_versions_can_read_them(slide, path):
    session = Session.new(slide).seed(by_name(slide, [3, 4]), 1).seed(by_name(slide, [9]), 0)
    session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    save_session(path, session)
    saved = json.loads(path.read_text())
    assert saved["schema"] == "tissuumaps-sic/session/3"
    assert saved["actions"][0]["patches"] == by_name(slide, [3, 4])
    assert saved["run"]["seeds"] == dict.fromkeys(by_name(slide, [3, 4]), 1) | {by_name(slide, [9])[0]: 0}
    assert load_session(path, slide) == session


def test_large_sessions_have_rows_and_come_back_with_all_their_history(slide, path):
    session = lassoed(slide).with_class(1, SeedClass(name="Gleason 4", color="#123456")).clear()
    session = session.undo().seed(by_name(slide, [7]), None).undo()
    session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    save_session(path, session)
    assert json.loads(path.read_text())["schema"] == "tissuumaps-sic/session/5"
    again = load_session(path, slide)
    assert again == session
    assert not again.is_stale
    for one, other in zip(steps_of(session), steps_of(again), strict=True):
        assert list(one.seeds.items()) == list(other.seeds.items())
        assert one.classes == other.classes


def test_what_the_docstring_says_is_enough_to_read_a_large_session(slide, path):
    """Without this package, as another tool would."""
    session = Session.new(slide)
    for row in range(1100):
        session = session.seed_rows(np.array([row]), row % 2)
    session = session.seed_rows(np.arange(0, 1500, 3), 1)
    session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    save_session(path, session)

    def inflate(text):
        return zlib.decompress(base64.b64decode(text))

    def rows_of(rows):
        return rows if isinstance(rows, list) else np.cumsum(np.frombuffer(inflate(rows), "<i4")).tolist()

    saved = json.loads(path.read_text())
    actions = []
    for item in saved["history"]:
        actions += json.loads(inflate(item)) if isinstance(item, str) else [item]
    actions += saved["actions"]
    assert len(actions) == 1101 == saved["position"]
    seeds = {}
    for action in actions:
        seeds |= dict.fromkeys(rows_of(action["rows"]), action["label"])
    assert {str(slide.patch_names[row]): label for row, label in seeds.items()} == session.seeds
    ran_on = {row: each["label"] for each in saved["run"]["seeds"] for row in rows_of(each["rows"])}
    assert ran_on == seeds


def test_old_actions_are_packed_once_and_undone_to_the_first(slide, path):
    session = Session.new(slide)
    sizes = []
    for row in range(1400):
        session = session.seed_rows(np.array([row]), row % 2, user="Anna")
        if row >= 1300:
            document._pack_text.cache_clear() if row == 1300 else None
            save_session(path, session)
            sizes.append(path.stat().st_size)
    packed_anew = document._pack_text.cache_info().misses
    # Four pieces at first, and one more once there are enough actions for it.
    assert packed_anew == 4
    # 1,400 clicks that are spelt out take ten times this.
    assert max(sizes) < 80_000
    again = load_session(path, slide)
    assert again == session
    while again.can_undo:
        again = again.undo()
    assert len(again.seeds) == 0
    save_session(path, again)
    again = load_session(path, slide)
    while again.can_redo:
        again = again.redo()
    assert again.seeds == session.seeds
    assert [action.user for action in again.actions] == ["Anna"] * 1400


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_large_sessions_of_older_versions_are_read_and_packed_when_they_change(slide, path, schema):
    session = lassoed(slide)
    session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    old = json.loads(session.model_dump_json(by_alias=True)) | {"schema": f"tissuumaps-sic/session/{schema}"}
    assert old["actions"][0]["patches"] == by_name(slide, range(0, 1500, 2))
    path.write_text(json.dumps(old, indent=1))
    again = load_session(path, slide)
    assert again == session
    assert not again.is_stale
    assert list(again.seeds) == list(session.seeds)
    changed = again.seed(by_name(slide, [1]), 0)
    before = path.stat().st_size
    save_session(path, changed)
    assert path.stat().st_size < before / 10
    assert load_session(path, slide) == changed
    assert load_session(path, slide).undo().seeds == session.seeds


def test_borrowed_seeds_are_packed_and_come_back(slide, path):
    lent = dict.fromkeys((f"ü\n{number}" for number in range(3000)), 1) | {"one": 0}
    loan = Loan(slide="other", path="other.h5ad", fingerprint="sha256:x", seeds=lent)
    session = Session.new(slide).borrow(loan, Session.new(slide).classes).seed(by_name(slide, [1]), 1)
    save_session(path, session)
    assert path.stat().st_size < len(json.dumps(lent)) / 3
    again = load_session(path, slide)
    assert again == session
    assert again.loans[0].seeds == lent
    assert again.give_back("other.h5ad").undo().loans == session.loans


def test_large_sessions_go_where_small_ones_go(slide, tmp_path):
    """Replayed bit for bit by the command, compared, and merged."""
    readers = {}
    for name, n in (("Anna", 4), ("Ben", 3)):
        session = lassoed(slide, n)
        readers[name] = session.with_run(cluster(slide, session.classes, session.seeds)[0])
        save_session(session_path(slide.path, name), readers[name])
    labels = tmp_path / "labels.h5ad"
    seeds = str(session_path(slide.path, "Anna"))
    assert main(["run", str(slide.path), "--seeds", seeds, "-o", str(labels)]) == 0
    replayed = anndata.read_h5ad(labels).obs["sic_label"].cat.codes.to_numpy()
    assert np.array_equal(replayed, readers["Anna"].run.unpack())
    assert main(["merge", str(slide.path), "--sessions", "Anna", "Ben"]) == 0
    merged = load_session(session_path(slide.path, "consensus"), slide)
    agreed = {
        patch: label
        for patch, label in (dict(readers["Ben"].seeds) | dict(readers["Anna"].seeds)).items()
        # Who has not seeded a patch has labelled it.
        if {each.seeds.get(patch, int(each.run.unpack()[slide.index[patch]])) for each in readers.values()}
        == {label}
    }
    assert merged.seeds == agreed
    agreement = compare(slide, *readers.values())
    assert agreement.table.to_numpy().sum() == slide.n_patches


def test_large_sessions_are_refused_on_other_patches(slide, path, tmp_path):
    save_session(path, lassoed(slide))
    other = open_slide_file(write_small_h5ad(tmp_path / "other.h5ad", columns=30, rows=50))
    assert other.n_patches == slide.n_patches
    with pytest.raises(SessionError, match=r"was made on other patches than other\.h5ad holds now"):
        load_session(path, other)


@pytest.mark.parametrize("large", [False, True], ids=["named", "by row"])
def test_sessions_are_counted_without_their_slide(slide, path, large):
    session = lassoed(slide) if large else Session.new(slide).seed(by_name(slide, [3, 4]), 1)
    session = session.seed(by_name(slide, [3]), 0)
    session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    for each, is_stale in ((session, False), (session.seed(by_name(slide, [6]), None), large)):
        save_session(path, each)
        counted = read_session(path, slide.n_patches)
        assert counted.seed_counts == np.bincount(list(each.seeds.values())).tolist()
        assert counted.is_stale == is_stale == each.is_stale


def test_names_and_rows_together_are_counted_with_their_slide_only(slide, path):
    save_session(path, lassoed(slide))
    saved = json.loads(path.read_text())
    named = {"kind": "seed", "label": 0, "patches": by_name(slide, [0])}
    path.write_text(json.dumps(saved | {"actions": [*saved["actions"], named], "position": 5}))
    assert load_session(path, slide).seeds == lassoed(slide).seed(by_name(slide, [0]), 0).seeds
    with pytest.raises(SessionError, match="some of its patches are named and others are rows"):
        read_session(path, slide.n_patches)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_what_editors_make_of_a_session_is_read(slide, path, encoding):
    session = Session.new(slide).with_class(0, SeedClass(name="Gewebe, übrig", color="#00a6fb"))
    save_session(path, session)
    path.write_bytes(path.read_text(encoding="utf-8").replace("\n", "\r\n").encode(encoding))
    assert load_session(path, slide) == session
    save_session(path, session)
    assert path.read_bytes().startswith(b"{\n")


NOT_TOLD = "1 validation error"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: "", r"it is empty"),
        (lambda text: text[:-30], r"line \d+, column \d+: "),
        (lambda text: text.replace('"position": 2,', '"position": 2,,'), r"line 13, column 16: .*'.*,,.*'"),
        (lambda text: text.replace('"position": 2', '"position": NaN'), r"NaN is not a number in JSON"),
        (lambda text: text.replace('"position": 2', '"position": ' + "9" * 5000), r"digits"),
        (lambda text: "[" * 100_000, r"it is nested too deeply"),
        (lambda text: "[]", r"it holds a list, where a session is an object"),
        (lambda text: "{}", r"it has no “schema”"),
        (lambda text: text.replace("session/3", "other"), r"its schema is 'tissuumaps-sic/other'"),
        (lambda text: text.replace('"position": 2', '"position": 7'), r"position 7 lies beyond its 2 act"),
        (lambda text: text.replace('"position": 2', '"position": "x"'), r"\(position: Input should be"),
        (lambda text: text.replace('"revision"', '"reversion"'), r"\(reversion: Extra inputs"),
        (lambda text: text.replace('"small_0_0"', "5"), r"\(actions\[0\]\.patches: \[0\] is '5'"),
        (lambda text: text.replace('["small_0_0"]', "[]"), r"\(actions\[0\]\.patches: is not a list of one"),
        (lambda text: text.replace('"kind":"seed"', '"kind":"sow"', 1), r"\(actions\[0\]: Input tag 'sow'"),
        (lambda text: text.replace('"label":1', '"label":5'), r"actions\[1\]: .*no class 5"),
        (lambda text: text.replace("#00a6fb", "blue"), r"\(classes\[0\]\.color: String should match"),
        (lambda text: text.replace('"actions"', '"history": [], "actions"'), r"history: session/. has none"),
    ],
)  # fmt: skip
def test_damage_is_told_by_its_place(slide, path, spoil, told):
    session = Session.new(slide).seed(by_name(slide, [0]), 0).seed(by_name(slide, [5]), 1)
    save_session(path, session)
    spoilt = spoil(path.read_text())
    assert spoilt != path.read_text()
    path.write_text(spoilt)
    with pytest.raises(SessionError, match=told) as caught:
        load_session(path, slide)
    assert str(caught.value).startswith("small.sic.json: not a session (")
    assert "move it away to start anew" in str(caught.value)
    assert NOT_TOLD not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"history": "x"}, r"history: is not a list"),
        ({"history": ["AAAA"]}, r"history\[0\]: is not a packed text"),
        ({"history": [pack(b"5")]}, r"history\[0\]: is not a list of actions"),
        ({"history": [pack(b"[")]}, r"history\[0\]: Expecting value"),
        ({"history": [pack(bytes(2**21))]}, r"history\[0\]: unpacks to more than"),
        (
            {"history": [pack(b"[5]")], "position": 0},
            r"\(action 0 of the history: Input should be a valid dictionary",
        ),
        (
            {"actions": [{"kind": "seed", "label": 0, "rows": [1500]}]},
            r"actions\[0\].*there is no patch 1500",
        ),
        (
            {"actions": [{"kind": "seed", "label": 0, "rows": [1], "patches": ["a"]}]},
            r"actions\[0\]\.rows: Extra",
        ),
    ],
)
def test_damage_in_what_is_packed_is_told_by_its_place(slide, path, change, told):
    save_session(path, lassoed(slide))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(SessionError, match=told):
        load_session(path, slide)


@pytest.mark.parametrize("schema", ["6", "99", "9" * 5000])
def test_a_session_of_a_newer_version_is_told_as_one(slide, path, schema):
    save_session(path, Session.new(slide))
    # Whatever else may be in it is not looked at.
    path.write_text(json.dumps({"schema": f"tissuumaps-sic/session/{schema}", "more": 1}))
    with pytest.raises(SessionError, match=r"made by a newer version of tissuumaps-sic .* update") as caught:
        load_session(path, slide)
    assert "not a session" not in str(caught.value)


def test_what_is_no_file_is_refused_at_once(slide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # addresses of sockets are short
    pipe, folder, plug = (tmp_path / f"{name}.sic.json" for name in ("pipe", "folder", "plug"))
    os.mkfifo(pipe)
    folder.mkdir()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(plug.name)
    for path, told in ((pipe, "it is a pipe"), (folder, "it is a folder"), (plug, "cannot be read")):
        with pytest.raises(SessionError, match=told):
            load_session(path, slide)
        with pytest.raises(SessionError, match=told):
            read_session(path, slide.n_patches)
    listening.close()
    with pytest.raises(SessionError, match=r"cannot be read \(No such file or directory\)"):
        load_session(tmp_path / "none.sic.json", slide)


def test_a_file_that_is_far_too_large_is_not_read(slide, path):
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(SessionError, match=r"it has 1,048,576 MB, and 512 MB are the most"):
        load_session(path, slide)


def test_labels_that_unpack_to_gigabytes_are_damaged_ones(slide, path):
    session = lassoed(slide)
    session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    save_session(path, session)
    saved = json.loads(path.read_text())
    squeeze = zlib.compressobj(9)
    bomb = b"".join([*(squeeze.compress(bytes(2**20)) for _ in range(64)), squeeze.flush()])
    for counts in (saved["run"]["counts"], [2**26, 0]):
        saved["run"] |= {"labels": base64.b64encode(bomb).decode(), "counts": counts}
        path.write_text(json.dumps(saved))
        tracemalloc.start()
        with pytest.raises(SessionError, match="the labels of its last run are damaged"):
            load_session(path, slide)
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
        tracemalloc.stop()


def nested(depth):
    found = {}
    for _ in range(depth):
        found = {"a": found}
    return found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"parameters": nested(600)}, r"run\.parameters: cannot be kept as JSON"),
        ({"parameters": {"a": "\ud800"}}, r"run\.parameters: cannot be kept as JSON"),
        ({"seeds": [{"label": 64, "rows": [1]}]}, r"run\.seeds: \[0\]\.label: is not the number of a class"),
        ({"seeds": [{"label": 0, "rows": [1500]}]}, r"run\.seeds: \[0\]\.rows: there is no patch 1500"),
        ({"seeds": [5]}, r"run\.seeds: \[0\] is not a label with its rows"),
        ({"seeds": {"a": 500}}, r"run\.seeds: 500 is not the number of a class"),
        ({"counts": [1499, 1]}, "the labels of its last run are damaged"),
        ({"counts": [-1, 1501]}, "the labels of its last run are damaged"),
        ({"counts": [1500]}, "the labels of its last run are damaged"),
    ],
)
def test_damage_in_a_run_is_told(slide, path, change, told):
    session = lassoed(slide)
    save_session(path, session.with_run(cluster(slide, session.classes, session.seeds)[0]))
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(saved | {"run": saved["run"] | change}))
    with pytest.raises(SessionError, match=told):
        load_session(path, slide)


def test_a_name_that_no_file_can_hold_is_refused(slide, path):
    save_session(path, Session.new(slide).seed(by_name(slide, [0]), 0))
    path.write_text(path.read_text().replace("small_0_0", "\\ud800"))
    with pytest.raises(SessionError, match=r"actions\[0\]\.patches: holds .*which is not a character"):
        load_session(path, slide)


def test_a_number_beyond_all_numbers_is_refused(slide, path):
    save_session(path, Session.new(slide))
    path.write_text(path.read_text().replace('"position": 0', '"position": 1e999'))
    with pytest.raises(SessionError, match="1e999 is too large a number"):
        load_session(path, slide)


@pytest.mark.parametrize("revision", [2**53 - 1, 2**53, 2**53 + 1, 10**30])
def test_a_revision_that_no_page_can_count_to_begins_anew(slide, path, revision):
    save_session(path, lassoed(slide))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"revision": revision}))
    session = load_session(path, slide)
    assert session.revision < 2**53 - 1
    assert session == load_session(path, slide)
    assert session.clear().revision == session.revision + 1
