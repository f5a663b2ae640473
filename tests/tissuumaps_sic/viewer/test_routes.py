"""Every route of the application is asked with every kind of attack; a new one of TissUUmaps is told."""

import base64
import json
import os
import time

import numpy as np
import pytest
from making.many import write_mosaic
from werkzeug.test import Client

from tissuumaps_sic.slidefile.names import address
from tissuumaps_sic.viewer.access import ROUTES
from tissuumaps_sic.viewer.endpoints import ENDPOINTS
from tissuumaps_sic.viewer.guard import guarded
from tissuumaps_sic.viewer.requests import MOST_BYTES
from tissuumaps_sic.viewer.serve import make_app

# The rules of TissUUmaps 3.2, each with an address that it answers in `folder`, None where it is refused.
RULES = {
    "/static/<path:filename>": "/static/js/flask.js",
    "/favicon.ico": "/favicon.ico",
    "/ping": "/ping",
    "/": "/",
    "/<path:filename>": "/img.tif",
    "/<string:filename>.tmap": "/a.tmap",
    "/<path:path>/<string:filename>.tmap": "/sub/b.tmap",
    "/<string:filename>.<any(h5ad, adata, h5):ext>": "/a.h5ad",
    "/<path:path>/<string:filename>.<any(h5ad, adata, h5):ext>": "/sub/b.h5ad",
    "/<path:completePath>.csv": "/x.csv",
    "/<path:completePath>.<any(json, geojson, pbf):ext>": "/x.geojson",
    "/<path:path>.dzi": "/img.tif.dzi",
    "/<path:path>.dzi/info": "/img.tif.dzi/info",
    "/<path:path>_files/<int:level>/<int:col>_<int:row>.<format>": "/img.tif_files/8/0_0.jpeg",
    "/<path:path>.dzi/<path:associated_name>_files/<int:level>/<int:col>_<int:row>.<format>": None,
    "/web/<path:path>": None,
    "/<path:path>.html": None,
    "/plugins/<path:pluginName>.js": "/plugins/SIC.js",
    "/plugins/<path:pluginName>/<path:method>": "/plugins/SIC/open",
    "/filetree": "/filetree",
    "/get_file_tree": "/get_file_tree?root=/",
}
# What they are below the folder that has a password of its own, and names nothing else.
LOCKED = [
    "/c.tmap?path=locked", "/locked/c.tmap", "/c.h5ad?path=locked", "/locked/c.h5ad", "/locked/x.csv",
    "/locked/other.sic.json", "/locked/x.geojson", "/locked/img.tif.dzi", "/locked/img.tif.dzi/info",
    "/locked/img.tif_files/8/0_0.jpeg", "/locked/img.tif", "/img.tif?path=locked",
    "/get_file_tree?root=locked",
    "/get_file_tree?root=/locked/", "/x.csv?path=locked", "/link.csv", "/link.tif.dzi", "/link.tif",
    "/link.tif_files/8/0_0.jpeg", "/link.tmap", "/link.h5ad", "/into/x.csv", "/c.tmap?path=into",
    "/c.tmap?path=l%256fcked", "/c.tmap?path=./locked", "/c.tmap?path=a&path=locked", "/locked/deep/y.csv",
    "/filetree?path=locked", "/?path=locked",
]  # fmt: skip
ANNA = {"Authorization": "Basic " + base64.b64encode(b"anna;b:se;cret").decode()}
GIVEN = ("anna", "se;cret")


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """What every folder of this module is a copy of: a slide, a picture with a pyramid."""
    import pyvips

    folder = tmp_path_factory.mktemp("slides")
    write_mosaic(folder, "a", columns=6, rows=4)
    picture = pyvips.Image.new_from_array(np.full((600, 900, 3), 200, np.uint8))
    picture.tiffsave(str(folder / "img.tif"), tile=True, pyramid=True, compression="jpeg")
    return folder


