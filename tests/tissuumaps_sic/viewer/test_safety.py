"""Two thousand requests of all kinds: none crashes the server or touches a file that it should not.

At night ten thousand, of another seed: ``SIC_REQUESTS=10000 SIC_SEED=7 pytest tests/tissuumaps_sic/viewer/
test_safety.py``.
"""

import base64
import copy
import gzip
import io
import json
import os
import random
import tracemalloc
from collections import Counter

import anndata
import numpy as np
import pytest
from making.files import write_small_h5ad
from making.many import write_mosaic

from tissuumaps_sic.viewer.endpoints import ENDPOINTS
from tissuumaps_sic.viewer.requests import MOST_BYTES, ChangeRequest, SeenRequest, parse_request
from tissuumaps_sic.viewer.serve import make_app

N_REQUESTS = int(os.environ.get("SIC_REQUESTS", "2000"))
FUZZ_SEED = int(os.environ.get("SIC_SEED", "5"))
READ_ONLY_FROM = N_REQUESTS * 9 // 10
# Those that ask of the session that a page has seen.
SEEN = [name for name, endpoint in ENDPOINTS.items() if issubclass(endpoint.request, SeenRequest)]


@pytest.fixture
def folder(tmp_path):
    """Slides that may be annotated, one behind a password, and what the server has no business with."""
    folder = tmp_path / "served"
    for name in ("sub", "locked"):
        (folder / name).mkdir(parents=True)
    for within, name in (("", "a"), ("sub", "b"), ("locked", "c")):
        write_mosaic(folder / within, name, seed=len(within), columns=12, rows=8)
    (folder / "locked" / "auth").write_text("ann;secret")
    (folder / "notes.txt").write_text("mine")
    (folder / "damaged.h5ad").write_bytes((folder / "a.h5ad").read_bytes()[:5000])
    outside = tmp_path / "outside"
    outside.mkdir()
    write_small_h5ad(outside / "x.h5ad")
    (outside / "secret.json").write_text("{}")
    (folder / "out.h5ad").symlink_to(outside / "x.h5ad")
    (folder / "outdir").symlink_to(outside)
    (folder / "in.h5ad").symlink_to(folder / "a.h5ad")
    (folder / "loop.h5ad").symlink_to(folder / "loop.h5ad")
    # A session and a lock that are links to elsewhere; nothing may be written through them.
    (folder / "sub" / "b.linked.sic.json").symlink_to(outside / "secret.json")
    write_small_h5ad(folder / "linkedlock.h5ad")
    (folder / ".linkedlock.sic.lock").symlink_to(outside / "lock")
    return folder


@pytest.fixture
def app(folder):
    app = make_app(folder)
    app.config["READ_ONLY"] = False
    yield app
    app.config["READ_ONLY"] = False


