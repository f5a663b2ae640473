"""Seeds as people write them: read as they are meant, or refused by the line."""

import json

import h5py
import pytest
from making.files import write_small_h5ad

from tissuumaps_sic.annotation.classes import DEFAULT_CLASSES
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.seeds import read_seeds
from tissuumaps_sic.slides.slide import open_slide_file

# Patches of 256 px, 128 apart, five a row; small_X_Y by their corners.
A, B, C = "small_0_0", "small_128_0", "small_512_256"


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return open_slide_file(
        write_small_h5ad(tmp_path_factory.mktemp("seeds") / "small.h5ad", columns=5, rows=3)
    )


@pytest.fixture(scope="module")
def told_slide(tmp_path_factory):
    path = write_small_h5ad(tmp_path_factory.mktemp("told") / "small.h5ad", columns=5, rows=3)
    with h5py.File(path, "r+") as file:
        file["uns/embedder"] = json.dumps({"grid": {"patch_size0": 100}})
    return open_slide_file(path)


def read(folder, slide, *lines, positive=None):
    path = folder / "seeds.csv"
    path.write_text("\n".join(lines) + "\n")
    return read_seeds(path, slide, positive=positive)


NAMED = {A: 1, B: 0, C: 1}


@pytest.mark.parametrize(
    "lines",
    [
        ["patch,class", f"{A},1", f"{B},0", f"{C},1"],
        ["Class;PATCH ", f"1; {A} ", f"0;{B}", "", f"1 ;{C};"],
        ["x,y,class", "128,128,1", "256.0,128,0", "640,384,1"],
        ["x;y;class", "100,5;128;1", "256,25;100;0", "640;384;1"],
        ["X\tY\tclass", "128\t128\t1", "256\t128\t0", "640\t384\t1.0"],
        [",patch,class", f"0,{A},1", f"1,{B},0", f"2,{C},1"],  # pandas' index
        ["patch,x,y,class", f"{A},128,128,1", f"{B},300,200,0", f"{C},,,1"],
    ],
)
def test_every_way_to_write_a_table_gives_the_same_seeds(tmp_path, slide, lines):
    seeds = read(tmp_path, slide, *lines)
    assert seeds.classes == DEFAULT_CLASSES
    assert seeds.patches == NAMED


@pytest.mark.parametrize("positive", ["Tumor", " tumor ", "TUMOR"])
def test_names_of_classes_are_stripped_and_the_positive_one_is_found_in_any_capitals(
    tmp_path, slide, positive
):
    lines = ["patch,class", f"{A},Tumor", f"{B}, Stroma", f"{C},Tumor\u00a0 "]
    seeds = read(tmp_path, slide, *lines, positive=positive)
    assert [each.name for each in seeds.classes] == ["Stroma", "Tumor"]
    assert seeds.patches == NAMED


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([f"{A},1,x", f"{B},0,y"], "line 2: has 3 cells, and the header 2"),
        ([f"{A},1", "", f"{B}"], "line 4: has 1 cells"),
        ([f"{A},1", f"{B},"], "line 3: has no class"),
        ([f"{A},1", f"{B},NaN"], "line 3: has no class"),
        ([f"{A},1", f"{B},0", f"{C},-1"], "line 4: -1 is not a class"),
        ([f"{A},1", ",0"], "line 3: small.h5ad has no patch without a name"),
        ([f"{A},1", "elsewhere,0"], "line 3: small.h5ad has no patch named elsewhere"),
        (
            [f"{A},Tumor", f"{B},Other", f"{C},tumor"],
            "line 4: the class is spelt 'tumor', and 'Tumor' in line 2",
        ),
        ([f"{A},Tu  mor", f"{B},Tu mor"], "line 3: the class is spelt 'Tu mor', and 'Tu  mor' in line 2"),
        ([f"{A},1", f"{B},0", f"{A},0"], f"line 4: gives patch {A} the class 0, and line 2 1; keep one"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused_by_its_number(tmp_path, slide, lines, told):
    with pytest.raises(SessionError, match=rf"seeds\.csv, {told}"):
        read(tmp_path, slide, "patch,class", *lines, positive="Tumor" if "Tu" in lines[0] else None)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["nan,128,0", "256,128,1"], "line 2: x is 'nan', which is no number"),
        (["128,128,0", "256,inf,1"], "line 3: y is 'inf'"),
        (["128,128,0", ",128,1"], "line 3: x is ''"),
        (["128,128,0", "-3,128,1"], "line 3: x -3, y 128 lies outside the slide"),
        (["128,128,0", "5000,128,1"], "line 3: small.h5ad: no patch at x 5000"),
        (["128,128,0", "130,131,1"], f"line 3: gives patch {A} the class 1, and line 2 0"),
        (
            ["128,128,0", '"25,5",128,1'],
            "line 3: x is '25,5', which is no number; write decimals with a point",
        ),
    ],
)
def test_a_place_that_is_none_is_refused_by_its_line(tmp_path, slide, lines, told):
    with pytest.raises(SessionError, match=rf"seeds\.csv, {told}"):
        read(tmp_path, slide, "x,y,class", *lines)


