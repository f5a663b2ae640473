"""Below a path and behind proxies: whose word counts, and that all addresses follow."""

import re
from pathlib import Path

import pytest
import tissuumaps
from making.proxy import proxied
from making.server import serving
from werkzeug.test import Client

from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.viewer import moved
from tissuumaps_sic.viewer.entrance import Entrance
from tissuumaps_sic.viewer.guard import guard_app
from tissuumaps_sic.viewer.serve import make_app

SCRIPT = "/static/js/flask.js"
CROSS = {"Origin": "https://slides.example", "Sec-Fetch-Site": "same-origin"}
WORD = {
    "X-Forwarded-Host": "slides.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "203.0.113.9, 198.51.100.7",
    "X-Forwarded-Prefix": "/lab/slides/",
}


@pytest.fixture
def client(small_h5ad):
    """A client of the folder behind an entrance, which is made of what it is given."""

    def make(names=("slides.example",), **options):
        folder = small_h5ad.parent
        guarded = guard_app(make_app(folder), folder / "auth", names=names, first="/small.tmap")
        entrance = Entrance(guarded, **options)

        def connected(environ, start):
            environ.setdefault("REMOTE_ADDR", "127.0.0.1")
            return entrance(environ, start)

        return Client(connected)

    return make


def test_below_a_path_all_addresses_begin_with_it(client):
    below = client(sub_path="slides/")
    for path in ("/", "/small.tmap", "/ping", "/slidesome/ping", "/static/js/flask.js", "//slides/ping"):
        answer = below.get(path)
        assert answer.status_code == 404
        assert "begin with /slides/" in answer.text
    assert below.get("/slides/ping").text == "pong"
    assert below.get("/slides?show=new").headers["Location"] == "/slides/?show=new"
    # One slide: the bare address leads to it.
    lead = below.get("/slides/")
    assert lead.status_code == 302
    assert lead.headers["Location"] == "/slides/small.tmap"
    assert below.get("/slides/small.tmap?path=").headers["Location"] == "/slides/small.tmap"
    page = below.get("/slides/small.tmap").text
    assert '"/slides/static/misc/markershapes.png"' in page
    assert '"/slides/static/js/utils/h5Utils_worker.js"' in page
    assert not re.search(r"""["'(=]/(?!slides/|obsm?/)[a-z]\w+[/?.]""", page)
    tree = below.get("/slides/filetree").text
    assert '"/slides/get_file_tree?root="' in tree
    assert 'window.parent.location = "/slides/"' in tree
    assert 'url: "/slides/" + filename' in below.get(f"/slides{SCRIPT}").text
    assert '"/slides/plugins/" +' in below.get("/slides/static/js/utils/pluginUtils.js").text
    assert below.post("/slides/plugins/SIC/open", json={"h5ad": "small.h5ad"}).status_code == 200


def test_a_start_page_below_a_path_leads_below_it(client, small_h5ad):
    from making.files import write_small_h5ad

    (small_h5ad.parent / "deep").mkdir()
    write_small_h5ad(small_h5ad.parent / "deep" / "other.h5ad")
    text = client(sub_path="/slides").get("/slides/").text
    links = re.findall(r'(?:href|src)="([^"]+)"', text)
    assert "/slides/other.tmap?path=deep" in links
    assert all(link.startswith(("/slides/", "data:")) for link in links)


def test_without_a_path_nothing_is_moved(client):
    plain = client()
    assert plain.get("/ping").text == "pong"
    theirs = Path(tissuumaps.__file__).with_name("static") / "js" / "flask.js"
    assert plain.get(SCRIPT).data == theirs.read_bytes()


def test_what_is_moved_stands_in_tissuumaps():
    """A newer TissUUmaps that writes it otherwise would lead people out of the path."""
    package = Path(tissuumaps.__file__).parent
    files = {package / path.lstrip("/"): places for path, places in moved._SCRIPTS.items()}
    files |= {package / "templates" / name: places for name, places in moved._TEMPLATES.items()}
    for path, places in files.items():
        text = path.read_text()
        for place in places:
            assert place.format(root="") in text, (path.name, place)
    # And nothing else that begins at the root, but for one that goes by what we tell it (`Pages._list`).
    begins = re.compile(
        r"""(?:url: |src=|href=|location(?:\.href)? = |_path = |_markershapes = |return \(\s*)["']+/[^/]"""
    )
    known = sum(text.count(place.format(root="")) for text, place in _all_places(files))
    found = [
        (path.name, match[0])
        for path in [*package.glob("static/js/**/*.js"), *package.glob("templates/*.html")]
        for match in begins.finditer(path.read_text())
    ]
    assert len(found) <= known, found


def _all_places(files):
    return [(path.read_text(), place) for path, places in files.items() for place in places]