def snapshot(folder):
    """Each file's bytes and time, and each link's target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = path.readlink()
        elif path.is_file():
            found[str(path.relative_to(folder))] = (path.read_bytes(), path.stat().st_mtime_ns)
    return found


class Fuzzer:
    """Valid requests, most of them spoilt in one or two places."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.revisions = Counter()
        self.planned = []  # what comes next, unspoilt

    def plan(self):
        """What a person does, one step after the other, so that all that hangs on it is asked and answered.

        Chance alone seeds two classes of one session too seldom.
        """
        rows = self.random.sample(range(96), 8)
        seeds = [{"kind": "seed", "label": label, "patches": rows[4 * label :][:4]} for label in (0, 1)]
        borrow = {"kind": "borrow", "source": "sub/b.h5ad"}
        steps = [("change", {"change": change}) for change in [*seeds, borrow]]
        file = self.seed_file()
        steps += [("preview", {"file": file}), ("change", {"change": {"kind": "seed-file", "file": file}})]
        steps += [
            (name, {})
            for name in ("run", "unlike", "opinion", "judge", "draw", "questions", "verify", "regions")
        ]
        steps += [("command", {"what": what}) for what in ("run", "export", "suggest", "opinion")]
        # A second reader, with whom one is compared.
        anna = {"session": "Anna"}
        steps += [("change", {"change": change, **anna}) for change in seeds]
        steps += [("run", dict(anna)), *[("compare", {"other": "Anna"}) for _ in range(2)]]
        return [(endpoint, {"h5ad": "a.h5ad", **content}) for endpoint, content in steps]

    def valid(self):
        choose = self.random.choice
        if self.planned:
            endpoint, content = self.planned.pop(0)
            if endpoint in SEEN:
                content["revision"] = self.revisions[content["h5ad"], content.get("session", "")]
            return endpoint, content
        # What others hang on comes more often: seeds, and the labels of both sessions that are compared.
        often = [*["change"] * 12, *["run"] * 8, *["cells", "write", "compare"] * 2]
        endpoint = choose([*ENDPOINTS, *often])
        content = {"h5ad": choose(["a.h5ad", "sub/b.h5ad", "a.h5ad", "in.h5ad", "linkedlock.h5ad"])}
        if self.random.random() < 0.4:
            content["session"] = choose(["", "Anna", "Anna", "zwei Wörter", "linked"])
        if endpoint in ("progress", "cancel") or (
            endpoint in ("run", "suggest") and self.random.random() < 0.3
        ):
            content["job"] = f"job-of-a-page-{self.random.randrange(1000)}"
        if endpoint in SEEN:
            content["revision"] = self.revisions[content["h5ad"], content.get("session", "")]
        if endpoint == "change":
            content["change"] = self.change()
            content["user"] = choose(["", "Ann"])
        if endpoint in ("why", "alike", "likeness", "elsewhere", "picture"):
            content["patch"] = self.random.randrange(96)
        if endpoint == "preview":
            content["file"] = self.seed_file()
        if endpoint == "restoring":
            content["position"] = self.random.randrange(3)
        if endpoint == "look":
            content["patches"] = [self.random.randrange(96) for _ in range(self.random.randrange(9))]
        if endpoint == "draw" and self.random.random() < 0.3:
            content["like"] = choose(["", "Anna"])
        if endpoint == "verify" and self.random.random() < 0.5:
            content["other"] = choose(["", "Anna"])
        if endpoint == "questions":
            content["n"] = self.random.randrange(1, 5)
        if endpoint == "compare":
            content["other"] = choose(["", "Anna", "zwei Wörter"])
        if endpoint == "merge":
            content |= {"session": f"merged {self.random.randrange(400)}", "sessions": ["", "Anna"]}
        if endpoint == "command":
            content["what"] = choose(["run", "export", "suggest", "opinion"])
        if endpoint == "export":
            content["format"] = choose(["csv", "geojson", "geojson.gz", "tmap"])
        if endpoint == "suggest":
            content["n"] = self.random.randrange(1, 5)
        if endpoint in ("run", "suggest") and self.random.random() < 0.5:
            content["method"] = choose(["sic", "refine"])
        return endpoint, content

    def seed_file(self):
        """A file of seeds as a page hands it over."""
        choose = self.random.choice
        text, name = choose(
            [
                ("x,y,class\n128,128,Tumour\n256,256,Other\n900,128,More\n", "seeds.csv"),
                (
                    '{"type": "Feature", "geometry": {"type": "MultiPoint", "coordinates": [[128, 128], '
                    '[900, 300]]}, "properties": {"classification": {"name": "Tumour", "color": [1, 2, 3]}}}',
                    "slide.geojson",
                ),
                ("<Annotations><Annotation/></Annotations>", "slide.xml"),
                ("no picture", "../mask.png"),
            ]
        )
        return {
            "name": choose([name, name, name, self.path()]),
            "content": base64.b64encode(choose([gzip.compress, bytes])(text.encode())).decode(),
            "targets": [{"name": "Tumour", "target": choose([None, "Tumour", "New"])}],
        }

    def change(self):
        choose, below = self.random.choice, self.random.randrange
        more = ["clear", "undo", "redo", "class", "add-class", "remove-class", "borrow", "borrow", "return"]
        more += ["skip", "note", "check", "answer", "restore", "decide", "add-offered", "seed-file"]
        kind = choose(["seed"] * 12 + more)
        return {
            "seed": {
                "kind": kind,
                "label": choose([None, 0, 1, 1, 0, 2]),
                "patches": [below(96) for _ in range(below(1, 6))],
            },
            "seed-file": {"kind": kind, "file": self.seed_file()},
            "skip": {"kind": kind, "patches": [below(96)]},
            "note": {
                "kind": kind,
                "text": choose(["a note", ""]),
                "number": choose([None, None, 0]),
                "patches": [below(96) for _ in range(below(4))],
            },
            "restore": {"kind": kind, "position": below(5), "branch": choose([None, None, 0])},
            "decide": {"kind": kind, "name": choose(["Tumour", "Necrosis"]), "patches": [below(96)]},
            "answer": {"kind": kind, "patch": below(96), "label": choose([None, 0, 1, 2])},
            "check": {"kind": kind, "checked": choose([True, False])},
            "class": {"kind": kind, "label": below(3), "name": f"Class {below(99)}", "color": "#123456"},
            "add-class": {"kind": kind, "name": f"More {below(99)}"},
            "remove-class": {"kind": kind, "label": below(4), "into": choose([None, 0, 1])},
            "borrow": {"kind": kind, "source": choose(["a.h5ad", "sub/b.h5ad", self.path()])},
            "return": {"kind": kind, "path": choose(["a.h5ad", "../a.h5ad", "sub/b.h5ad", self.path()])},
        }.get(kind, {"kind": kind})

    def odd(self):
        """A value that nobody asked for."""
        deep = current = []
        for _ in range(self.random.choice([3, 60, 500])):
            current.append([])
            current = current[0]
        return self.random.choice(
            [
                None, True, False, 0, 1, -1, 2**31, 2**32 + 1, 2**63, -(2**64), 10**400, 0.5, 1e308,
                float("nan"),
                float("inf"), -0.0, "", "a.h5ad", "\0", "\x1b[2J", "\ud800", "\udc80", "‮", "é" * 200,
                "x" * 100_000, "1", "true", "<script>", "'; DROP", "%s%n", "../", "..\\", "/", [], {}, [[]],
                [None], {"kind": {}}, {"": ""}, list(range(2000)), ["x"] * 2000, deep, {"kind": "seed"},
                {str(i): i for i in range(500)}, "__class__", {"__proto__": 1}, {"__class__": "x"},
                [0] * 5000, [96], [-1], [2**70], [True], ["0"], [0.0], [1e300],
            ]
        )  # fmt: skip

    def path(self):
        """A way out of the folder, or to something in it that is no slide."""
        return self.random.choice(
            [
                "../outside/x.h5ad", "sub/../../outside/x.h5ad", "/etc/passwd", "/etc/passwd\0.h5ad",
                "OUTSIDE/x.h5ad", "ROOT/a.h5ad", "out.h5ad", "outdir/x.h5ad", "outdir/../../outside/x.h5ad",
                "loop.h5ad", "a.h5ad\0", "a.h5ad/", "a.h5ad/.", "./a.h5ad", "sub//b.h5ad",
                "..\\outside\\x.h5ad",
                "%2e%2e/outside/x.h5ad", "damaged.h5ad", "notes.txt", "locked/c.h5ad", "sub/../locked/c.h5ad",
                "locked/auth", "a.sic.json", ".", "..", "~/a.h5ad", "file:///etc/passwd", "C:\\a.h5ad",
                "//a.h5ad",
                "x" * 300 + ".h5ad", "a/" * 5000 + "a.h5ad", "A.H5AD", "a.h5ad ", " a.h5ad", "a\n.h5ad",
                "\ud800",
                "sub", "missing.h5ad", "a.h5ad?x", "a.h5ad#x", "-rf.h5ad", "aux.h5ad", "a.h5ad:stream",
            ]
        )  # fmt: skip

    def session(self):
        return self.random.choice(
            [
                "../x", "a/b", "a.b", "..", ".", "\0", "x" * 41, "é" * 40, "linked", " a", "a ", "a\n",
                "-", "_",
                "Anna/../../x", "b.h5ad", "sic", "\ud800", "漢" * 40, "CON",
            ]
        )  # fmt: skip

    def spoil(self, content):
        """Change one thing of a request."""
        spot, choose = self.random.random(), self.random.choice
        if spot < 0.25:
            content["h5ad"] = self.path()
        elif spot < 0.35:
            content["session"] = self.session()
        elif spot < 0.75:
            within = content["change"] if isinstance(content.get("change"), dict) else content
            within = choose([content, within])
            key = choose([*within, "more", "__class__"])
            within[key] = self.odd()
        elif spot < 0.85 and content:
            del content[choose(list(content))]
        elif spot < 0.9:
            content["revision"] = choose([0, 1, -1, 10**6])
        else:
            return self.odd()
        return content

    def request(self):
        """The arguments of `client.open`, and what they ask for where it was not spoilt."""
        choose, chance = self.random.choice, self.random.random
        if not self.planned and chance() < 0.005:
            self.planned = self.plan()
        is_planned = bool(self.planned)
        endpoint, content = self.valid()
        asked = (endpoint, content.get("h5ad"), content.get("session", ""))
        sound = is_planned or chance() < 0.35
        headers, method = {}, "POST"
        if not sound:
            content = copy.deepcopy(content)
            for _ in range(choose([1, 1, 1, 2])):
                content = self.spoil(content) if isinstance(content, dict) else content
            if chance() < 0.1:
                method = choose(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
            if chance() < 0.1:
                headers["Origin"] = choose(
                    ["http://evil.example", "null", "http://[::1", "http://localhost", "", "localhost",
                     "http://localhost:81", "http://localhost@evil.example", "é",
                     "http://evil.example/localhost"]
                )  # fmt: skip
            if chance() < 0.1:
                headers["Authorization"] = choose(
                    ["Basic", "Basic !!!", "Basic YW5uOnNlY3JldA==", "Basic YW5uOndyb25n", "Bearer x",
                    "Digest x=y",
                     "Basic " + "A" * 5000, "Basic /////w==", "Digest"]
                )  # fmt: skip
            if chance() < 0.1:
                endpoint = choose(
                    ["__class__", "__init__", "_app", "_private", "__dict__", "open/", "open/x",
                    "../open", "OPEN",
                     "open\0", "é", "__getattribute__", "change%2f", "x" * 3000, "open;x", "."]
                )  # fmt: skip
        body = json.dumps(content).encode()
        kind = "application/json"
        if not sound and chance() < 0.15:
            kind = choose(
                ["text/plain", "", "application/json; charset=utf-16", "multipart/form-data", "é", "x/y"]
            )
        if not sound and chance() < 0.15:
            body = choose(
                [b"", b"{", b"nul", b"\xff\xfe{}", body[: len(body) // 2], b"[" * 100_000, b'{"a":' * 50_000,
                 body + b"}", b"NaN", b"1" * 5000, b"\0", body.decode().encode("utf-16"), b'"\\ud800"',
                 b'{"h5ad": "a.h5ad", "h5ad": 5}', b" " * 100_000]
            )  # fmt: skip
        options = {"method": method, "data": body, "content_type": kind, "headers": headers}
        return f"/plugins/SIC/{endpoint}", options, asked if sound else None


def test_requests_of_all_kinds_crash_nothing_and_touch_nothing(app, folder):
    outside = snapshot(folder.parent / "outside")
    before = snapshot(folder)
    fuzzer, client, statuses, written = Fuzzer(FUZZ_SEED), app.test_client(), Counter(), set()
    for number in range(N_REQUESTS):
        if number == READ_ONLY_FROM:
            app.config["READ_ONLY"] = True
            settled = snapshot(folder)
        address, options, asked = fuzzer.request()
        options["data"] = options["data"].replace(b"OUTSIDE", str(folder.parent / "outside").encode())
        options["data"] = options["data"].replace(b"ROOT", str(folder).encode())
        answer = client.open(address, **options)
        told = (number, address[:60], options["data"][:300], answer.data[:300])
        # 507: the one slide whose lock is a link, through which nothing is written; its name may be UTF-16.
        full = answer.status_code == 507 and b"linkedlock" in options["data"].replace(b"\0", b"")
        assert answer.status_code < 500 or full, told
        if answer.status_code == 200 and options["method"] == "POST":
            if b"locked/c.h5ad" in options["data"]:
                assert options["headers"].get("Authorization") == "Basic YW5uOnNlY3JldA==", told
            if address.endswith("/write"):
                written.add(answer.json["written"])
        if asked is not None:
            statuses[asked[0], answer.status_code] += 1
            known = client.post("/plugins/SIC/open", json={"h5ad": asked[1], "session": asked[2]})
            if known.status_code == 200:
                fuzzer.revisions[asked[1], asked[2]] = known.json["revision"]
    assert snapshot(folder) == settled, "a read-only server wrote something"
    after = snapshot(folder)
    assert snapshot(folder.parent / "outside") == outside
    for name in before:
        if name.removeprefix("sub/") in written and isinstance(before[name], tuple):
            # Labels were added; all else is as it was.
            (folder.parent / "first.h5ad").write_bytes(before[name][0])
            first, now = (anndata.read_h5ad(path) for path in (folder.parent / "first.h5ad", folder / name))
            assert np.array_equal(now.X, first.X)
            assert now.obs[first.obs.columns].equals(first.obs)
            continue
        assert after[name] == before[name], f"{name} was touched"
    new = after.keys() - before.keys()
    assert all(name.endswith((".sic.json", ".sic.lock", "classes.json")) for name in new), new
    # The requests got far enough to be a test of anything.
    # None of them is about a consensus, which alone has something to decide; and nothing is brought to a
    # folder that can be written.
    asked = [endpoint for endpoint in ENDPOINTS if endpoint not in ("decisions", "bring")]
    seldom = [endpoint for endpoint in asked if statuses[endpoint, 200] <= N_REQUESTS // 2000]
    assert not seldom, {each: count for each, count in statuses.items() if each[0] in seldom}
    for name in new:
        if name.endswith(".json"):
            json.loads(folder.joinpath(name).read_text())


@pytest.mark.parametrize("tells_its_length", [True, False])
def test_a_request_that_is_too_large_is_refused_in_words(app, tells_its_length):
    body = b'{"h5ad": "a.h5ad", "more": "' + b"x" * MOST_BYTES + b'"}'
    options = {"data": body, "content_type": "application/json"}
    if not tells_its_length:
        # A chunked request, as servers hand it on.
        options = {
            "input_stream": io.BytesIO(body),
            "content_type": "application/json",
            "environ_overrides": {"wsgi.input_terminated": True},
        }
    answer = app.test_client().post("/plugins/SIC/open", **options)
    assert answer.status_code == 413
    assert "16 MB; choose fewer patches" in answer.json["error"]


def test_a_lasso_around_a_million_patches_is_not_too_large():
    content = {"h5ad": "x" * 4096, "session": "x" * 40, "user": "x" * 60, "revision": 2**53}
    patches = list(range(1_000_000))
    content["change"] = {"kind": "seed", "label": 1, "patches": patches}
    assert len(json.dumps(content)) < MOST_BYTES
    assert parse_request(ChangeRequest, content).change.patches == tuple(patches)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "seed", "label": 1, "patches": ["x"] * 500_000},
        {"kind": "seed", "label": 1, "patches": [0] * 500_000},
        {f"more {i}": 0 for i in range(100_000)} | {"kind": "clear"},
    ],
    ids=["nonsense", "too many", "members"],
)
def test_a_long_list_of_nonsense_costs_little_memory(app, change):
    body = json.dumps({"h5ad": "a.h5ad", "revision": 0, "change": change}).encode()
    tracemalloc.start()
    try:
        answer = app.test_client().post("/plugins/SIC/change", data=body, content_type="application/json")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 422
    assert len(answer.data) < 1000
    assert peak < 12 * len(body)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "seed", "label": True, "patches": [1]},
        {"kind": "seed", "label": "1", "patches": [1]},
        {"kind": "seed", "label": 1, "patches": [True]},
        {"kind": "seed", "label": 1, "patches": ["1"]},
        {"kind": "seed", "label": 1, "patches": [1.0]},
        {"kind": "seed", "label": 1, "patches": [2**70]},
        {"kind": "remove-class", "label": 1, "into": True},
    ],
)
def test_an_index_is_a_whole_number_and_nothing_like_it(app, change):
    content = {"h5ad": "a.h5ad", "revision": 0, "change": change}
    assert app.test_client().post("/plugins/SIC/change", json=content).status_code == 422
