"""The table of formats: who goes by it, and that each can be written."""

import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from making.embeddings import write_ramp
from making.labels import plan, write_grid_h5ad
from making.server import ask

from tissuumaps_sic import cli
from tissuumaps_sic.annotation.runs import cluster
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.export import csv_rows
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.formats import FORMATS, ExportOptions, export_slide
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer.endpoints import Server


def annotate(h5ad, name=""):
    slide = open_slide_file(h5ad)
    first, last = str(slide.patch_names[0]), str(slide.patch_names[-1])
    session = Session.new(slide).seed([first], 0).seed([last], 1)
    run, _ = cluster(slide, session.classes, session.seeds)
    session = session.with_run(run)
    save_session(session_path(h5ad, name), session)
    return slide, session


@pytest.fixture
def folder(tmp_path):
    """Two annotated slides, one that is broken, and one without a session."""
    folder = tmp_path / "slides"
    folder.mkdir()
    write_ramp(folder / "ramp.tif")
    write_grid_h5ad(folder / "a.h5ad", plan((1400, 1100)), image="ramp.tif")
    annotate(folder / "a.h5ad")
    shutil.copyfile(folder / "a.h5ad", folder / "c.h5ad")
    (folder / "b.h5ad").write_bytes(b"broken")
    (folder / "b.sic.json").write_text("{}")
    for name in ("c.tmap",):
        shutil.copyfile(folder / "a.tmap", folder / name)
    annotate(folder / "c.h5ad")
    shutil.copyfile(folder / "a.h5ad", folder / "d.h5ad")
    return folder


def test_the_command_line_and_the_server_know_the_same_formats(folder):
    parser = cli.make_parser()
    commands = next(action.choices for action in parser._actions if getattr(action, "choices", None))
    option = next(each for each in commands["export"]._actions if "--format" in each.option_strings)
    assert option.choices == tuple(FORMATS)
    for name in (*FORMATS, "png", "", "csv ", "__class__"):
        asked = {"h5ad": "a.h5ad", "revision": 10**6, "format": name}
        with pytest.raises(SicError) as error:
            ask(Server(), "export", folder, asked)
        assert ("no such format" in str(error.value)) == (name not in FORMATS)
        command = f"run tissuumaps-sic export --format {name}"
        assert (command in str(error.value)) == (name in FORMATS and not FORMATS[name].in_panel)


def test_a_file_that_is_named_by_its_ending_is_of_one_format():
    suffixes = [each.suffix for each in FORMATS.values()]
    assert len(set(suffixes)) == len(suffixes)
    for each in FORMATS.values():
        assert set(each.options) <= set(ExportOptions.__dataclass_fields__)


# Those that make something of their own, and do not go into what is there.
MAKING = [name for name in FORMATS if name != "lazyslide"]


@pytest.mark.parametrize("format_", MAKING)
def test_a_folder_is_exported_in_each_format_and_one_bad_slide_ends_nothing(
    folder, tmp_path, capsys, caplog, format_
):
    ending = FORMATS[format_].ending
    assert main(["export", str(folder), "--format", format_, "-o", str(tmp_path / "out")]) == 1
    assert "b.h5ad: not a readable h5ad" in caplog.text
    assert "d.h5ad: has no session yet; left out" in caplog.text
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / f"{name}.{ending}") for name in "ac"]
    made = {path.name for path in (tmp_path / "out").glob("[!.]*")}
    beside = {"ramp.tif", "a.labels.tmap.csv", "c.labels.tmap.csv"} if format_ == "tmap" else set()
    assert made == {f"a.{ending}", f"c.{ending}"} | beside


def test_a_disk_that_is_full_for_one_slide_does_not_end_the_others(folder, tmp_path, monkeypatch, caplog):
    write = csv_rows.write_csv

    def full(labelled, target):
        if labelled.slide.name == "a":
            raise OSError(28, "No space left on device")
        write(labelled, target)

    monkeypatch.setattr(csv_rows, "write_csv", full)
    (folder / "b.h5ad").unlink()
    assert main(["export", str(folder), "-o", str(tmp_path / "out")]) == 1
    assert "a.h5ad: No space left on device" in caplog.text
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["c.labels.csv"]


def test_run_writes_what_the_files_name_says(folder, tmp_path, caplog):
    for suffix in ("tif", "tmap", "html", "pdf"):
        target = tmp_path / f"out.{suffix}"
        seeds = str(session_path(folder / "a.h5ad"))
        assert main(["run", str(folder / "a.h5ad"), "--seeds", seeds, "-o", str(target)]) == 0
        assert target.stat().st_size > 500
    with pytest.raises(ExportError, match="'docx' is not a format of exports; give one of csv, parquet,"):
        export_slide(folder / "a.h5ad", tmp_path / "a.docx", format_="docx")
    # Seeds from a file are those of the run, though nobody clicked them here.
    assert "seeds have changed" not in (tmp_path / "out.html").read_text()
    assert main(["run", str(folder / "a.h5ad"), "--seeds", seeds, "-o", "out.png"]) == 2
    assert "its ending names no format; end it in csv, parquet, geojson," in caplog.text


