"""`tissuumaps-sic verify`: patches to be judged as a table, answers from it, figures in three forms."""

import csv
import json

import numpy as np
import pytest
from making.labels import CLASSES, labelled, plan, write_grid_h5ad

from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture
def h5ad(tmp_path, monkeypatch):
    """A slide with the labels of a real run, which can be replayed."""
    monkeypatch.chdir(tmp_path)
    from tissuumaps_sic.annotation.runs import label

    path = write_grid_h5ad(tmp_path / "slide.h5ad", plan((4000, 3000)))
    slide = open_slide_file(path)
    names = [str(each) for each in slide.patch_names]
    session = Session.new(slide).seed(names[:2], 1).seed(names[-2:], 0)
    save_session(session_path(path), label(slide, session).session)
    return path


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fill(path, h5ad, n=None, *, turn=lambda row, name: name):
    """Answer a table's first `n` questions as the labels are; return its rows."""
    slide = open_slide_file(h5ad)
    session = load_session(session_path(h5ad), slide)
    labels, rows = session.run.unpack(), rows_of(path)
    for place, row in enumerate(rows[:n]):
        row["class"] = turn(place, session.classes[labels[slide.index[row["patch"]]]].name)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return rows


def test_patches_are_drawn_blind_judged_and_told(h5ad, tmp_path, capsys):
    assert main(["verify", str(h5ad)]) == 0
    assert "have not been checked" in capsys.readouterr().out
    table = tmp_path / "judge.csv"
    assert main(["verify", str(h5ad), "--draw", "40", "-o", str(table)]) == 0
    rows = rows_of(table)
    assert len(rows) == 40
    assert list(rows[0]) == ["patch", "x", "y", "class"]
    assert {row["class"] for row in rows} == {""}
    # Again before anything is answered: the same ones.
    assert main(["verify", str(h5ad), "--draw", "40", "-o", str(tmp_path / "again.csv")]) == 0
    assert rows_of(tmp_path / "again.csv") == rows
    # Half of them, one of which cannot be told; then all.
    fill(table, h5ad, 20, turn=lambda place, name: "?" if place == 4 else name.upper())
    capsys.readouterr()
    assert main(["verify", str(h5ad), "--answers", str(table), "--user", "Ada", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["state"], report["answers"], report["unclear"]) == ("ready", 19, 1)
    fill(table, h5ad, turn=lambda place, name: "?" if place == 4 else name)
    assert main(["verify", str(h5ad), "--answers", str(table), "-o", str(tmp_path / "figures.csv")]) == 0
    told = capsys.readouterr().out
    assert "By 39 patches chosen at random and judged without seeing the labels" in told
    assert "precision" in told
    assert "more answers would halve" in told
    figures = {(row["class"], row["measure"]): row for row in rows_of(tmp_path / "figures.csv")}
    assert float(figures["Tumour", "f1"]["value"]) == 1
    assert float(figures["Tumour", "f1"]["low"]) < 0.97
    assert ("", "accuracy") in figures
    # The next ones are others, and another check begins with none.
    assert main(["verify", str(h5ad), "--draw", "5", "-o", str(table)]) == 0
    assert not {row["patch"] for row in rows} & {row["patch"] for row in rows_of(table)}
    assert main(["verify", str(h5ad), "--draw", "5", "--anew", "-o", str(table)]) == 0
    assert load_session(session_path(h5ad), open_slide_file(h5ad)).answers == {}


def test_the_order_of_a_tables_lines_does_not_matter(h5ad, tmp_path, capsys):
    table = tmp_path / "judge.csv"
    assert main(["verify", str(h5ad), "--draw", "15", "-o", str(table)]) == 0
    lines = [table.read_text().splitlines()[0]]
    fill(table, h5ad)
    lines += sorted(table.read_text().splitlines()[1:])
    table.write_text("\n".join(lines))
    capsys.readouterr()
    assert main(["verify", str(h5ad), "--answers", str(table), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["answers"], report["unclear"]) == (15, 0)


def test_answers_of_two_readers_are_compared(h5ad, tmp_path, capsys):
    slide = open_slide_file(h5ad)
    table = tmp_path / "judge.csv"
    assert main(["verify", str(h5ad), "--draw", "20", "-o", str(table)]) == 0
    save_session(session_path(h5ad, "Ben"), load_session(session_path(h5ad), slide))
    fill(table, h5ad)
    assert main(["verify", str(h5ad), "--answers", str(table)]) == 0
    fill(table, h5ad, turn=lambda place, name: "Other" if place < 2 else name)
    assert main(["verify", str(h5ad), "--session", "Ben", "--answers", str(table)]) == 0
    capsys.readouterr()
    assert main(["verify", str(h5ad), "--compare", "Ben", "--json"]) == 0
    agreement = json.loads(capsys.readouterr().out)["agreement"]
    assert agreement["patches"] == 20
    assert 0.85 < agreement["share"]["value"] < 1
    assert main(["verify", str(h5ad), "--compare", "Ben"]) == 0
    assert "Both readers answered 20 patches" in capsys.readouterr().out


def test_what_cannot_be_meant_is_wrong_use(h5ad, tmp_path, caplog):
    for wrong in (["--draw", "5"], ["--anew"], ["--draw", "5", "-o", "x.csv", "--json"], ["--session", "/"]):
        assert main(["verify", str(h5ad), *wrong]) == 2
    table = tmp_path / "judge.csv"
    assert main(["verify", str(h5ad), "--draw", "12", "-o", str(table)]) == 0
    good = table.read_text()
    first = good.splitlines()[1].split(",")[0]
    patches = {line.split(",")[0] for line in good.splitlines()}
    other = next(str(each) for each in open_slide_file(h5ad).patch_names[::-1] if str(each) not in patches)
    for text, told in (
        (f"patch,class\n{first},Nonsense\n", "not a class of the session"),
        ("patch,class\nnowhere,Tumour\n", "not a patch of the slide"),
        (f"patch,other\n{first},Tumour\n", "needs the columns patch and class"),
        (f"patch,class\n{other},Tumour\n", "chosen at random"),
    ):
        before = session_path(h5ad).read_text()
        table.write_text(text)
        assert main(["verify", str(h5ad), "--answers", str(table)]) == 1
        assert told in caplog.text
        assert session_path(h5ad).read_text() == before


def test_without_labels_there_is_nothing_to_draw_from(tmp_path, caplog):
    path = write_grid_h5ad(tmp_path / "slide.h5ad", plan((2000, 1500)))
    made = labelled(path, np.zeros(len(plan((2000, 1500)))), classes=CLASSES[:2])
    save_session(session_path(path), made.session.model_copy(update={"run": None}))
    assert main(["verify", str(path), "--draw", "5", "-o", str(tmp_path / "x.csv")]) == 1
    assert "no labels yet" in caplog.text
    assert not (tmp_path / "x.csv").exists()
