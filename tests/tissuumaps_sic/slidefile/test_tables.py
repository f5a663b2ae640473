"""Tables as people make them: what has one meaning is read, all else is refused by its line."""

import csv
import io
import logging

import pytest

from tissuumaps_sic.slidefile.spelling import fold, strip
from tissuumaps_sic.slidefile.tables import TableError, as_text, from_text, read_table

COLUMNS = ("slide", "mpp")


def read(folder, content, columns=COLUMNS, numbers=("mpp",)):
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, columns, numbers=numbers)


def pairs(table):
    return [(row["slide"], row["mpp"] and table.number(row, "mpp")) for row in table.rows]


AS_MEANT = [("a.tif", 0.25), ("b 1.tif", "")]
PLAIN = "slide,mpp\na.tif,0.25\nb 1.tif,\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", ";").replace("0.25", "0,25"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "\t").replace("0.25", "0,25"),
        "sep=;\n" + PLAIN.replace(",", ";").replace("0.25", ",25"),
        '"sep=,"\r\n' + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.rstrip("\n"),
        PLAIN.replace("\n", ",\n"),  # a delimiter behind every line
        PLAIN.replace("\n", ",,,\n", 1),
        PLAIN.replace("0.25\n", "0.25,,\n"),
        "\n\n" + PLAIN.replace("\n", "\n\n,,\n  \n"),
        "slide , MPP\n a.tif\u00a0, 0.25 \n\tb 1.tif ,\u200b\n",
        "Slide,M_P-P\na.tif,2.5e-1\nb 1.tif,\n",
        '"slide", "mpp"\n"a.tif", "0.25"\n"b 1.tif", ""\n',
        '"""slide""",mpp\n"""a.tif""",0.25\nb 1.tif,\n',
        "\uff33lide,\uff4dpp\na.tif,+.25\nb 1.tif,\n",  # full width
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
    ],
)
def test_what_has_one_meaning_is_read(tmp_path, content):
    table = read(tmp_path, content)
    assert pairs(table) == AS_MEANT
    assert not table.others


