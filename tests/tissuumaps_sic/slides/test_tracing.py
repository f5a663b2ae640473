"""Outlines of a picture of labels cover just its pixels."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tissuumaps_sic.slides.tracing import trace


def pixels_in(shape, size):
    rows, columns = size
    x, y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    return shapely.contains_xy(shape, x, y)


@settings(deadline=None, max_examples=150)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
def test_each_value_covers_its_pixels_and_nothing_else(values):
    traced = trace(values)
    assert list(traced) == [each for each in np.unique(values) if each]
    for value, shape in traced.items():
        assert shape.is_valid
        assert shape.area == (values == value).sum()
        assert (pixels_in(shape, values.shape) == (values == value)).all()
    if traced:
        assert shapely.coverage_is_valid(np.array(list(traced.values()), object))


def test_a_ring_has_a_hole_which_another_value_fills():
    values = np.ones((5, 6), int)
    values[1:4, 2:4] = 2
    values[2, 2] = 0
    traced = trace(values)
    (ring,) = traced[1].geoms
    assert [hole.bounds for hole in ring.interiors] == [(2, 1, 4, 4)]
    assert ring.exterior.bounds == (0, 0, 6, 5)
    assert traced[2].area == 5


def test_straight_borders_have_no_more_corners_than_they_need():
    assert len(trace(np.ones((50, 70), int))[1].geoms[0].exterior.coords) == 5


def test_x_is_the_column():
    values = np.zeros((3, 8), int)
    values[1, 5] = 1
    assert trace(values)[1].bounds == (5, 1, 6, 2)


@pytest.mark.parametrize("shape", [(0, 0), (4, 5)])
def test_nothing_has_no_outline(shape):
    assert trace(np.zeros(shape, int)) == {}
