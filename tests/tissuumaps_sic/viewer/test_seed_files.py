"""A file of seeds that a page hands over: looked at, taken as one step, unpacked within bounds."""

import base64
import gzip
import json
import tempfile
import zlib
from pathlib import Path

import h5py
import pytest
from making.drawings import box, feature
from making.files import write_small_h5ad
from making.server import ask

from tissuumaps_sic.annotation.seed_files import open_seed_file
from tissuumaps_sic.annotation.store import load_session, session_path
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer.endpoints import ENDPOINTS, Server

DRAWN = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            feature("Polygon", [box(0, 0, 512, 512)], "Tumor"),
            feature("Point", [1000, 700], "other"),
            feature("Point", [1000, 900], "Ignore*"),
        ],
    }
).encode()


@pytest.fixture
def h5ad(tmp_path):
    path = write_small_h5ad(tmp_path / "small.h5ad")
    with h5py.File(path, "r+") as file:
        told = {"size": [1700, 1200], "bounds": [128, 128, 1500, 1000]}
        file["uns/embedder"] = json.dumps({"slide": told, "grid": {"patch_size0": 256}})
    return path


@pytest.fixture
def page(h5ad, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    server = Server()

    def call(endpoint, **content):
        seen = {} if endpoint == "open" else {"revision": call.revision}
        asked = {"h5ad": h5ad.name, **seen, **content}
        found = ask(server, endpoint, h5ad.parent, asked)
        call.revision = found.get("revision", call.revision)
        return found

    call.revision = 0
    return call


def file(content=DRAWN, name="slide.geojson", *, packed=True, **more):
    sent = gzip.compress(content, mtime=0) if packed else content
    return {"name": name, "content": base64.b64encode(sent).decode(), **more}


def take(page, sent, **more):
    return page("change", change={"kind": "seed-file", "file": sent}, **more)


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_is_looked_at_then_taken_and_nothing_of_it_stays(page, h5ad, tmp_path, packed):
    before = page("open")["revision"]
    found = page("preview", file=file(packed=packed, from_bounds=False))
    assert found["classes"] == [
        {
            "name": "Ignore*",
            "color": "#090909",
            "count": 1,
            "left_out": "QuPath ignores names that end in *",
            "target": None,
            "seeds": 0,
        },
        {"name": "Tumor", "color": "#c80000", "count": 1, "left_out": "", "target": "Tumor", "seeds": 15},
        {"name": "other", "color": "#090909", "count": 1, "left_out": "", "target": "Other", "seeds": 1},
    ]
    assert found["seeds"] == [
        {"name": "Other", "color": "#00a6fb", "n": 1, "is_new": False},
        {"name": "Tumor", "color": "#c80000", "n": 15, "is_new": True},
    ]
    assert (found["replaced"], found["from_bounds"]) == (0, False)
    assert page("open")["revision"] == before
    state = take(page, file(packed=packed, from_bounds=False), user="Anna")
    assert [each["name"] for each in state["classes"]] == ["Other", "Tumour", "Tumor"]
    assert len(state["seeds"]["patches"]) == 16
    assert state["undo"]["text"] == "16 seeds from slide.geojson"
    assert state["undo"]["user"] == "Anna"
    saved = load_session(session_path(h5ad), open_slide_file(h5ad))
    assert saved.seed_counts == [1, 0, 15]
    assert page("change", change={"kind": "undo"})["seeds"]["patches"] == []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_classes_are_mapped_and_seeds_of_other_classes_counted(page):
    page("change", change={"kind": "seed", "label": 0, "patches": [0, 1, 50]})
    targets = [{"name": "Tumor", "target": "Tumour"}, {"name": "ignore*", "target": "Fat"}]
    found = page("preview", file=file(targets=targets, from_bounds=False, inside=1.0))
    assert [(each["name"], each["n"]) for each in found["seeds"]] == [("Other", 1), ("Tumour", 9), ("Fat", 1)]
    assert found["replaced"] == 2
    state = take(page, file(targets=targets, from_bounds=False, inside=1.0))
    assert [each["name"] for each in state["classes"]] == ["Other", "Tumour", "Fat"]
    assert len(state["seeds"]["patches"]) == 12
    with pytest.raises(SicError, match="no seed"):
        take(page, file(targets=[{"name": name, "target": None} for name in ("Tumor", "other")]))


def test_where_it_counts_from_is_told_where_that_matters(page):
    assert page("preview", file=file())["from_bounds"] is True
    assert page("preview", file=file(b"x,y,class\n128,128,1\n", "a.csv"))["from_bounds"] is None


def meanwhile(monkeypatch, do):
    """Let something happen while a file of seeds is read."""

    def read(*given, **options):
        opened = open_seed_file(*given, **options)
        do()
        return opened

    monkeypatch.setattr("tissuumaps_sic.viewer.seed_files.open_seed_file", read)


def test_while_a_file_is_read_other_sessions_of_the_slide_are_written(page, monkeypatch):
    # Nobody waits, so that a page that had to would be refused.
    monkeypatch.setattr("tissuumaps_sic.viewer.turns._PATIENCE_SECONDS", 0.0)
    seed = {"kind": "seed", "label": 0, "patches": [3]}
    meanwhile(monkeypatch, lambda: page("change", session="other", revision=0, change=seed))
    assert len(take(page, file(from_bounds=False))["seeds"]["patches"]) == 16
    assert page("open", session="other")["seeds"]["patches"] == [3]


def test_what_changed_while_a_file_was_read_is_not_written_over(page, h5ad, monkeypatch):
    meanwhile(monkeypatch, lambda: write_small_h5ad(h5ad, columns=4))
    with pytest.raises(SicError, match="embedded anew meanwhile") as error:
        take(page, file(from_bounds=False))
    assert error.value.status == 409
    page("open")
    seed = {"kind": "seed", "label": 0, "patches": [3]}
    meanwhile(monkeypatch, lambda: page("change", revision=0, change=seed))
    with pytest.raises(SicError, match="changed in another window") as error:
        take(page, file(from_bounds=False), revision=0)
    assert error.value.status == 409
    assert page("open")["seeds"]["patches"] == [3]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (file(name="a.exe"), r"a\.exe is not a file of seeds"),
        (file(name="../../a.geojson\0"), "is not a file of seeds"),
        ({"name": "a.geojson", "content": "!!!"}, "did not arrive"),
        (
            {"name": "a.geojson", "content": base64.b64encode(b"\x1f\x8bnothing of it").decode()},
            "cannot be unpacked",
        ),
        (file(b"{", name="a.geojson"), "is no GeoJSON"),
        (file(b'{"schema": "tissuumaps-sic/session/3"}', name="a.json"), r"a\.json is a session"),
        (file(b'<!DOCTYPE a [<!ENTITY b "c">]><Annotations>&b;</Annotations>', "a.xml"), "document type"),
        (file(inside=0), "not understood"),
        (file(inside=float("nan")), "not understood"),
        (file(targets=[{"name": "x"}]), "not understood"),
    ],
)
@pytest.mark.parametrize("endpoint", ["preview", "change"])
def test_what_is_none_is_refused_in_words(page, tmp_path, endpoint, sent, told):
    more = {"file": sent} if endpoint == "preview" else {"change": {"kind": "seed-file", "file": sent}}
    with pytest.raises(SicError, match=told) as error:
        page(endpoint, **more)
    assert 400 <= error.value.status < 500
    assert str(tmp_path) not in str(error.value)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert page("open")["revision"] == 0