def test_a_proxy_that_is_named_is_believed(client, small_h5ad):
    (small_h5ad.parent / "auth").write_text("anna;secret")
    told = client(proxies=["127.0.0.0/8"])
    asked = {"headers": {**WORD, **CROSS}, "auth": ("anna", "secret")}
    answer = told.post("/plugins/SIC/open", json={"h5ad": "small.h5ad"}, **asked)
    assert answer.status_code == 200
    cookie = answer.headers["Set-Cookie"]
    assert "; Path=/lab/slides/; Secure" in cookie
    assert told.get("/", **asked).headers["Location"] == "/lab/slides/small.tmap"
    # A port that is the scheme's own is none.
    asked["headers"] = {**WORD, **CROSS, "X-Forwarded-Host": "slides.example:443"}
    assert told.post("/plugins/SIC/open", json={"h5ad": "small.h5ad"}, **asked).status_code == 200
    # Other names and other sites are refused as ever.
    asked["headers"] = {**WORD, "X-Forwarded-Host": "evil.example"}
    assert told.get("/ping", **asked).status_code == 421
    asked["headers"] = {**WORD, "Origin": "https://evil.example"}
    assert told.post("/plugins/SIC/open", json={"h5ad": "small.h5ad"}, **asked).status_code == 403


@pytest.mark.parametrize("proxies", [[], ["10.0.0.1"], ["::1"], ["127.0.0.2/32"]])
def test_nobody_else_is(client, small_h5ad, proxies):
    (small_h5ad.parent / "auth").write_text("anna;secret")
    forged = client(proxies=proxies)
    auth = ("anna", "secret")
    answer = forged.get("/", headers=WORD, auth=auth)
    assert answer.headers["Location"] == "/small.tmap"
    assert "Path=/;" in answer.headers["Set-Cookie"] + ";"
    assert "Secure" not in answer.headers["Set-Cookie"]
    own = forged.post("/plugins/SIC/open", json={"h5ad": "small.h5ad"}, headers={**WORD, **CROSS}, auth=auth)
    assert own.status_code == 403
    # A name of ours that is only said in the header opens no door.
    evil = {"Host": "evil.example", "X-Forwarded-Host": "localhost"}
    assert forged.get("/ping", headers=evil, auth=auth).status_code == 421
    # Nor does another address wait less after wrong passwords.
    forged = client(proxies=proxies)
    statuses = [
        forged.get("/ping", headers={"X-Forwarded-For": f"203.0.113.{n}"}, auth=("anna", "x")).status_code
        for n in range(30)
    ]
    assert 429 in statuses


def test_behind_a_proxy_each_reader_waits_for_his_own_wrong_passwords(client, small_h5ad):
    (small_h5ad.parent / "auth").write_text("anna;secret")
    told = client(proxies=["127.0.0.1"])
    guess = {"headers": {"X-Forwarded-For": "spoofed, 203.0.113.1"}, "auth": ("anna", "x")}
    assert 429 in [told.get("/ping", **guess).status_code for _ in range(30)]
    other = {"headers": {"X-Forwarded-For": "203.0.113.1, 203.0.113.2"}, "auth": ("anna", "secret")}
    assert told.get("/ping", **other).status_code == 200


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "/a/../b", "/a\\b", "https://x", "/a b", "/.", "/a?b", '/"']
)
def test_a_prefix_that_is_no_path_is_refused(client, prefix):
    answer = client(proxies=["127.0.0.1"]).get("/", headers={"X-Forwarded-Prefix": prefix})
    assert answer.status_code == 404
    with pytest.raises(WrongUseError, match="is not a sub-path"):
        client(sub_path=f"x{prefix} ")


@pytest.mark.parametrize("proxy", ["localhost", "", "10.0.0.0/40", "*"])
def test_a_proxy_is_an_address(client, proxy):
    with pytest.raises(WrongUseError, match="is not the address of a proxy"):
        client(proxies=[proxy])


def test_a_peer_by_ipv6_may_be_an_address_of_ipv4(client):
    told = client(proxies=["127.0.0.1"])
    for peer in ("::ffff:127.0.0.1", "127.0.0.1"):
        answer = told.get("/", headers=WORD, environ_base={"REMOTE_ADDR": peer})
        assert answer.headers["Location"] == "/lab/slides/small.tmap"
    for peer in ("unix:", "::1", "fe80::1%eth0"):
        answer = told.get("/", headers=WORD, environ_base={"REMOTE_ADDR": peer})
        assert answer.headers["Location"] == "/small.tmap"


def test_a_real_server_behind_a_real_proxy_that_leaves_the_path(small_h5ad):
    import json
    from urllib.request import Request, urlopen

    with (
        serving(small_h5ad.parent, "--sub-path", "/slides", "--public") as server,
        proxied(server.netloc, "/slides", strip=False) as proxy,
    ):
        assert server.address.endswith("/slides/any.tmap")
        with urlopen(f"{proxy.base}/small.tmap") as answer:
            assert answer.status == 200
        asked = Request(
            f"{proxy.base}/plugins/SIC/open",
            json.dumps({"h5ad": "small.h5ad"}).encode(),
            {"Content-Type": "application/json", "Origin": proxy.base.rpartition("/")[0]},
        )
        with urlopen(asked) as answer:
            assert json.load(answer)["slide"] == "small"
        assert proxy.outside == []
