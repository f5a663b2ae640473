import gzip
import os
import tarfile

import pytest

from tissuumaps_sic.slidefile.kind import tell_kind


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (bytes(5000), "nothing but zeros"),
        (b"\xef\xbb\xbf <html>", "a web page"),
        (b"<?xml version='1.0'?><Error>", "an XML text"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (b'{"a": 1}', "a JSON text"),
        (b"Not found\n", "a text that begins 'Not found'"),
        (b"\x80\x04\x95", "pickle"),
    ],
)
def test_a_file_is_told_by_what_it_begins_with(tmp_path, content, told):
    (tmp_path / "a").write_bytes(content)
    assert told in tell_kind(tmp_path / "a")


def test_archives_folders_and_pipes_are_told_and_nothing_else_is_guessed(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(__file__, "a")
    assert "tar archive" in tell_kind(tmp_path / "a.tar")
    assert tell_kind(tmp_path) == "a folder"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "no file" in tell_kind(tmp_path / "pipe")
    (tmp_path / "b").write_bytes(bytes(range(1, 200)))
    assert tell_kind(tmp_path / "b") is None
    assert tell_kind(tmp_path / "absent") is not None