def test_what_unpacks_to_too_much_is_refused(page):
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(packer.compress(b" " * 2**20) for _ in range(80)), packer.flush()])
    for content in (bomb, gzip.compress(bomb), gzip.compress(gzip.compress(gzip.compress(DRAWN)))):
        with pytest.raises(SicError, match="has more than 64 MB") as error:
            page("preview", file=file(content, packed=False))
        assert error.value.status == 413


def test_a_file_that_is_packed_in_parts_is_whole_and_one_that_is_cut_short_refused(page):
    rows = [b"x,y,class\n128,128,1\n", b"256,128,1\n", b"384,128,0\n"]
    # As bgzip packs: parts, then an empty one.
    parts = b"".join(map(gzip.compress, [*rows, b""]))
    found = page("preview", file=file(parts, "seeds.csv.gz"))
    assert [each["n"] for each in found["seeds"]] == [1, 2]
    long = b"x,y,class\n" + b"".join(b"%d,128,1\n" % x for x in range(128, 1536))
    for content in (gzip.compress(long)[:-9], gzip.compress(long)[:-2000], parts[:-40]):
        for packed in (True, False):
            with pytest.raises(SicError, match=r"seeds\.csv is cut short") as error:
                page("preview", file=file(content, "seeds.csv.gz", packed=packed))
            assert error.value.status == 422


def test_a_name_with_folders_and_odd_signs_is_no_path(page, h5ad):
    for name in ("../../etc/slide.geojson", "C:\\x\\<b>.geojson", "é" * 300 + ".geojson"):
        state = take(page, file(name=name, from_bounds=False))
        assert "/" not in state["undo"]["text"]
        assert "<" not in state["undo"]["text"]
    assert {each.name for each in Path(h5ad.parent).iterdir()} <= {
        "small.h5ad", "small.sic.json", ".small.sic.lock", "temporary"
    }  # fmt: skip


def test_a_read_only_server_has_no_use_for_it():
    assert ENDPOINTS["preview"].writes
    assert ENDPOINTS["change"].writes