@pytest.fixture
def folder(tmp_path, slides):
    folder = tmp_path / "served"
    for within, name in (("", "a"), ("sub", "b"), ("locked", "c"), ("locked/deep", "d")):
        at = folder / within
        at.mkdir(parents=True, exist_ok=True)
        os.link(slides / "a.h5ad", at / f"{name}.h5ad")
        os.link(slides / "img.tif", at / "img.tif")
        (at / f"{name}.tmap").write_text(json.dumps({"filename": name, "layers": []}))
        for each in ("x.csv", "y.csv", "x.geojson", "other.sic.json"):
            (at / each).write_text('{"secret": 1}')
    (folder / "web").mkdir()
    (folder / "web" / "page.html").write_text("<script>window.ran=1</script>")
    (folder / "img.tif_files/1").mkdir(parents=True)
    (folder / "img.tif_files/1/0_0.js").write_text("window.ran=1")
    for name, target in (
        ("link.csv", "x.csv"), ("link.tif", "img.tif"), ("link.h5ad", "c.h5ad"), ("into", "")
    ):  # fmt: skip
        (folder / name).symlink_to(folder / "locked" / target)
    (tmp_path / "secret.csv").write_text("secret")
    (tmp_path / "secret.tmap").write_text('{"secret": 1}')
    return folder


def client_of(folder, **options):
    return Client(guarded(make_app(folder), folder / "auth", **options))


@pytest.fixture
def client(folder):
    return client_of(folder)


ANSWERED = [each for each in RULES.values() if each]


def test_every_route_is_known(folder):
    app = make_app(folder)
    assert {rule.rule for rule in app.url_map.iter_rules()} == RULES.keys()
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == ROUTES.keys()


def test_a_route_that_nobody_has_looked_at_is_refused(folder, client):
    app = make_app(folder)
    app.config.setdefault("x", 1)
    app._got_first_request = False
    rule = app.url_rule_class("/new/<path:file>", endpoint="brand_new", methods={"GET"})
    app.url_map.add(rule)
    app.view_functions["brand_new"] = lambda file: "secret"
    try:
        assert client.get("/new/x").status_code == 404
    finally:
        del app.view_functions["brand_new"]
        for rules in (app.url_map._rules, app.url_map._rules_by_endpoint.pop("brand_new")):
            if rule in rules:
                rules.remove(rule)
        rule.build_only = True
        from werkzeug.routing.matcher import StateMachineMatcher

        app.url_map._matcher = StateMachineMatcher(app.url_map.merge_slashes)
        for each in app.url_map._rules:
            app.url_map._matcher.add(each)
        app.url_map._remap = True


@pytest.mark.parametrize("at", ANSWERED)
def test_each_route_answers_what_it_is_for(client, at):
    if at == "/plugins/SIC/open":
        assert client.post(at, json={"h5ad": "a.h5ad"}).status_code == 200
        assert client.get(at).status_code == 405
    else:
        expected = 302 if at == "/sub/b.tmap" else 200
        assert client.get(at).status_code == expected
        assert client.head(at).status_code == expected


@pytest.mark.parametrize(
    "at", ["/web/page.html", "/page.html", "/sub/x.html", "/img.tif.dzi/label_files/1/0_0.png"]
)
def test_routes_that_nothing_needs_are_refused(client, at):
    assert client.get(at).status_code == 404


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "FOO"]
)
def test_without_the_password_nothing_is_answered(folder, method):
    (folder / "auth").write_text("anna;se;cret")
    client = client_of(folder)
    for at in (*ANSWERED, "/missing", "/web/page.html"):
        answer = client.open(at, method=method, json={} if method == "POST" else None)
        assert answer.status_code == 401, at
        assert "Basic" in answer.headers["WWW-Authenticate"]
        assert b"secret" not in answer.data


def test_with_the_password_each_route_answers(folder):
    (folder / "auth").write_text("anna;se;cret")
    client = client_of(folder)
    for at in ANSWERED:
        assert client.get(at, auth=GIVEN).status_code in (200, 302, 405), at
        assert client.get(at, auth=("anna", "se")).status_code == 401


