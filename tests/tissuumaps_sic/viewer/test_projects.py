"""Projects from files: what of one reaches the page, and how one is saved."""

import json

import pytest
from making.guarded import state_of

from tissuumaps_sic.viewer.requests import MOST_BYTES


def test_a_project_is_shown_as_its_file_has_it_where_it_is_harmless(folder, client):
    project = {
        "schemaVersion": "1.3",
        "filename": "Case 7",
        "layers": [{"name": "HE", "tileSource": "img.tif.dzi", "x": 1.5}, {"name": "old",
        "tileSource": "/p%41 #?.tif.dzi"}],
        "layerOpacities": {"0": "0.5"},
        "layerVisibilities": {"0": True},
        "layerFilters": {"0": [{"name": "Brightness", "value": 3}]},
        "filters": ["Brightness"],
        "compositeMode": "lighter",
        "mpp": 0.25,
        "rotate": 90,
        "backgroundColor": "#ffffff",
        "plugins": ["SIC"],
        "markerFiles": [
            {
                "path": "sub/x.csv", "title": "T", "comment": "", "name": "N", "autoLoad": True, "uid": "U1",
                "fromButton": 0,
                "expectedHeader": {"X": "x", "Y": "y", "cb_gr_dict": '{"Tumor": "#ff0000"}'},
                "expectedRadios": {"cb_gr": True},
            }
        ],
        "regions": {
            "r1": {"id": "r1", "regionName": "Edge", "regionClass": "T", "polycolor": "#ff0000", "len": 1,
                   "globalPoints": [[[{"x": 1, "y": 2.5}]]]}
        },
        "settings": [
            {"module": "glUtils", "function": "_globalMarkerScale", "value": 2},
            {"module": "pluginUtils", "function": "startPlugin", "value": ["SIC", [], True]},
        ],
    }  # fmt: skip
    (folder / "p%41 #?.tif").write_bytes((folder / "img.tif").read_bytes())
    (folder / "e.tmap").write_bytes(b"\xef\xbb\xbf" + json.dumps(project).encode())
    shown = state_of(client.get("/e.tmap"))
    assert [each["tileSource"] for each in shown["layers"]] == ["img.tif.dzi", "p%2541%20%23%3F.tif.dzi"]
    assert shown["layers"][0]["x"] == 1.5
    for key in (
        "filename",
        "filters",
        "compositeMode",
        "mpp",
        "rotate",
        "backgroundColor",
        "plugins",
        "settings",
    ):
        assert shown[key] == project[key], key
    assert shown["layerOpacities"] == {"0": 0.5}
    (markers,) = shown["markerFiles"]
    assert markers["path"] in ("sub/x.csv", ["sub/x.csv"])
    assert markers["expectedHeader"]["cb_gr_dict"] == '{"Tumor": "#ff0000"}'
    assert shown["regions"] == project["regions"]


EVIL = "<img src=x onerror=alert(1)>"


CALLS = [
    {"module": "window", "function": "eval", "value": "x"},
    {"module": "jQuery", "function": "ajax", "value": [{"url": "/plugins/SIC/write"}]},
    {"module": "projectUtils", "function": "addLegend", "value": [EVIL]},
    {"module": "glUtils", "function": "_globalMarkerScale", "value": {"x": 1}},
    {"module": "glUtils", "function": "_globalMarkerScale", "value": EVIL},
    {"module": "glUtils", "function": "draw", "value": []},
    {"module": "pluginUtils", "function": "startPlugin", "value": ["evil", [], True]},
    {
        "module": "pluginUtils",
        "function": "startPlugin",
        "value": ["SIC", [{"name": "init", "value": "x"}], True],
    },
    {"module": "pluginUtils", "function": "startPlugin", "value": "../evil"},
    {"module": "__proto__", "function": "x", "value": 1},
    {"module": ["window"], "function": ["eval"], "value": "x"},
]


PROJECTS = {
    "settings": {"settings": CALLS},
    "of markers": {"markerFiles": [{"path": "x.csv", "title": "t", "settings": CALLS}]},
    "of regions": {"regionFiles": [{"path": "x.json", "title": "t", "settings": CALLS}]},
    "names": {
        "filename": EVIL,
        "description": EVIL,
        "link": f"javascript:{EVIL}",
        "layers": [{"name": EVIL, "tileSource": f"{EVIL}.dzi"}],
    },
    "markers": {
        "markerFiles": [
            {
                "path": "x.csv",
                "title": EVIL,
                "name": EVIL,
                "comment": EVIL,
                "uid": EVIL,
                "expectedHeader": {"X": EVIL, EVIL: EVIL},
            }
        ]
    },
    "regions": {
        "regions": {
            EVIL: {"id": EVIL, "regionName": EVIL, "regionClass": EVIL, "polycolor": EVIL, EVIL: [EVIL]}
        }
    },
    "plugins": {"plugins": ["evil", "../x", EVIL, "__init__"]},
    "menu": {"menuButtons": [{"text": EVIL, "url": "javascript:alert(1)"}, {"text": [EVIL], "url": "x"}]},
    "elsewhere": {
        "layers": [
            {"name": "x", "tileSource": each}
            for each in ("http://evil.example/x.dzi", "//evil.example/x.dzi", "../../x.dzi", "data:,x.dzi")
        ],
        "markerFiles": [{"title": "t", "path": "https://evil.example/x.csv"}],
        "regionFile": "../../../x.json",
    },
    "options": {
        "markerFiles": [
            {
                "title": "t",
                "path": "x.csv",
                "dropdownOptions": [
                    {
                        "optionName": EVIL,
                        "name": "x",
                        "__proto__.x": 1,
                        "settings": CALLS,
                        "path": "http://evil.example/",
                    }
                ],
            }
        ]
    },
    "unknown": {"evil": EVIL, "CPFiles": [EVIL]},
}


