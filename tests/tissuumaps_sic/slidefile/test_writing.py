"""Files that are replaced: whole or not at all, with the rights they had, links followed."""

import os
import stat
import sys
from pathlib import Path

import pytest

from tissuumaps_sic.slidefile.writing import placing_folder, remove_left_behind, replacing

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")


def write(target: Path, content: str = "new", **options: bool) -> None:
    with replacing(target, **options) as temporary:
        temporary.write_text(content)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_body_that_fails_leaves_the_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.csv"
    target.write_text("old")

    def write_half() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("name", [".", "folder"])
def test_a_folder_is_no_file_to_be_written(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        write(Path(name))
    assert names_in(tmp_path) == ["folder"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_a_replaced_file_keeps_its_mode(tmp_path, mode):
    target = tmp_path / "a.h5ad"
    target.write_text("old")
    target.chmod(mode)
    write(target)
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == mode


@posix
def test_what_is_private_is_private_while_it_is_written(tmp_path):
    target = tmp_path / "a.h5ad"
    target.write_text("old")
    target.chmod(0o600)
    with replacing(target) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600


@posix
def test_a_new_file_has_the_mode_of_any_new_file(tmp_path):
    (tmp_path / "by_hand").write_text("")
    write(tmp_path / "ours")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "by_hand").stat().st_mode


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_replaced_file_keeps_its_owner(tmp_path):
    target = tmp_path / "a.csv"
    target.write_text("old")
    os.chown(target, 65534, 65534)
    write(target)
    assert (target.stat().st_uid, target.stat().st_gid) == (65534, 65534)


@posix
def test_a_link_is_followed_and_stays(tmp_path):
    real = tmp_path / "elsewhere" / "real.csv"
    real.parent.mkdir()
    real.write_text("old")
    link = tmp_path / "link.csv"
    link.symlink_to(real)
    write(link)
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert names_in(real.parent) == ["real.csv"]


@posix
def test_a_link_is_replaced_where_it_must_not_be_followed(tmp_path):
    real = tmp_path / "real.json"
    real.write_text("old")
    real.chmod(0o600)
    link = tmp_path / "link.json"
    link.symlink_to(real)
    write(link, follow_links=False)
    assert not link.is_symlink()
    assert (link.read_text(), real.read_text()) == ("new", "old")


@pytest.mark.parametrize("stem", ["a" * 250, "é" * 124, "切" * 83])
def test_the_longest_names_are_written(tmp_path, stem):
    target = tmp_path / f"{stem}.csv"
    write(target)
    assert names_in(tmp_path) == [target.name]
    (tmp_path / target.name).write_text("old")
    write(target)
    assert target.read_text() == "new"


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path):
    target = tmp_path / "slide.h5ad"
    kept = ["slide.h5ad", ".slide-original.h5ad", ".slide-12345678.csv", ".other-12345678.h5ad"]
    for name in [*kept, ".slide-0a1b2c3d.h5ad", ".slide-ffffffff.h5ad"]:
        (tmp_path / name).write_text("")
    remove_left_behind(target)
    assert names_in(tmp_path) == sorted(kept)


def test_what_replacing_uses_is_what_is_swept(tmp_path):
    target = tmp_path / f"{'a' * 250}.csv"
    with replacing(target) as temporary:
        remove_left_behind(target)
        assert not temporary.exists()
        temporary.write_text("again")


def test_a_folder_that_cannot_be_put_back_is_not_removed(tmp_path, monkeypatch):
    target = tmp_path / "a.zarr"
    target.mkdir()
    (target / "precious").write_text("old")
    rename = Path.rename

    def fail(path, other):
        if other == target:
            raise OSError(5, "Input/output error", str(other))
        return rename(path, other)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output"), placing_folder(target):
        pass
    (left,) = tmp_path.iterdir()
    assert (left / "precious").read_text() == "old"