def test_lines_keep_their_numbers_behind_blank_ones_and_line_breaks_in_cells(tmp_path):
    table = read(tmp_path, '\nslide,mpp\n\n"a\r\nb.tif",1\r\n\nc.tif,2\n')
    assert [(row.line, row["slide"]) for row in table.rows] == [(4, "a\r\nb.tif"), (7, "c.tif")]
    assert [row.line for row in read(tmp_path, "sep=;\nslide;mpp\na;1\n").rows] == [3]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty"),
        ("\n , \n", "is empty"),
        ("slide,mpp\n", r"has a header \(slide, mpp\) and no row"),
        ("slide,mpp\n,\n", "no row below it"),
        (
            "slide,mpp\na,1\nb,0,25\n",
            "line 3: has 3 cells, and the header 2; put a cell or number that holds a",
        ),
        ("slide,mpp\na,1,x\n", "line 2: has 3 cells"),
        ("slide,mpp,\na,0,25\n", "line 2: has 3 cells"),
        ("slide,mpp\na\n", "line 2: has 1 cells, and the header 2; a cell without a value needs its comma"),
        ("slide,mpp\n\na;1\n", "line 3: .* the header's are parted by commas and these by semicolons"),
        ("slide;mpp\na\t1\n", "line 2: .* semicolons and these by tabs"),
        ("slide,MPP,mpp \na,1,2\n", "line 1: the columns 'MPP' and 'mpp' have one name"),
        ("slide,note,Note\na,1,2\n", "'note' and 'Note' have one name"),
        ('slide,mpp\na,1\n"b,2\nc,3\n', "line 3: .*never closed"),
        ('slide,mpp\n"a"b,2\n', "line 2: .*quote"),
        ("slide,mpp\nä,1\n".encode("cp1252"), r"line 2: is not in UTF-8; save it as CSV \(UTF-8\)"),
        ("slide,mpp\na,1\n".encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        (b"\xff\xfea", "is not in UTF-8"),
        (b"PK\x03\x04....", "a spreadsheet's own file"),
        (b"\xef\xbb\xbfslide\0,mpp", "is no text"),
        ("slide;mpp\na;0,5\nb;0.5\n", "line 3 has a decimal point and line 2 a decimal comma"),
        ("slide;mpp\na;0,5\nb;1.024\n", "line 3: 1.024 may be 1.024 or 1024"),
        ("slide;mpp\na;1,024\n", "line 2: 1,024 may be 1.024 or 1024"),
        ("slide;mpp\na;1.024\n", "line 2: 1.024 may be 1.024 or 1024"),
        ("slide\tmpp\na\t1,024\n", "line 2: 1,024 may be"),
    ],
)
def test_what_has_two_meanings_or_none_is_refused_by_its_line(tmp_path, content, told):
    with pytest.raises(TableError, match=told) as error:
        read(tmp_path, content)
    assert str(error.value).startswith("t.csv")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "cell",
    [
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "1_0",
        "0x10",
        "1e999",
        "0.25 um",
        "1 000",
        "1.024,5",
        "",
        "\u0661",
        "--1",
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_what_is_no_number_is_refused_by_its_line(tmp_path, cell, delimiter):
    table = read(tmp_path, f'slide{delimiter} MPP\na{delimiter}1\nb{delimiter}"{cell}"\n')
    with pytest.raises(TableError, match=r"t\.csv, line 3: MPP is .*(no number|too large)"):
        table.number(table.rows[1], "mpp")


def test_a_decimal_comma_between_commas_is_refused_with_the_way_out(tmp_path):
    table = read(tmp_path, 'slide,mpp\na,"0,25"\n')
    with pytest.raises(TableError, match="write decimals with a point"):
        table.number(table.rows[0], "mpp")


def test_more_decimals_tell_what_a_comma_is(tmp_path):
    table = read(tmp_path, "slide;mpp\na;1,024\nb;0,5\n")
    assert pairs(table) == [("a", 1.024), ("b", 0.5)]
    assert pairs(read(tmp_path, "slide\tmpp\na\t1.024\n")) == [("a", 1.024)]
    assert pairs(read(tmp_path, "slide;mpp\na;12345,678\n")) == [("a", 12345.678)]


def test_other_columns_are_told_with_their_own_names(tmp_path, caplog):
    table = read(tmp_path, ",slide,mpp,Patient No,\n0,a,1,x,\n1,b,2,y,\n")
    assert pairs(table) == [("a", 1), ("b", 2)]
    with caplog.at_level(logging.WARNING):
        table.tell_others()
    assert caplog.messages == ["t.csv: the columns 1 (without a name), Patient No are not used"]


def test_what_is_no_file_is_told(tmp_path):
    with pytest.raises(TableError, match="no such file"):
        read_table(tmp_path, COLUMNS)


COMPUTED = [
    "=1+1", "-2+3+cmd|calc", "+1", "@SUM(A1)", "-5", "\t=1", "\r=1", "\n=1", " =1+1", "'=1+1", "''-1", "' =1",
    "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20x", '=HYPERLINK("http://x","y")',
]  # fmt: skip
PLAIN_TEXTS = ["Tumor", "p0", "'quoted'", "1", "0.5", "a=b", "x-1", "", "'", "mañana", "a\nb"]


@pytest.mark.parametrize("text", COMPUTED)
def test_what_a_spreadsheet_would_compute_begins_with_an_apostrophe(text):
    assert as_text(text) == f"'{text}"


@pytest.mark.parametrize("text", PLAIN_TEXTS)
def test_other_texts_are_written_as_they_are(text):
    assert as_text(text) == text


@pytest.mark.parametrize("text", COMPUTED + PLAIN_TEXTS + [f"'{each}" for each in COMPUTED])
def test_a_text_that_was_written_is_read_again(tmp_path, text):
    assert from_text(as_text(text)) == text
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("slide", "mpp"), (as_text(text), "1")])
    (row,) = read(tmp_path, file.getvalue()).rows
    assert row["slide"] == (text if as_text(text) != text else text.strip())


def test_spellings_of_a_name_fold_into_one():
    names = ["Tumör  x", " tumo\u0308r X\u00a0", "\uff34UM\u00d6R\u2003x", "\ufefftumör x\u200b"]
    assert len({fold(each) for each in names}) == 1
    assert fold("Tumor") != fold("Tumour")
    assert strip("\u200b\u00a0a b\ufeff\n") == "a b"
