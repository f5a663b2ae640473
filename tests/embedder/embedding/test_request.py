"""What the command line takes for slides."""

from pathlib import Path

import pytest

from embedder.embedding.request import InputError, SlideInput, find_clashes, gather


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
        ("", "is empty"),
        ("slide,mpp\na.tif,20x\n", "line 2: mpp is '20x'"),
        ("slide,mpp\na.tif,0.5\nb.svs,-1\n", "line 3"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(folder, content, told):
    table = folder / "slides.csv"
    table.write_text(content)
    with pytest.raises(InputError, match=told):
        gather([table])


def table_of(folder, *lines, name="slides.csv"):
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "header", ["slide,mpp", "slide, mpp", "SLIDE,MPP ", "Slide,Mpp\u00a0", "file name,mpp"]
)
def test_headers_are_matched_as_they_are_meant(folder, header):
    assert gather([table_of(folder, header, " a.tif\u00a0, 0.25 ")]) == [SlideInput(folder / "a.tif", 0.25)]


@pytest.mark.parametrize(
    "header",
    [
        *(
            "um_per_px",
            "AppMag",
            "40x",
            "20 X",
            "Auflösung",
            "Objektiv",
            "µm/px",
            "\u03bcm per pixel",
            "um/px",
            "microns",
            "Micrometers per pixel",
            "nm",
            "mpp_x",
        ),
        *(
            "pixel_size",
            "PixelSize",
            "PhysicalSizeX",
            "magnification",
            "Mag",
            "objective power",
            "resolution",
        ),
        *("Resolution (µm)", "slide.mpp", "openslide.mpp-x", "scale", "dpi"),
    ],
)
def test_a_column_that_looks_like_a_resolution_is_refused_with_the_name_to_use(folder, header):
    with pytest.raises(InputError, match=r"slides\.csv: the column .* looks like a resolution; call it mpp"):
        gather([table_of(folder, f"slide,{header}", "a.tif,0.25")])
    # Where the resolution is given, another column takes nothing from it; where it is empty, it does.
    assert gather([table_of(folder, f"slide,mpp,{header}", "a.tif,0.5,0.25", "b.svs,,")]) == [
        SlideInput(folder / "a.tif", 0.5),
        SlideInput(folder / "b.svs"),
    ]
    with pytest.raises(InputError, match="looks like a resolution"):
        gather([table_of(folder, f"slide,mpp,{header}", "a.tif,0.5,0.25", "b.svs,,0.25")])


@pytest.mark.parametrize("header", ["patient", "umap", "stain", "summary", "image_id", "notes", "block"])
def test_other_columns_are_told_and_left_out(folder, header, caplog):
    assert gather([table_of(folder, f"slide,{header},mpp", "a.tif,1,0.5")]) == [
        SlideInput(folder / "a.tif", 0.5)
    ]
    assert caplog.messages == [f"slides.csv: the column {header} is not used"]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a.tif,0.25", "b.svs,0.5"], "its first line has a.tif, 0.25, and must name the columns"),
        (["slide,path", "a,a.tif"], "the columns slide and path, which both may name the slide"),
        (["slide,mpp", "a.tif,0,25"], "line 2: has 3 cells, and the header 2"),
        (["slide,mpp", "a.tif"], "line 2: has 1 cells"),
        (["slide,mpp", ",0.5"], "line 2: names no slide"),
        (["slide,mpp", "", "a.tif,nan"], "line 3: mpp is 'nan'"),
        (["slide,mpp", "a.tif,inf"], "line 2: mpp is 'inf'"),
        (["slide,mpp", "a.tif,0"], "line 2: mpp is '0'"),
        (["slide,mpp", "a.tif,0.5 um"], "line 2: mpp is '0.5 um'"),
        (["slide;mpp", "a.tif;1,024"], "line 2: 1,024 may be 1.024 or 1024"),
        (
            ["slide,mpp", "a.tif,0.5", "b.svs,1", "./a.tif,0.25"],
            "line 4: lists a.tif with mpp 0.25, and .*line 2",
        ),
        (
            ["slide,mpp", "a.tif,0.5", "deep/../a.tif,"],
            "line 3: lists a.tif with no mpp, and .*line 2 with mpp 0.5",
        ),
    ],
)
def test_what_a_table_leaves_unclear_is_refused_by_line(folder, lines, told):
    with pytest.raises(InputError, match=told) as error:
        gather([table_of(folder, *lines)])
    assert "slides.csv" in str(error.value)


def test_decimal_commas_between_semicolons_are_decimals(folder):
    assert gather([table_of(folder, "slide;mpp", "a.tif;0,25")]) == [SlideInput(folder / "a.tif", 0.25)]


def test_a_slide_listed_twice_alike_is_done_once_and_told(folder, caplog):
    assert names(gather([table_of(folder, "slide,mpp", "a.tif,0.5", "b.svs,", "a.tif,0.50")])) == [
        "a.tif",
        "b.svs",
    ]
    assert "1 line of the tables repeated a slide" in caplog.text


def test_what_a_table_says_of_a_slide_holds_however_else_it_is_named(folder):
    table = table_of(folder, "slide,mpp", "a.tif,0.25")
    expected = [SlideInput(folder / "a.tif", 0.25), SlideInput(folder / "b.svs")]
    assert gather([folder / "a.tif", table, folder / "b.svs"]) == expected
    assert gather([table, folder / "a.tif", folder / "b.svs"]) == expected
    other = table_of(folder, "slide,mpp", "a.tif,0.5", name="others.csv")
    with pytest.raises(
        InputError, match=r"others\.csv, line 2: lists a\.tif with mpp 0\.5, and .*slides\.csv, line 2"
    ):
        gather([table, other])


def test_paths_of_windows_and_of_a_home_are_understood_unless_a_file_is_called_so(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    table = table_of(folder, "slide", r"deep\d.svs", "~/b.svs", "~tilde.tif", r"gone\x.svs")
    found = [item.path for item in gather([table])]
    assert found == [folder / "deep/d.svs", folder / "b.svs", folder / "~tilde.tif", folder / r"gone\x.svs"]
    (folder / r"deep\d.svs").write_bytes(b"x")
    assert gather([table])[0].path == folder / r"deep\d.svs"


def test_a_spreadsheets_own_file_is_refused_with_the_way_out(folder):
    (folder / "slides.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"save it as CSV"):
        gather([folder / "slides.xlsx"])


def test_nothing_found_is_an_error(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no slide in this folder"):
        gather([tmp_path / "empty"])
    with pytest.raises(InputError, match="no file fits"):
        gather([f"{folder}/*.mrxs"])


def test_slides_of_one_name_clash_whatever_their_folder_and_capitals():
    items = [SlideInput(Path(each)) for each in ("a/x.svs", "b/y.svs", "b/X.tif", "c/x.ndpi")]
    assert find_clashes(items) == {2: Path("a/x.svs"), 3: Path("a/x.svs")}