def test_the_report_names_the_session_by_its_file(folder, tmp_path):
    annotate(folder / "a.h5ad", "second reader")
    command = ["export", str(folder / "a.h5ad"), "--format", "html", "-o", str(tmp_path / "out.html")]
    assert main([*command, "--session", str(folder / "a.second reader.sic.json")]) == 0
    assert "<dt>Session</dt><dd>second reader</dd>" in (tmp_path / "out.html").read_text()
    assert main(command) == 0
    assert "<dt>Session</dt><dd>(shared)</dd>" in (tmp_path / "out.html").read_text()


@pytest.mark.parametrize("format_", [name for name, each in FORMATS.items() if each.in_panel])
def test_the_server_sends_each_format_as_one_file_and_writes_nothing_into_the_folder(
    folder, format_, tmp_path
):
    _, session = annotate(folder / "a.h5ad", "mine")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    asked = {"h5ad": "a.h5ad", "session": "mine", "revision": session.revision, "format": format_}
    header, content = ask(Server(), "export", folder, asked)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert header["length"] == len(content)
    ending = FORMATS[format_].ending
    packs = format_ == "tmap" or FORMATS[format_].is_folder
    assert header["name"] == f"a.mine.{ending}" + (".zip" if packs else "")
    sent = tmp_path / header["name"]
    content.tofile(sent)
    if format_ == "tmap":
        with zipfile.ZipFile(sent) as packed:
            assert packed.namelist() == ["a.mine.labels.tmap", "a.mine.labels.tmap.csv"]
            project = json.loads(packed.read("a.mine.labels.tmap"))
        # As beside the h5ad, where it is to be unpacked.
        assert project["layers"][0]["tileSource"] == "ramp.tif.dzi"
        assert project["markerFiles"][0]["path"] == "a.mine.labels.tmap.csv"
    if format_ == "spatialdata":
        import spatialdata

        with zipfile.ZipFile(sent) as packed:
            packed.extractall(tmp_path)
        assert set(spatialdata.read_zarr(tmp_path / f"a.mine.{ending}").shapes) == {"regions", "patches"}
    if format_ == "html":
        assert b"<dd>mine</dd>" in content.tobytes()


def test_what_is_too_large_for_the_browser_tells_the_command_instead(folder, monkeypatch):
    _, session = annotate(folder / "a.h5ad", "mine")
    asked = {"h5ad": "a.h5ad", "session": "mine", "revision": session.revision}
    # More than the CSV, less than the h5ad.
    monkeypatch.setattr("tissuumaps_sic.viewer.exports._MOST_SENT", 20_000)
    command = r"tissuumaps-sic export a\.h5ad --format h5ad --session a\.mine\.sic\.json"
    with pytest.raises(SicError, match=command) as error:
        ask(Server(), "export", folder, {**asked, "format": "h5ad"})
    assert error.value.status == 422
    assert ask(Server(), "export", folder, {**asked, "format": "csv"})[0]["name"] == "a.mine.labels.csv"
    monkeypatch.setattr("tissuumaps_sic.viewer.exports._MOST_SENT", 100)
    with pytest.raises(SicError, match="--format csv"):
        ask(Server(), "export", folder, {**asked, "format": "csv"})


def test_a_mask_of_a_file_without_resolution_tells_the_command_in_the_viewer_too(folder):
    with h5py.File(folder / "a.h5ad", "r+") as file:
        del file["uns/embedder"]
    _, session = annotate(folder / "a.h5ad")
    asked = {"h5ad": "a.h5ad", "revision": session.revision, "format": "mask"}
    with pytest.raises(SicError, match="--format mask --downsample 16"):
        ask(Server(), "export", folder, asked)


def test_the_labels_of_all_formats_are_those_of_the_run(folder, tmp_path):
    slide, session = annotate(folder / "a.h5ad")
    main(["export", str(folder / "a.h5ad"), "--format", "mask", "-o", str(tmp_path / "a.tif")])
    import tifffile

    mask = tifffile.imread(tmp_path / "a.tif")
    place = (slide.centres // 16).astype(int)
    # The positive class is the first one, 1.
    assert np.array_equal(mask[place[:, 1], place[:, 0]], 2 - session.run.unpack())