def test_a_place_beside_every_patch_is_refused_where_the_size_of_a_patch_is_known(tmp_path, told_slide):
    lines = ["x,y,class", "170,128,1", "256,128,0"]
    assert read(tmp_path, told_slide, *lines).patches == {A: 1, B: 0}
    with pytest.raises(SessionError, match=r"line 2: small\.h5ad: no patch at x 192, y 128, only beside it"):
        read(tmp_path, told_slide, "x,y,class", "192,128,1")
    with pytest.raises(SessionError, match=rf"line 2: patch {C} is not at x 128, y 128"):
        read(tmp_path, told_slide, "patch,x,y,class", f"{C},128,128,1")


def test_a_place_that_may_lie_beside_its_patch_is_told_where_it_is_not_known(tmp_path, slide, caplog):
    assert read(tmp_path, slide, "x,y,class", "20,128,1", "256,128,0").patches == {A: 1, B: 0}
    assert caplog.messages == [
        f"seeds.csv, line 2: x 20, y 128 may lie beside patch {A}, which is the nearest; small.h5ad does "
        "not say how large its patches are"
    ]


def test_lines_that_agree_and_columns_without_use_are_told(tmp_path, slide, caplog):
    seeds = read(tmp_path, slide, "patch,class,who", f"{A},1,eva", f"{B},0,eva", f"{A},1,max")
    assert seeds.patches == {A: 1, B: 0}
    assert caplog.messages == [
        "seeds.csv: the column who is not used",
        "seeds.csv: 1 line repeats the seed of an earlier line",
    ]


@pytest.mark.parametrize(
    ("classes", "positive", "told"),
    [
        ("Tumor,Stroma", "Tumour", r"has no class 'Tumour' \(--positive\); its classes are Stroma, Tumor"),
        ("Tumor,Stroma", None, "which of the classes Stroma and Tumor is the positive one"),
        ("a,b,c", "d", r"has no class 'd' \(--positive\); its classes are a, b, c"),
        ("0,1", "0", "of which 1 is the positive one; leave --positive '0' out"),
        ("0,1", "Tumor", "of which 1 is the positive one"),
    ],
)
def test_a_positive_class_that_is_not_there_is_refused_with_those_that_are(
    tmp_path, slide, classes, positive, told
):
    lines = [f"{patch},{each}" for patch, each in zip((A, B, C), classes.split(","), strict=False)]
    with pytest.raises(SessionError, match=told):
        read(tmp_path, slide, "patch,class", *lines, positive=positive)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", r"seeds\.csv: is empty"),
        ("patch,class\n", "no row below it"),
        (f"{A},1\n{B},0\n", "its first line has small_0_0, 1; it must name the columns"),
        ("patch,label\na,1\n", "seeds need patch,class or x,y,class"),
        ("x,class\n1,1\n", "seeds need patch,class or x,y,class"),
    ],
)
def test_a_table_without_what_seeds_need_is_refused(tmp_path, slide, content, told):
    (tmp_path / "seeds.csv").write_text(content)
    with pytest.raises(SessionError, match=told):
        read_seeds(tmp_path / "seeds.csv", slide)


def test_what_holds_no_drawing_is_told_so(tmp_path, slide):
    (tmp_path / "a.geojson").write_text("{}")
    with pytest.raises(SessionError, match=r"a\.geojson: is no GeoJSON"):
        read_seeds(tmp_path / "a.geojson", slide)


def test_a_patch_holds_its_own_corner(slide):
    step = slide.spacing / 2
    for row in (0, slide.n_patches // 2, slide.n_patches - 1):
        x, y = slide.centres[row] - step
        assert slide.nearest(x, y) == row


@pytest.mark.parametrize("name", ["NA", "N/A", "<NA>", "#N/A"])
def test_what_programs_write_for_nothing_is_no_class(tmp_path, slide, name):
    path = tmp_path / "seeds.csv"
    names = slide.patch_names
    path.write_text(f"patch,class\n{names[0]},Tumour\n{names[1]},{name}\n{names[2]},Other\n")
    with pytest.raises(SessionError, match=r"line 3: has no class"):
        read_seeds(path, slide)


def test_a_class_that_cannot_be_is_told_with_the_file(tmp_path, slide):
    path = tmp_path / "seeds.csv"
    path.write_text(f"patch,class\n{slide.patch_names[0]},{'x' * 70}\n{slide.patch_names[1]},Other\n")
    with pytest.raises(SessionError, match=r"^seeds\.csv: .* has 70 characters"):
        read_seeds(path, slide, positive="Other")
