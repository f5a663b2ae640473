"""The published JSON Schemas are those of the models, and files of every version validate, open and replay.

`older/` has sessions that the code of their time saved, one for each schema, and the provenance of the demo
as two versions wrote it.
"""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from making.files import write_small_h5ad
from making.scripts import load_script

from tissuumaps_sic.annotation.document import to_text
from tissuumaps_sic.annotation.runs import replay
from tissuumaps_sic.annotation.store import load_session, save_session
from tissuumaps_sic.slidefile.provenance import Provenance
from tissuumaps_sic.slides.slide import open_slide_file

ROOT = Path(__file__).resolve().parents[1]
OLDER = ROOT / "tests" / "older"
SESSIONS = sorted(OLDER.glob("schema-*.sic.json"))
PROVENANCES = sorted(OLDER.glob("provenance-*.json"))
SCHEMAS = load_script("schemas")
# Classes and seeds that all of them end with, and how many patches their labels gave each class.
CLASSES = ["Other", "Tumour, invasive", "Fat"]
SEEDS = {1: {0: 2, 1: 2}, 2: {0: 3, 1: 2, 2: 2}, 3: {0: 3, 1: 2, 2: 2}, 4: {0: 117, 1: 1315, 2: 115}}
COUNTS = {1: (65, 31), 2: (19, 47, 30), 3: (19, 47, 30), 4: (390, 1355, 655)}


def validator(name):
    return Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / name).read_text()))


SESSION, PROVENANCE = validator("session.schema.json"), validator("provenance.schema.json")


def opened(path, tmp_path):
    """A session of an older version, and the slide that it is of."""
    number = int(path.name[len("schema-")])
    if number == 4:
        h5ad = write_small_h5ad(tmp_path / "large.h5ad", columns=60, rows=40)
    else:
        h5ad = write_small_h5ad(tmp_path / "small.h5ad")
    slide = open_slide_file(h5ad)
    return number, slide, load_session(path, slide)


def test_the_published_schemas_are_those_of_the_models():
    published = {path.name: path.read_text() for path in (ROOT / "docs" / "schemas").glob("*.json")}
    assert published == SCHEMAS.texts(), "run `make schemas`, and say in CHANGELOG.md what is new"
    for name in published:
        Draft202012Validator.check_schema(json.loads(published[name]))


def test_there_is_a_session_of_every_older_schema():
    known = SESSION.schema["properties"]["schema"]["enum"]
    assert [json.loads(path.read_text())["schema"] for path in SESSIONS] == known[:-1]


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.name)
def test_sessions_of_older_versions_validate_open_and_replay_to_the_same_labels(path, tmp_path):
    SESSION.validate(json.loads(path.read_text()))
    number, slide, session = opened(path, tmp_path)
    assert [each.name for each in session.classes] == CLASSES[: len(COUNTS[number])]
    labels = list(session.seeds.values())
    assert {label: labels.count(label) for label in set(labels)} == SEEDS[number]
    assert session.run.counts == COUNTS[number]
    assert len(session.actions) - session.position == (number > 1)
    assert [loan.slide for loan in session.loans] == (["lender"] if number > 2 else [])
    assert not session.is_stale
    # These seeds came without their slide, and the run did not take them.
    alone = session.model_copy(update={"run": session.run.model_copy(update={"loans": ()})})
    assert (replay(slide, alone).labels == session.run.unpack()).all()


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.name)
def test_they_are_saved_as_the_schema_tells_and_nothing_is_lost(path, tmp_path):
    _, slide, session = opened(path, tmp_path)
    changed = session.redo() if session.can_redo else session.undo()
    for each in (session, changed, changed.undo().skip([slide.patch_names[3]]).note("here")):
        SESSION.validate(json.loads(to_text(each)))
        save_session(tmp_path / "again.sic.json", each)
        assert load_session(tmp_path / "again.sic.json", slide) == each


def test_a_change_to_a_session_that_the_schema_forbids_is_refused(tmp_path):
    document = json.loads(SESSIONS[2].read_text())
    for change in (
        {"schema": "tissuumaps-sic/session/99"},
        {"more": 1},
        {"position": -1},
        {"actions": [{"kind": "seed", "time": "", "label": 0}]},
        {"actions": [{"kind": "seed", "time": "", "label": 0, "patches": ["a"], "rows": [0]}]},
        {"actions": [{"kind": "dance", "time": ""}]},
        {"classes": [{"name": "A", "color": "red"}]},
    ):
        assert not SESSION.is_valid(document | change), change


@pytest.mark.parametrize("path", PROVENANCES, ids=lambda path: path.name)
def test_provenance_of_both_versions_validates_and_is_read(path):
    document = json.loads(path.read_text())
    PROVENANCE.validate(document)
    read = Provenance.of(document)
    assert (read.lacks, read.encoder.name, read.grid.patch_size) == ([], "efficientnet-lite0", 256)
    assert json.loads(read.to_json()) == document
    assert not PROVENANCE.is_valid({key: value for key, value in document.items() if key != "grid"})
    assert not PROVENANCE.is_valid(document | {"grid": {"patch_size": "large"}})
