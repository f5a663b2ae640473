"""What the command line takes for slides."""

from pathlib import Path

import pytest

from embedder.inputs import InputError, SlideInput, clashes, gather


@pytest.fixture
def folder(tmp_path):
    for name in ("b.svs", "a.tif", "c.ndpi", "notes.txt", ".hidden.svs", "a.h5ad", "deep/d.svs"):
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scans" / name).write_bytes(b"x")
    return tmp_path / "scans"


def names(items):
    return [item.path.name for item in items]


def test_a_folder_gives_its_slides_in_order_and_nothing_else(folder):
    assert names(gather([folder])) == ["a.tif", "b.svs", "c.ndpi"]


def test_a_pattern_is_followed_into_folders(folder):
    assert names(gather([f"{folder}/**/*.svs"])) == ["b.svs", "d.svs"]


def test_a_slide_that_is_named_twice_is_done_once(folder):
    assert names(gather([folder / "b.svs", folder])) == ["b.svs", "a.tif", "c.ndpi"]


def test_a_file_that_is_missing_is_left_for_the_run_to_tell(folder):
    assert gather([folder / "gone.svs"]) == [SlideInput(folder / "gone.svs")]


def test_a_name_with_brackets_is_a_file_where_there_is_one(folder):
    odd = folder / "case[1].svs"
    odd.write_bytes(b"x")
    assert gather([odd]) == [SlideInput(odd)]


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_table_gives_each_slide_its_resolution(folder, suffix):
    table = folder / f"slides.{suffix}"
    rows = [["slide", "patient", "mpp"], ["b.svs", "x", "0.25"], [str(folder / "a.tif"), "y", ""]]
    text = "\n".join({"csv": ",", "tsv": "\t"}[suffix].join(row) for row in rows)
    table.write_text(text, encoding="utf-8-sig")  # as Excel writes it
    assert gather([table]) == [SlideInput(folder / "b.svs", 0.25), SlideInput(folder / "a.tif", None)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("file,mpp\na.tif,0.5\n", "slide or path or filename"),
        ("", "its columns are none"),
        ("slide,mpp\na.tif,20x\n", "line 2: mpp is '20x'"),
        ("slide,mpp\na.tif,0.5\nb.svs,-1\n", "line 3"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(folder, content, told):
    table = folder / "slides.csv"
    table.write_text(content)
    with pytest.raises(InputError, match=told):
        gather([table])


def test_nothing_found_is_an_error(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no slide in this folder"):
        gather([tmp_path / "empty"])
    with pytest.raises(InputError, match="no file fits"):
        gather([f"{folder}/*.mrxs"])


def test_slides_of_one_name_clash_whatever_their_folder_and_capitals():
    items = [SlideInput(Path(each)) for each in ("a/x.svs", "b/y.svs", "b/X.tif", "c/x.ndpi")]
    assert clashes(items) == {2: Path("a/x.svs"), 3: Path("a/x.svs")}