@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
@pytest.mark.parametrize("where", ["tmap", "h5ad", "saved"])
def test_nothing_of_a_hostile_project_reaches_the_page(folder, client, project, where):
    import h5py

    project = {"schemaVersion": "1.3", "layers": [], **project}
    at = "/e.tmap"
    if where == "tmap":
        (folder / "e.tmap").write_text(json.dumps(project))
    elif where == "saved":
        assert client.post("/e.tmap", json=project).status_code == 200
        assert EVIL not in (folder / "e.tmap").read_text()
    else:
        at = "/e.h5ad"
        (folder / "e.h5ad").write_bytes((folder / "a.h5ad").read_bytes())
        with h5py.File(folder / "e.h5ad", "r+") as file:
            file["uns/tmap"] = json.dumps(project)
    answer = client.get(at)
    assert answer.status_code == 200
    text = json.dumps(state_of(answer), ensure_ascii=False)
    for evil in (
        "<",
        ">",
        "onerror=alert(1)>",
        "eval",
        "javascript:",
        "evil",
        "__proto__",
        "ajax",
        "addLegend",
        "..",
        "__init__",
        "draw",
    ):
        assert evil not in text, evil
    if where != "h5ad":
        assert not state_of(answer).get("settings")


@pytest.mark.parametrize(
    "text",
    [
        f'{{"a": {EVIL}',
        f'["{EVIL}"]',
        f'"{EVIL}"',
        "5",
        "null",
        "",
        "[" * 100_000,
        "\xff",
        f'{{"schemaVersion": "{EVIL}"}}',
        '{"schemaVersion": "99.0"}',
        '{"layers": 7, "markerFiles": {"x": 1}}',
    ],
)
def test_a_damaged_project_says_so_without_markup(folder, client, text):
    (folder / "e.tmap").write_text(text, encoding="latin-1")
    answer = client.get("/e.tmap")
    assert answer.status_code in (200, 422)
    assert EVIL not in answer.text
    assert "onerror=alert(1)>" not in answer.text


def test_a_project_that_the_page_saves_is_there_again(folder, client):
    project = {"filename": "mine", "layers": [{"name": "HE", "tileSource": "img.tif.dzi"}], "rotate": 90}
    for at in ("/new.tmap?path=null", "/new.tmap", "/new.tmap?path=sub", "/new%20%23.tmap?path=sub"):
        answer = client.post(at, json=project)
        assert answer.status_code == 200
        assert answer.json["layers"] == project["layers"]
        assert state_of(client.get(at, follow_redirects=True))["rotate"] == 90
    assert (folder / "sub" / "new #.tmap").is_file()


@pytest.mark.parametrize(
    "body", [b"5", b"null", b'"x"', b"[]", b"{}", b"{", b"", b"\xff", b"[" * 100_000, b'{"x": 1}',
    b'{"layers": 5}',
             b'{"layers":' * 90_000]
)  # fmt: skip
def test_no_junk_takes_the_place_of_a_project(folder, client, body):
    before = (folder / "a.tmap").read_bytes()
    answer = client.post("/a.tmap", data=body, content_type="application/json")
    assert answer.status_code in (400, 422)
    assert answer.json["error"]
    assert (folder / "a.tmap").read_bytes() == before


def test_saving_follows_no_link_and_leaves_what_is_there_when_it_fails(folder, client, monkeypatch):
    (folder / "link.tmap").symlink_to(folder.parent / "secret.tmap")
    (folder / "out").symlink_to(folder.parent)
    assert client.post("/link.tmap", json={"layers": []}).status_code == 403
    assert client.post("/secret.tmap?path=out", json={"layers": []}).status_code == 404
    assert client.post("/new.tmap?path=nowhere", json={"layers": []}).status_code == 404
    assert client.post("/a.tmap", data='{"layers": []}', content_type="text/plain").status_code == 415
    big = json.dumps({"layers": [], "description": "x" * MOST_BYTES})
    assert client.post("/a.tmap", data=big, content_type="application/json").status_code == 413
    before = (folder / "a.tmap").read_bytes()

    def full(self, *_, **__):
        import errno

        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    answer = client.post("/a.tmap", json={"layers": []})
    assert answer.status_code == 507
    assert "No space left" in answer.json["error"]
    assert (folder / "a.tmap").read_bytes() == before
    assert (folder.parent / "secret.tmap").read_bytes() == b'{"secret": 1}'
    assert not list(folder.glob(".a-*"))


def test_a_project_of_a_name_that_is_too_long_is_refused_in_words(client):
    answer = client.post(f"/{'n' * 251}.tmap", json={"layers": []})
    assert answer.status_code in (403, 404, 422)
    assert "could not be saved" in answer.json["error"]


def test_a_number_without_end_is_left_out_of_a_project_that_is_shown_and_saved_all_the_same(folder, client):
    endless = 10**400
    layers = [{"name": "HE", "tileSource": "img.tif.dzi", "x": endless}]
    settings = [{"module": "glUtils", "function": "_markerScale", "value": endless}]
    project = {"schemaVersion": "1.3", "layers": layers, "mpp": endless, "settings": settings, "rotate": 90}
    (folder / "e.tmap").write_text(json.dumps(project))
    assert state_of(client.get("/e.tmap"))["rotate"] == 90
    saved = client.post("/e.tmap", json=project)
    assert saved.status_code == 200
    assert not {"mpp", "settings"} & {key for key, value in saved.json.items() if value}