@pytest.mark.parametrize("at", LOCKED)
def test_the_nearest_password_is_asked_for_whatever_names_a_file(folder, at):
    (folder / "locked" / "auth").write_text("anna;se;cret")
    client = client_of(folder)
    answer = client.get(at, headers={"Referer": "http://localhost/a.tmap"})
    assert answer.status_code == 401
    assert b"secret" not in answer.data
    given = client.get(at, auth=GIVEN)
    assert given.status_code in (200, 302, 404)
    assert client.get("/x.csv").status_code == 200


def test_two_folders_may_have_two_passwords(folder):
    (folder / "auth").write_text("ben;other")
    (folder / "locked" / "auth").write_text("anna;se;cret")
    client = client_of(folder)
    for at in ("/c.tmap?path=locked", "/locked/x.csv", "/static/js/flask.js", "/plugins/SIC.js"):
        assert client.get(at, auth=GIVEN).status_code == 200, at
    for at in ("/a.tmap", "/x.csv", "/get_file_tree?root=/"):
        assert client.get(at, auth=GIVEN).status_code == 401, at
        assert client.get(at, auth=("ben", "other")).status_code == 200, at
    opened = client.post("/plugins/SIC/open", json={"h5ad": "locked/c.h5ad"}, auth=GIVEN)
    assert opened.status_code == 200
    for asked, given in (
        ("locked/c.h5ad", ("ben", "other")),
        ("a.h5ad", GIVEN),
        ("link.h5ad", ("ben", "other")),
    ):
        assert client.post("/plugins/SIC/open", json={"h5ad": asked}, auth=given).status_code == 401
    assert client.post("/new.tmap?path=locked", json={"layers": []}, auth=("ben", "other")).status_code == 401
    assert client.post("/new.tmap?path=locked", json={"layers": []}, auth=GIVEN).status_code == 200


@pytest.mark.parametrize("where", ["", "locked"])
@pytest.mark.parametrize("how", ["gone", "folder", "two lines", "empty"])
def test_a_password_that_was_needed_is_needed_until_the_end(folder, where, how):
    auth = folder / where / "auth"
    auth.write_text("anna;se;cret")
    client = client_of(folder)
    auth.unlink()
    if how == "folder":
        auth.mkdir()
    elif how != "gone":
        auth.write_text("anna;se;cret\nben;x" if how == "two lines" else "")
    at, h5ad = ("/locked/x.csv", "locked/c.h5ad") if where else ("/x.csv", "a.h5ad")
    assert client.get(at).status_code == 401
    assert client.get(at, auth=GIVEN).status_code == 401
    assert client.post("/plugins/SIC/open", json={"h5ad": h5ad}).status_code == 401
    if how != "folder":
        auth.write_text("anna;se;cret")
        assert client.get(at, auth=GIVEN).status_code == 200


