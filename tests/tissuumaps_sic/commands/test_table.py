import csv
import json

import pytest
from making.labels import labelled, plan, write_grid_h5ad

from tissuumaps_sic.cli import main


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in "ba":
        labelled(write_grid_h5ad(folder / f"{name}.h5ad", plan((640, 256))), [0, 0, 1, 1], save=True)
    return folder


def test_a_folder_becomes_a_table_and_a_sheet(folder, tmp_path, capsys):
    table, sheet = tmp_path / "t.csv", tmp_path / "s.html"
    assert main(["table", str(folder), "-o", str(table), "--sheet", str(sheet)]) == 0
    told = capsys.readouterr()
    assert told.out.split() == [str(table), str(sheet)]
    assert "2/2" in told.err
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["slide"] for row in rows] == ["a", "b"]
    assert [row["patches Tumour"] for row in rows] == ["2", "2"]
    assert "http://127.0.0.1:5100/a.tmap" in sheet.read_text()
    assert "<h1>slides</h1>" in sheet.read_text()


def test_one_bad_slide_is_told_and_the_others_are_done(folder, capsys, caplog):
    (folder / "broken.h5ad").write_bytes(b"no h5ad")
    assert main(["table", str(folder), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(row["slide"], bool(row["problem"])) for row in rows] == [
        ("a", False),
        ("b", False),
        ("broken", True),
    ]
    assert "broken.h5ad: not a readable h5ad" in caplog.text
    tumour = next(each for each in rows[0]["classes"] if each["name"] == "Tumour")
    assert (tumour["patches"], tumour["share"], tumour["checked_share"]) == (2, pytest.approx(5 / 6), None)


def test_without_an_output_the_table_is_printed(folder, capsys):
    assert main(["table", str(folder / "a.h5ad"), str(folder), "--session", ""]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [each["slide"] for each in lines] == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-o", "t.xlsx"], "written as .csv or .parquet"),
        (["--session", "a/b"], "cannot be a session's name, which has letters"),
        (["--server", "http://here"], "give --sheet, too"),
        (["--sheet", "s.pdf"], "let its name end in .html"),
        (["--sheet", "s.html", "--root", "elsewhere"], "name a folder above all slides"),
    ],
)
def test_wrong_use_is_told_before_anything_is_read(folder, options, told, caplog):
    assert main(["table", str(folder), *options]) == 2
    assert told in caplog.text


def test_an_address_that_is_none_is_refused(folder, capsys):
    with pytest.raises(SystemExit):
        main(["table", str(folder), "--sheet", "s.html", "--server", "javascript:alert(1)"])
    assert "is not the address of a server" in capsys.readouterr().err
