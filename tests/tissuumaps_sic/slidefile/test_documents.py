"""Documents from anywhere cost nothing but a message."""

import pytest

from tissuumaps_sic.slidefile.documents import parse_json, parse_xml

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "document type, x"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "document type, x"),
        ("<x><y></x>", "mismatched tag"),
        ("", "no element"),
        (b"<?xml version='1.0' encoding='no-such'?><x/>", "encoding"),
    ],
)
def test_xml_that_is_none_or_declares_entities_is_refused(text, words):
    with pytest.raises(ValueError, match=words) as caught:
        parse_xml(text)
    assert "\n" not in str(caught.value)


def test_xml_is_read_in_the_encoding_that_it_tells():
    root = parse_xml("<?xml version='1.0' encoding='latin-1'?><x name='\u00e9'><y/></x>".encode("latin-1"))
    assert (root.get("name"), [each.tag for each in root]) == ("\u00e9", ["y"])


@pytest.mark.parametrize(
    ("text", "words"), [("", "Expecting"), ("{", "Expecting"), ("[" * 100_000, "nested"), (b"\xff", "decode")]
)
def test_json_that_is_none_is_one_kind_of_error(text, words):
    with pytest.raises(ValueError, match=words):
        parse_json(text)