STEPS = [
    "..", "%2e%2e", "..%2f..", "%2e%2e%2f", "..%5c..", "sub/../..", "%252e%252e", "/", "//", "/etc", "./..",
    "\0", "%00", ".\0.", "locked/../..", "..;/", "~", "file:///etc", "http://evil.example/", "....//",
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_no_step_leads_out_of_the_folder(folder, client, step):
    for name in ("secret.csv", "secret.tmap", "passwd", "passwd.csv", "secret.csv.dzi", "secret.tmap?dl=1"):
        for at in (f"/{step}/{name}", f"/sub/{step}/{name}", f"/{name}?path={step}", f"/{name}?path=/{step}"):
            for method in ("GET", "POST"):
                options = {"json": {"layers": []}} if method == "POST" else {}
                answer = client.open(at, method=method, **options)
                # A client makes some of them plain ones, by which a project may be saved in the folder.
                saved = method == "POST" and (folder / "secret.tmap").exists()
                assert answer.status_code in (308, 400, 403, 404, 405) or saved, at
                assert b"secret" not in answer.data
                assert b"root:" not in answer.data
                (folder / "secret.tmap").unlink(missing_ok=True)
    for at in (f"/get_file_tree?root={step}", f"/plugins/{step}/evil/run", f"/plugins/{step}/evil.js"):
        assert b"secret" not in client.get(at).data
    assert (folder.parent / "secret.tmap").read_text() == '{"secret": 1}'


@pytest.mark.parametrize(
    "at", ["/auth", "/locked/auth", "/AUTH", "/auth.dzi", "/auth_files/1/0_0.jpeg", "/.tissuumaps/x.tif.dzi",
           "/.a.sic.lock", "/sub/.b-12345678.h5ad", "/x.csv?path=.hidden", "/get_file_tree?root=.tissuumaps"]
)  # fmt: skip
def test_what_is_hidden_and_what_holds_a_password_is_no_address(folder, client, at):
    (folder / "sub" / ".b-12345678.h5ad").write_bytes(b"half")
    assert client.get(at).status_code == 404


@pytest.mark.parametrize(
    "plugin",
    ["__init__", "SIC_page", "tissuumaps_sic", "SIC/../SIC", "sic", "ClassQC", "../plugin/SIC", "SIC.py"],
)
def test_no_plugin_is_executed_but_ours(client, plugin):
    for method in ("open", "change", "__init__", "_app", "__class__"):
        assert client.post(f"/plugins/{plugin}/{method}", json={"h5ad": "a.h5ad"}).status_code == 404
        assert client.get(f"/plugins/{plugin}/{method}").status_code == 404
    assert client.get(f"/plugins/{plugin}.js").status_code == 404


def test_the_users_own_plugins_are_called_by_their_names(folder, tmp_path, monkeypatch):
    theirs = tmp_path / "plugins"
    theirs.mkdir()
    (theirs / "Mine.py").write_text(
        "class Plugin:\n def __init__(self, app): pass\n def do(self, content): return 'done'\n"
    )
    (theirs / "Mine.js").write_text("Mine = {}")
    (theirs / "unlisted.py").write_text("raise SystemExit")
    app = make_app(folder)
    monkeypatch.setitem(app.config, "PLUGIN_FOLDER", str(theirs))
    monkeypatch.setitem(app.config, "PLUGINS", [*app.config["PLUGINS"], {"module": "Mine"}])
    client = Client(guarded(app, folder / "auth"))
    assert client.post("/plugins/Mine/do", json={}).data == b"done"
    assert client.get("/plugins/Mine.js").status_code == 200
    for at in ("/plugins/Mine/__init__", "/plugins/Mine/_x", "/plugins/Mine/do/it", "/plugins/unlisted/do"):
        assert client.post(at, json={}).status_code == 404, at


@pytest.mark.parametrize("method", ["__class__", "__init__", "_app", "OPEN", "open/x", "nothing"])
def test_nothing_of_the_plugin_is_called_but_its_endpoints(client, method):
    assert client.post(f"/plugins/SIC/{method}", json={"h5ad": "a.h5ad"}).status_code == 404


HOSTS = {
    "localhost": True, "localhost:5100": True, "127.0.0.1:5100": True, "[::1]:5100": True, "LOCALHOST": True,
    "localhost.": True, "slides.example": False, "evil.example:5100": False, "localhost.evil.example": False,
    "evil.localhost": False, "127.0.0.1.nip.io": False, "192.168.1.7:5100": False, "0.0.0.0": False,
    "localhost@evil.example": False, "": True, "a b": False, "127.0.0.1:x": False, "2130706433": False,
}  # fmt: skip


@pytest.mark.parametrize(("host", "known"), HOSTS.items())
def test_only_names_of_this_server_are_answered(client, host, known):
    headers = {"Host": host, "Origin": f"http://{host}"}
    for at in ANSWERED:
        if known:
            assert client.get(at, headers={"Host": host}).status_code in (200, 302, 405), at
        else:
            answer = client.get(at, headers=headers)
            assert answer.status_code == 421, at
            assert b"not called" in answer.data
            assert client.post(at, headers=headers, json={}).status_code == 421, at


def test_a_server_for_others_is_known_by_its_numbers_and_by_names_that_are_told(folder):
    client = client_of(folder, host="0.0.0.0", names=["slides.hospital.example"])
    for host in ("192.168.1.7:5100", "[fe80::1]:5100", "slides.hospital.example", "localhost:5100"):
        assert client.get("/ping", headers={"Host": host}).status_code == 200, host
    refused = client.get("/ping", headers={"Host": "evil.example"})
    assert refused.status_code == 421
    assert "--allowed-host evil.example" in refused.text
    named = client_of(folder, names=["proxy.example"])
    assert named.get("/ping", headers={"Host": "proxy.example"}).status_code == 200
    assert (
        client_of(folder, host="my-machine").get("/ping", headers={"Host": "my-machine:80"}).status_code
        == 200
    )


OTHERS = [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:81"},
    {"Origin": "http://localhost@evil.example"}, {"Origin": "http://[::1"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "odd"},
]  # fmt: skip


@pytest.mark.parametrize("headers", OTHERS, ids=str)
def test_other_sites_change_nothing_and_start_nothing(folder, client, headers):
    for at in ("/a.tmap", "/new.tmap", "/plugins/SIC/change", "/plugins/SIC/open"):
        assert client.post(at, json={"h5ad": "a.h5ad", "layers": []}, headers=headers).status_code == 403, at
    for at in ANSWERED:
        if at not in ("/", "/a.tmap", "/sub/b.tmap", "/a.h5ad", "/sub/b.h5ad", "/img.tif", "/filetree"):
            assert client.get(at, headers=headers).status_code in (403, 405), at
    assert not (folder / "new.tmap").exists()


def test_a_link_of_another_site_leads_to_a_page_and_to_nothing_else(client):
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/a.tmap", headers=followed).status_code == 200
    assert client.get("/img.tif.dzi", headers=followed).status_code == 403
    framed = followed | {"Sec-Fetch-Dest": "iframe"}
    assert client.get("/a.tmap", headers=framed).status_code == 403
    assert client.get("/img.tif.dzi", headers={"Referer": "http://evil.example/"}).status_code == 403


@pytest.mark.parametrize("at", [*ANSWERED, "/missing", "/web/page.html"])
def test_every_answer_says_what_a_browser_may_do_with_it(client, at):
    headers = client.get(at).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    policy = headers["Content-Security-Policy"]
    framed = at in ("/filetree", "/img.tif.dzi/info")
    assert ("frame-ancestors 'self'" if framed else "frame-ancestors 'none'") in policy
    assert headers["X-Frame-Options"] == ("SAMEORIGIN" if framed else "DENY")
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy
    scripts = policy.partition("script-src")[2].partition(";")[0]
    assert "unsafe-inline" not in scripts
    assert "unsafe-eval" not in scripts


def test_a_nonce_serves_once_and_only_the_pages_own_script(client):
    first, second = (client.get("/a.tmap") for _ in range(2))
    nonces = [
        each.headers["Content-Security-Policy"].partition("'nonce-")[2].partition("'")[0]
        for each in (first, second)
    ]
    assert nonces[0] != nonces[1]
    assert first.text.count(f'<script nonce="{nonces[0]}">') == 1


@pytest.mark.parametrize("query", ["dl=1", "dl=", "dl=0", "dl", "DL=1", "x=1&dl=1"])
@pytest.mark.parametrize("at", ["/e.tmap", "/sub/b.tmap"])
def test_no_project_packs_files(folder, client, at, query):
    named = {"markerFiles": [{"path": "/etc/passwd"}, {"path": "../secret.csv"}], "regionFile": "/etc/shadow"}
    (folder / "e.tmap").write_text(json.dumps(named | {"layers": []}))
    answer = client.get(f"{at}?{query}")
    assert answer.status_code == (403 if "dl" in query else 302 if "sub" in at else 200)
    assert b"root:" not in answer.data
    assert b"passwd" not in answer.data
    assert b"secret" not in answer.data


def state_of(answer):
    text = answer.text.partition("jsonState = ")[2].partition("\n")[0]
    return json.loads(text)


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


@pytest.mark.parametrize(
    "at", ["/a.tmap?tmap=evil.json", "/?tmap=data:,{}", "/a.h5ad?x&tmap", "/img.tif?%74map=x"]
)
def test_no_address_reads_a_project_past_us(client, at):
    assert client.get(at).status_code == 404
    assert "urlParams.get('tmap')" not in client.get("/a.tmap").text


# Saving a project


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


def test_a_server_that_only_reads_saves_nothing(folder, client, monkeypatch):
    monkeypatch.setitem(make_app(folder).config, "READ_ONLY", True)
    answer = client.post("/new.tmap", json={"layers": []})
    assert answer.status_code == 403
    assert "read-only" in answer.json["error"]
    assert not (folder / "new.tmap").exists()


# Bytes of an h5ad

WORKER = {"Referer": "http://localhost/static/js/utils/h5Utils_worker.js"}


@pytest.mark.parametrize(
    ("header", "status", "cut"),
    [
        ("bytes=0-99", 206, slice(0, 100)), ("bytes=10-10", 206, slice(10, 11)), ("bytes=0-", 206, slice(0,
        None)),
        ("bytes=-5", 206, slice(-5, None)), ("bytes=100-999999999999", 206, slice(100, None)),
        ("bytes=-999999999", 206, slice(0, None)), ("x", 200, slice(0, None)), ("bytes=", 200, slice(0,
        None)),
        ("bytes=-", 200, slice(0, None)), ("bytes=5-2", 200, slice(0, None)), ("items=0-5", 200, slice(0,
        None)),
        ("bytes=0-1,5-9", 200, slice(0, None)), ("bytes=a-b", 200, slice(0, None)), (None, 200, slice(0,
        None)),
        ("bytes=999999999-", 416, None), ("bytes=-0", 416, None), ("bytes=" + "9" * 30 + "-", 200, slice(0,
        None)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", ["/a.h5ad", "/b.h5ad?path=sub", "/sub/b.h5ad"])
def test_bytes_of_an_h5ad_are_given_by_ranges(folder, client, at, header, status, cut):
    content = (folder / "a.h5ad").read_bytes()
    answer = client.get(at, headers=WORKER | ({"Range": header} if header else {}))
    assert answer.status_code == status
    if cut is None:
        assert answer.headers["Content-Range"] == f"bytes */{len(content)}"
    else:
        assert answer.data == content[cut]
        assert int(answer.headers["Content-Length"]) == len(content[cut])
    head = client.head(at, headers=WORKER)
    assert (head.status_code, head.headers["Accept-Ranges"]) == (200, "bytes")
    assert int(head.headers["Content-Length"]) == len(content)


def test_a_file_of_any_size_is_given_in_pieces(folder, client):
    import tracemalloc

    with (folder / "big.h5ad").open("wb") as file:
        file.truncate(2**31)
    tracemalloc.start()
    answer = client.get("/big.h5ad", headers=WORKER | {"Range": "bytes=0-"}, buffered=False)
    first = next(answer.iter_encoded())
    answer.close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(first) <= 2**20
    assert peak < 2**24
    assert int(answer.headers["Content-Length"]) == 2**31


# Names

NAMES = [
    "S21 #2 A1", "p%41b", "q?x", "colon:x", "back\\slash", "~tilde", "-rf", "https-slide", "50%", "a;b&c=d+e",
    "日本語 ü", "it's \"quoted\"", "<b>bold", "a.b.c", "(1) [2] {3}", " space ", "%2e%2e", "C:\\x", "null",
    "a|b^c`",
    "con", "x" * 200,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("within", ["", "S #1 50%"])
def test_every_name_has_an_address(tmp_path, slides, name, within):
    from tissuumaps_sic.slidefile.names import refusal
    from tissuumaps_sic.slidefile.placing import find_image
    from tissuumaps_sic.slidefile.project import tmap_project, write_tmap
    from tissuumaps_sic.viewer.made_project import make_project
    from tissuumaps_sic.viewer.worklist import page

    assert refusal(f"{name}.tif") is None
    folder = tmp_path / within
    folder.mkdir(exist_ok=True)
    h5ad = folder / f"{name}.h5ad"
    h5ad.write_bytes((slides / "a.h5ad").read_bytes())
    image = folder / f"{name}.tif"
    image.write_bytes((slides / "img.tif").read_bytes())
    client = client_of(tmp_path)
    made = state_of(client.get(page(tmp_path, h5ad.with_suffix(".tmap"))))
    project = tmap_project(
        h5ad_name=h5ad.name, slide_name=name, image=image.name, slide_size=(900, 600), centres=np.zeros((1,
        2)),
        stride0=128.0, mpp=0.5,
    )  # fmt: skip
    write_tmap(h5ad.with_suffix(".tmap"), project)
    assert find_image(h5ad) == image
    shown = state_of(client.get(page(tmp_path, h5ad.with_suffix(".tmap"))))
    assert shown["layers"][0]["tileSource"] == project["layers"][0]["tileSource"]
    for state in (made, shown, make_project(h5ad)):
        assert not set(state["filename"]) & set("<>&\"'")
        (markers,) = state["markerFiles"]
        named = markers["path"] if isinstance(markers["path"], str) else markers["path"][0]
        at = f"{address(within)}/{named}" if within else named
        got = client.get(f"/{at}", headers=WORKER | {"Range": "bytes=0-7"})
        assert got.data == b"\x89HDF\r\n\x1a\n"
    tiles = project["layers"][0]["tileSource"].removesuffix(".dzi")
    at = f"{address(within)}/{tiles}" if within else tiles
    assert client.get(f"/{at}.dzi").status_code == 200
    assert client.get(f"/{at}_files/8/0_0.jpeg").mimetype == "image/jpeg"


def test_projects_of_before_with_plain_names_open(tmp_path, slides):
    from tissuumaps_sic.slidefile.placing import find_image

    for name in ("S21 #2 A1", "p%41b", "q?x", "50%"):
        (tmp_path / f"{name}.tif").write_bytes((slides / "img.tif").read_bytes())
        project = {"layers": [{"name": name, "tileSource": f"{name}.tif.dzi"}], "markerFiles": []}
        (tmp_path / f"{name}.tmap").write_text(json.dumps(project))
        shown = state_of(client_of(tmp_path).get(f"/{address(name)}.tmap"))
        assert shown["layers"][0]["tileSource"] == f"{address(name)}.tif.dzi"
        assert find_image(tmp_path / f"{name}.h5ad") == tmp_path / f"{name}.tif"


# Passwords


def test_wrong_passwords_are_slowed_and_shut_nobody_else_out(folder, monkeypatch):
    (folder / "auth").write_text("anna;se;cret")
    now = [time.monotonic()]
    monkeypatch.setattr("tissuumaps_sic.viewer.passwords.time.monotonic", lambda: now[0])
    client, known = client_of(folder), None
    known = Client(client.application)
    assert known.get("/x.csv", auth=GIVEN).status_code == 200
    attacker = {"REMOTE_ADDR": "10.0.0.9"}
    wrong = [
        client.get("/x.csv", auth=("anna", str(n)), environ_base=attacker).status_code for n in range(50)
    ]
    assert wrong == [401] * 10 + [429] * 40
    assert client.get("/x.csv", auth=GIVEN, environ_base=attacker).status_code == 429
    assert int(client.get("/x.csv", auth=GIVEN, environ_base=attacker).headers["Retry-After"]) >= 1
    # Others, and who came in before from there, go on; who gives nothing is asked as before.
    assert client.get("/x.csv", auth=GIVEN, environ_base={"REMOTE_ADDR": "10.0.0.10"}).status_code == 200
    assert known.get("/x.csv", auth=GIVEN, environ_base=attacker).status_code == 200
    assert Client(client.application).get("/x.csv", environ_base=attacker).status_code == 401
    now[0] += 1.1
    fresh = Client(client.application)
    assert fresh.get("/x.csv", auth=GIVEN, environ_base=attacker).status_code == 200


@pytest.mark.parametrize(
    ("text", "given"),
    [
        (b"anna;se;cret", GIVEN), (b"\xef\xbb\xbfanna;se;cret\r\n", GIVEN), (b"anna;se;cret\n\n\n", GIVEN),
        (b" anna ; se;cret \n", GIVEN), ("ännä;gehäim".encode(), ("ännä", "gehäim")), (b"anna;a:b", ("anna",
        "a:b")),
    ],
)  # fmt: skip
def test_one_line_lets_in_who_it_names(folder, text, given):
    (folder / "auth").write_bytes(text)
    client = client_of(folder)
    for at in ("/a.tmap", "/x.csv", "/img.tif.dzi", "/a.h5ad"):
        assert client.get(at, auth=given).status_code == 200
        assert client.get(at, auth=(given[0], given[1] + "x")).status_code == 401
    assert client.post("/plugins/SIC/open", json={"h5ad": "a.h5ad"}, auth=given).status_code == 200


# The plugin's calls


def test_bodies_and_waiting_are_bounded(client):
    from tissuumaps_sic.viewer.serve import _LIMITS

    assert _LIMITS["max_request_body_size"] == MOST_BYTES
    assert set(ENDPOINTS) >= {"open", "change", "run", "write"}
    body = b'{"h5ad": "' + b"x" * MOST_BYTES + b'"}'
    assert client.post("/plugins/SIC/open", data=body, content_type="application/json").status_code == 413


def test_passwords_of_folders_below_are_not_guessed_by_calls(folder):
    (folder / "locked" / "auth").write_text("anna;se;cret")
    client = client_of(folder)

    def ask(h5ad, auth):
        return client.post("/plugins/SIC/open", json={"h5ad": h5ad}, auth=auth).status_code

    assert ask("locked/c.h5ad", GIVEN) == 200  # from now on it is known by its cookie
    stranger = client_of(folder)
    tries = [
        stranger.post("/plugins/SIC/open", json={"h5ad": "locked/c.h5ad"}, auth=("anna", str(k))).status_code
        for k in range(30)
    ]
    assert tries.count(401) <= 12
    assert tries[-1] == 429
    assert stranger.post("/plugins/SIC/open", json={"h5ad": "a.h5ad"}).status_code == 200
    assert ask("locked/c.h5ad", GIVEN) == 200


def test_a_listing_opens_no_pipe_and_shows_what_can_be_opened(folder, client):
    os.mkfifo(folder / "sub" / "pipe.tif")
    (folder / "sub" / "deeper").mkdir()
    (folder / "sub" / "out.csv").symlink_to(folder.parent / "secret.csv")
    listed = {
        each["text"]: each["data"]["isdirectory"] for each in client.get("/get_file_tree?root=sub").json
    }
    assert listed == {"b.h5ad": False, "b.tmap": False, "img.tif": False, "deeper": True}
    assert client.get("/get_file_tree").status_code == 200
    for root in ("nowhere", "/etc", "%252e%252e", "%256cocked", "x.csv"):
        assert client.get(f"/get_file_tree?root={root}").status_code == 404, root


def test_only_pictures_are_followed_out_of_the_folder(folder, client):
    outside = folder.parent
    (outside / "secret.h5ad").write_bytes(b"secret")
    (outside / "shown.tif").write_bytes((folder / "img.tif").read_bytes())
    for name in ("secret.csv", "secret.h5ad", "shown.tif"):
        (folder / f"to-{name}").symlink_to(outside / name)
    (folder / "sub" / "out").symlink_to(outside)
    for at in ("/to-secret.csv", "/sub/out/secret.csv", "/get_file_tree?root=sub/out"):
        assert client.get(at).status_code == 404, at
    for at in ("/to-secret.h5ad", "/secret.h5ad?path=sub/out"):
        answer = client.get(at, headers={"Range": "bytes=0-9"})
        assert answer.status_code == 404, at
        assert b"secret" not in answer.data
    assert client.get("/to-shown.tif.dzi").status_code == 200


@pytest.mark.parametrize("nothing", ["path=", "path=null"])
def test_a_folder_that_is_named_by_nothing_is_left_out_of_the_address(client, nothing):
    answer = client.get(f"/a.tmap?{nothing}&x=1")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/a.tmap?x=1")
    assert client.get(f"/a.h5ad?{nothing}", headers={"Range": "bytes=0-9"}).status_code == 206


def test_a_project_of_a_name_that_is_too_long_is_refused_in_words(client):
    answer = client.post(f"/{'n' * 251}.tmap", json={"layers": []})
    assert answer.status_code in (403, 404, 422)
    assert "not saved" in answer.json["error"]
