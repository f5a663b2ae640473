"""Every route of the application is asked with every kind of attack; a new one of TissUUmaps is told.

Most of it is asked of what `serve` serves; the plugin's own door also where TissUUmaps is another's.
"""

import json
import os
import time

import pytest
from making.guarded import client_of
from werkzeug.test import Client

from tissuumaps_sic.viewer.access import ROUTES
from tissuumaps_sic.viewer.endpoints import ENDPOINTS
from tissuumaps_sic.viewer.guard import guard_app
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


GIVEN = ("anna", "se;cret")


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
    "at",
    [
        "/web/page.html",
        "/page.html",
        "/sub/x.html",
        "/img.tif.dzi/label_files/1/0_0.png",
        "/img.tif_files/1/0_0.js",
    ],
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
    client = Client(guard_app(app, folder / "auth"))
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
            # The second where it can be nobody's name.
            assert b"not called" in answer.data or b"does not go by that name" in answer.data
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


@pytest.mark.parametrize(
    "at", ["/a.tmap?tmap=evil.json", "/?tmap=data:,{}", "/a.h5ad?x&tmap", "/img.tif?%74map=x"]
)
def test_no_address_reads_a_project_past_us(client, at):
    assert client.get(at).status_code == 404
    assert "urlParams.get('tmap')" not in client.get("/a.tmap").text


def test_a_server_that_only_reads_saves_nothing(folder, client, monkeypatch):
    monkeypatch.setitem(make_app(folder).config, "READ_ONLY", True)
    answer = client.post("/new.tmap", json={"layers": []})
    assert answer.status_code == 403
    assert "read-only" in answer.json["error"]
    assert not (folder / "new.tmap").exists()


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


@pytest.mark.parametrize("nothing", ["path=", "path=null"])
def test_a_folder_that_is_named_by_nothing_is_left_out_of_the_address(client, nothing):
    answer = client.get(f"/a.tmap?{nothing}&x=1")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/a.tmap?x=1")
    assert client.get(f"/a.h5ad?{nothing}", headers={"Range": "bytes=0-9"}).status_code == 206


# The plugin's own door: where TissUUmaps is another's, nobody else asks


@pytest.fixture
def plain(folder):
    """A client of TissUUmaps with the plugin, without our door."""
    app = make_app(folder)
    app.config["READ_ONLY"] = False
    yield app.test_client()
    app.config["READ_ONLY"] = False


H5AD = "sub/b.h5ad"
SEED = {"revision": 0, "change": {"kind": "seed", "label": 1, "patches": [5]}}


def post(client, endpoint, content, **options):
    return client.post(f"/plugins/SIC/{endpoint}", json=content, **options)


@pytest.mark.parametrize(
    "path",
    [
        "../outside.h5ad", "sub/../../outside.h5ad", "/etc/passwd", "..\\outside.h5ad", "out.h5ad",
        "sub/b.h5ad\0", "sub/b.sic.json", "sub", "missing.h5ad", "x" * 4000 + ".h5ad", "x/" * 3000 + "b.h5ad",
    ],
)  # fmt: skip
def test_a_call_reaches_nothing_outside_the_folder(plain, folder, path):
    outside = folder.parent / "outside.h5ad"
    outside.write_bytes((folder / "a.h5ad").read_bytes())
    (folder / "out.h5ad").symlink_to(outside)
    (folder / "sub" / "b.sic.json").write_text("{}")
    for endpoint in ("open", "run", "change", "write", "labels"):
        response = post(plain, endpoint, {"h5ad": path, "revision": 0, "change": {"kind": "clear"}})
        assert response.status_code in (404, 422)
        assert "error" in response.json
    assert post(plain, "open", {"h5ad": str(outside)}).status_code == 404
    assert not (folder.parent / "outside.sic.json").exists()


@pytest.mark.parametrize("name", ["__class__", "__init__", "_app", "nothing", "__dict__", "change/x"])
def test_a_call_finds_nothing_but_the_endpoints(plain, name):
    assert post(plain, name, {"h5ad": H5AD}).status_code == 404
    assert plain.get(f"/plugins/SIC/{name}").status_code == 404


@pytest.mark.parametrize("name", ENDPOINTS)
def test_each_endpoint_asks_for_a_post_of_our_own_page_and_for_the_password(plain, folder, name):
    assert plain.get(f"/plugins/SIC/{name}?h5ad={H5AD}").status_code == 405
    for headers in OTHERS:
        if "Origin" in headers:
            assert post(plain, name, {"h5ad": H5AD, **SEED}, headers=headers).status_code == 403
    (folder / "sub" / "auth").write_text("ann; secret\n")
    for given in (None, ("ann", "wrong")):
        refused = post(plain, name, {"h5ad": H5AD, **SEED}, auth=given)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic")
    assert not list((folder / "sub").glob("b*.sic.json"))


def test_our_own_page_and_who_has_the_password_are_answered(plain, folder):
    (folder / "sub" / "auth").write_text("ann; secret\n")
    headers = {"Origin": "http://localhost"}
    assert post(plain, "open", {"h5ad": H5AD}, headers=headers, auth=("ann", "secret")).status_code == 200


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_read_only_server_refuses_each_endpoint_that_writes_and_says_so(plain, folder, name):
    before = sorted(folder.rglob("*"))
    plain.application.config["READ_ONLY"] = True
    response = post(plain, name, {"h5ad": H5AD, **SEED})
    writes = ("bring", "change", "draw", "look", "merge", "offer", "preview", "run", "write")
    assert (response.status_code == 403) == (name in writes)
    assert ("read-only" in response.text) == (response.status_code == 403)
    assert post(plain, "open", {"h5ad": H5AD}).status_code == 200
    assert sorted(folder.rglob("*")) == before


def test_sessions_and_locks_that_are_links_are_not_followed(plain, folder):
    outside = folder.parent / "secret.csv"
    (folder / "sub" / "b.linked.sic.json").symlink_to(outside)
    (folder / ".a.sic.lock").symlink_to(folder.parent / "lock")
    answer = post(plain, "change", {"h5ad": H5AD, "session": "linked", **SEED})
    assert answer.status_code == 422
    assert "is a link to another place" in answer.json["error"]
    (row,) = [
        row
        for row in post(plain, "worklist", {"h5ad": H5AD, "session": "linked"}).json["slides"]
        if row["h5ad"] == H5AD
    ]
    assert "is a link to another place" in row["problem"]
    assert post(plain, "change", {"h5ad": "a.h5ad", **SEED}).status_code == 507
    assert outside.read_text() == "secret"
    assert not (folder.parent / "lock").exists()


def test_what_a_session_borrows_is_read_only_where_the_same_password_opens_it(plain, folder):
    (folder / "locked" / "auth").write_text("ann;secret")
    source = {"kind": "borrow", "source": "locked/c.h5ad"}
    refused = post(plain, "change", {"h5ad": "a.h5ad", "revision": 0, "change": source})
    assert refused.status_code == 404
    assert "no h5ad of that name" in refused.json["error"]
    (row,) = [row for row in post(plain, "worklist", {"h5ad": "a.h5ad"}).json["slides"] if row["name"] == "a"]
    assert row["h5ad"] == "a.h5ad"
    assert "locked" not in post(plain, "worklist", {"h5ad": "a.h5ad"}).text
