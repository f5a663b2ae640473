"""What to install is said as it is right for where this program came from."""

import json
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tissuumaps_sic.slidefile import extras
from tissuumaps_sic.slidefile.extras import tell_install

ROOT = Path(__file__).resolve().parents[3]


class Installed:
    """A distribution, as far as it is asked."""

    def __init__(self, recorded):
        self.recorded = recorded

    def read_text(self, name):
        assert name == "direct_url.json"
        return self.recorded


def install(monkeypatch, recorded):
    monkeypatch.setattr(extras, "distribution", lambda name: Installed(recorded))


FOLDER = "file:///home/ann/tissuumaps-sic"
WHEEL = "file:///home/ann/wheels/tissuumaps_sic-0.2.0%2Bours-py3-none-any.whl"
RELEASE = 'pip install "tissuumaps-sic[{}]" from where you installed it'
REPOSITORY = "https://example.org/tissuumaps-sic.git"


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        (None, 'pip install "tissuumaps-sic[cluster]" from where you installed it'),
        (
            {"url": FOLDER, "dir_info": {"editable": True}},
            'pip install -e ".[cluster]" in your clone of tissuumaps-sic',
        ),
        ({"url": FOLDER, "dir_info": {}}, 'pip install ".[cluster]" in your clone of tissuumaps-sic'),
        (
            {"url": WHEEL, "archive_info": {}},
            'pip install "tissuumaps_sic-0.2.0+ours-py3-none-any.whl[cluster]" in the folder of that file',
        ),
        (
            {"url": REPOSITORY, "vcs_info": {"vcs": "git", "commit_id": "0" * 40}},
            f'pip install "tissuumaps-sic[cluster] @ git+{REPOSITORY}"',
        ),
        (
            {"url": FOLDER, "vcs_info": {"vcs": "git", "commit_id": "0" * 40}},
            'pip install ".[cluster]" in your clone of tissuumaps-sic',
        ),
        (
            {"url": "https://example.org/a.whl", "archive_info": {}},
            'pip install "tissuumaps-sic[cluster] @ https://example.org/a.whl"',
        ),
    ],
)
def test_each_origin_has_its_own_command(monkeypatch, origin, told):
    install(monkeypatch, None if origin is None else json.dumps(origin))
    assert tell_install("cluster") == told
    assert "/home/" not in told


@pytest.mark.parametrize("recorded", ["", "{", "[]", '{"url": 3}', "null"])
def test_a_record_that_says_nothing_is_as_none(monkeypatch, recorded):
    install(monkeypatch, recorded)
    assert tell_install("embed", "cluster") == RELEASE.format("embed,cluster")


def test_where_it_is_not_installed_at_all_the_release_is_named(monkeypatch):
    def lack(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", lack)
    assert tell_install("dicom") == RELEASE.format("dicom")


def test_what_is_not_in_a_folder_is_a_requirement_that_pip_reads(monkeypatch):
    install(monkeypatch, json.dumps({"url": REPOSITORY, "vcs_info": {"vcs": "git"}}))
    _, asked, _ = tell_install("embed", "cluster").split('"')
    assert Requirement(asked).extras == {"embed", "cluster"}


def test_commands_and_exports_name_extras_that_there_are():
    import embedder.cli
    from tissuumaps_sic.export.extras import _LIBRARIES

    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {*embedder.cli._EXTRAS.values(), *_LIBRARIES} <= known.keys()
