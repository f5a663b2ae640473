"""Names of files as addresses and back, as text on a page, and those that cannot be."""

from urllib.parse import unquote, urljoin, urlsplit

import pytest

from tissuumaps_sic.slidefile.names import address, escape_markup, path_of, refusal

NAMES = [
    "plain.tif", "S21 #2 A1.tif", "p%41b.tif", "q?x.tif", "colon:x.tif", "back\\slash.tif", "~tilde.tif",
    "https.tif", "50%.tif", "日本語.tif", "it's \"x\".tif", "a;b&c=d+e@f,g!h$i*.tif", "%2e%2e",
    "sub #1/50% x.tif",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_an_address_names_its_file_to_whoever_reads_it(name):
    made = address(name)
    assert path_of(made) == name
    # As a browser resolves it, from a page at the root and in a worker's way.
    for base in ("http://localhost:5100/page.tmap?path=x", "http://localhost:5100/a/b/c/worker.js"):
        parts = urlsplit(urljoin(base, ("../../../" if "worker" in base else "") + made))
        assert (parts.netloc, parts.query, parts.fragment) == ("localhost:5100", "", "")
        assert unquote(parts.path) == f"/{name}"
    assert not set(made) & set("<>\"' \\:~?#&")
    assert not made.startswith("http")


@pytest.mark.parametrize("name", ["S21 #2 A1.tif", "q?x.tif", "50%.tif", "a b/c.tif"])
def test_a_plain_name_of_an_older_project_is_its_own_address(name):
    assert path_of(name) == name


def test_a_plain_name_that_looks_like_an_address_is_known_by_its_file(tmp_path):
    assert path_of("p%41b.tif", tmp_path) == "pAb.tif"
    (tmp_path / "p%41b.tif").touch()
    assert path_of("p%41b.tif", tmp_path) == "p%41b.tif"
    (tmp_path / "pAb.tif").touch()
    assert path_of("p%41b.tif", tmp_path) == "pAb.tif"


def test_markup_becomes_letters():
    wide = {each: chr(ord(each) + 0xFEE0) for each in "<>&'\""}
    markup = "<img src=x onerror='a(\"b\")'>&amp;"
    assert escape_markup(markup) == "".join(wide.get(each, each) for each in markup)
    assert escape_markup("日本語 ü ‮") == "日本語 ü ‮"
    assert escape_markup("a\nb\0c\x1b") == "a b c "
    assert escape_markup("\ud800") == "?"


@pytest.mark.parametrize("name", NAMES[:-1])
def test_what_has_an_address_is_not_refused(name):
    assert refusal(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".hidden.svs", "begins with a dot"), ("a\nb.svs", "control character"), ("a\0.svs",
        "control character"),
        ("a\u2028b.svs", "control character"), ("a\udc80.svs", "not UTF-8"), ("x" * 246 + ".svs", "too long"),
        ("漢" * 82 + ".svs", "too long"),
    ],
)  # fmt: skip
def test_what_has_none_is_refused_in_words(name, why):
    assert why in refusal(name)
    assert "rename it" in refusal(name)
