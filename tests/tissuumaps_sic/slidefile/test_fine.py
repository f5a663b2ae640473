"""Cells smaller than a patch, as the local half reads them."""

import json

import h5py
import numpy as np
import pytest
from making.slides import slide_arguments, with_fine

from embedder.embedding.writing import write_slide
from tissuumaps_sic.slidefile.fine import read_fine
from tissuumaps_sic.slidefile.h5ad import SlideFileError


@pytest.fixture
def h5ad(tmp_path):
    path = tmp_path / "A b.h5ad"
    write_slide(path, **with_fine(slide_arguments()))
    return path


def change_record(path, change):
    with h5py.File(path, "r+") as file:
        known = json.loads(file["uns/embedder"].asstr()[()])
        change(known)
        attributes = dict(file["uns/embedder"].attrs)
        del file["uns/embedder"]
        file["uns/embedder"] = json.dumps(known)
        file["uns/embedder"].attrs.update(attributes)


def expect():
    return np.arange(12 * 12, dtype=np.float16).reshape(12, 2, 2, 3)


def test_cells_are_read_by_patch_row_column_and_channel(h5ad):
    fine = read_fine(h5ad)
    assert (fine.side, fine.channels, fine.values.shape) == (2, 3, (12, 2, 2, 3))
    assert fine.values.dtype == np.float16
    assert np.array_equal(np.asarray(fine.values), expect())
    assert np.array_equal(fine.values[3], expect()[3])
    assert np.array_equal(fine.values[2:7], expect()[2:7])
    assert np.array_equal(fine.values[np.array([5, 1, 1])], expect()[[5, 1, 1]])
    assert np.array_equal(fine.tissue, (np.arange(48) % 101).reshape(12, 2, 2))
    # 500 px are 250 level-0 pixels: a stride of 250 px in two cells.
    assert fine.cell0 == (62.5, 62.5)


def test_packed_cells_are_read_as_well(h5ad):
    with h5py.File(h5ad, "r+") as file:
        values = file["obsm/fine"][()]
        del file["obsm/fine"]
        file.create_dataset("obsm/fine", data=values, compression="gzip", chunks=True)
    assert np.array_equal(read_fine(h5ad).values[4:6], expect()[4:6])


def test_a_file_without_cells_has_none(tmp_path):
    path = tmp_path / "A b.h5ad"
    write_slide(path, **slide_arguments())
    assert read_fine(path) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda known: known["fine"].update(side=3),
        lambda known: known["fine"].update(side=None),
        lambda known: known["fine"].update(channels="many"),
    ],
)
def test_cells_that_are_not_what_is_said_of_them_are_told_in_words(h5ad, change):
    change_record(h5ad, change)
    with pytest.raises(SlideFileError, match=r"A b\.h5ad: its cells smaller than a patch are not"):
        read_fine(h5ad)


def test_cells_whose_tissue_is_gone_are_told_in_words(h5ad):
    with h5py.File(h5ad, "r+") as file:
        del file["obsm/fine_tissue"]
    with pytest.raises(SlideFileError, match="fine_tissue"):
        read_fine(h5ad)
