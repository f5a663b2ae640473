import json
import tracemalloc
import zlib
from base64 import b64encode

import numpy as np
import pytest

from tissuumaps_sic.annotation.patch_rows import PatchIndex, PatchRows, SeedMap, pack, unpack

NAMES = np.array([f"s_{row}_0" for row in range(5000)], dtype=object)


@pytest.fixture
def index():
    return PatchIndex(NAMES)


@pytest.mark.parametrize(
    "rows",
    [[7], [5, 3, 5], range(32), range(33), range(5000), range(4999, -1, -1), [*range(40), 3, 3]],
    ids=["one", "twice", "few", "many", "all", "backwards", "many, some twice"],
)
def test_patches_come_back_in_their_order(index, rows):
    rows = list(rows)
    kept = json.loads(json.dumps(PatchRows(index, np.array(rows)).kept))
    again = PatchRows.read(index, kept)
    assert again.rows.tolist() == rows
    assert list(again) == [NAMES[row] for row in rows]
    assert again == [NAMES[row] for row in rows] == list(again)
    assert (len(again), again[0], again[-1]) == (len(rows), NAMES[rows[0]], NAMES[rows[-1]])


def test_a_lasso_is_small_and_any_reader_can_unpack_it(index):
    lasso = np.concatenate([np.arange(70) + 100 * line for line in range(50)])
    kept = PatchRows(index, lasso).kept
    assert len(kept) < 200
    steps = np.frombuffer(unpack(kept, 10**6), "<i4")
    assert np.array_equal(np.cumsum(steps), lasso)


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ([], "no patch"),
        ([5000], "there is no patch 5000; the slide has 5000"),
        ([-1], "there is no patch -1"),
        ([2**80], "neither a list"),
        ([True], "neither a list"),
        (["s_1_0"], "neither a list"),
        (None, "neither a list"),
        ("!", "is cut off"),
        ("AAAA", "not a packed text"),
        (pack(np.array([1, 1, 2**30], "<i4").tobytes()), "there is no patch 1073741826"),
        (pack(np.array([1, -2], "<i4").tobytes()), "there is no patch -1"),
        (pack(b"\1\0\0\0\1"), "is cut off"),
        (pack(np.ones(4000, "<i4").tobytes())[:-8], "is cut off"),
        (pack(bytes(4 * 5001)), "more than 20,000 bytes"),
    ],
)
def test_damaged_rows_are_told(index, kept, told):
    with pytest.raises(ValueError, match=told):
        PatchRows.read(index, kept)


def test_what_unpacks_to_gigabytes_takes_no_memory():
    squeeze = zlib.compressobj(9)
    bomb = b"".join([*(squeeze.compress(bytes(2**20)) for _ in range(64)), squeeze.flush()])
    tracemalloc.start()
    with pytest.raises(ValueError, match="unpacks to more than 100,000 bytes"):
        unpack(b64encode(bomb).decode(), 100_000)
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()


def test_names_that_the_slide_has_not_keep_places_of_their_own(index):
    rows = index.rows_of(["s_3_0", "elsewhere", "s_4_0", "elsewhere", "other"])
    assert rows.tolist() == [3, 5000, 4, 5000, 5001]
    assert index.names_of(rows) == ["s_3_0", "elsewhere", "s_4_0", "elsewhere", "other"]
    assert not PatchRows(index, rows).is_known
    assert PatchRows(index, rows[:1]).is_known
    assert len(index) == 5002
    # Of many patches as well, which nothing could unpack again.
    many = PatchRows(index, np.arange(4000, 5002))
    assert not many.is_known
    assert list(many)[-2:] == ["elsewhere", "other"]
    assert isinstance(many.kept, list)


def test_seeds_by_row_are_a_mapping_by_name(index):
    given = {"s_9_0": 1, "s_2_0": 0, "s_4_0": 1}
    seeds = SeedMap.of(index, given)
    assert seeds == given == dict(seeds)
    assert len(seeds) == 3
    assert seeds["s_2_0"] == 0
    assert "s_3_0" not in seeds
    assert sorted(seeds.values()) == [0, 1, 1]
    assert {label: list(patches) for label, patches in seeds.by_class()} == {
        0: ["s_2_0"],
        1: ["s_4_0", "s_9_0"],
    }
    assert seeds != {**given, "s_2_0": 1}
    assert seeds == SeedMap.of(PatchIndex(NAMES), given)
    for label in (-1, 128):
        with pytest.raises(ValueError, match="is not the number of a class"):
            SeedMap.of(index, {"s_1_0": label})
