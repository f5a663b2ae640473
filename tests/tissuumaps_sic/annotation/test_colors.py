"""Colours of classes are told apart, by people who lack one kind of cones too; against published pairs."""

import numpy as np
import pytest

from tissuumaps_sic.annotation.classes import DEFAULT_CLASSES, SeedClass, next_color
from tissuumaps_sic.annotation.colors import SIGHTS, choose_color, difference, distances, to_lab

# Of the test data of Sharma, Wu and Dalal 2005, the pairs that are hard to get right among them.
PAIRS = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (56.0, -27.0, -3.0), 31.9030),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("one", "other", "expected"), PAIRS)
def test_differences_are_the_published_ones(one, other, expected):
    one, other = np.array(one), np.array(other)
    assert difference(one, other) == pytest.approx(expected, abs=1e-4)
    assert difference(other, one) == pytest.approx(expected, abs=1e-4)


def test_lab_is_that_of_the_standard():
    white, black, red = to_lab(["#ffffff", "#000000", "#ff0000"])
    assert np.allclose(white, [100, 0, 0], atol=0.02)
    assert np.allclose(black, 0, atol=0.02)
    assert np.allclose(red, [53.24, 80.09, 67.20], atol=0.05)


@pytest.mark.parametrize("sight", SIGHTS)
def test_greys_stay_grey_in_every_sight(sight):
    assert np.abs(to_lab(["#808080"], sight)[0, 1:]).max() < 0.5


def test_red_and_green_are_near_without_their_cones():
    (normal,) = distances(["#00ff00"], ["#ff9900"])[0:1, 0]
    seen = [difference(*(to_lab([each], sight)[0] for each in ("#bfa500", "#ff9000"))) for sight in SIGHTS]
    assert normal < 40
    assert min(seen[1:3]) < seen[0] / 1.5


def test_new_classes_are_far_from_those_in_use():
    """Of 0.1 class 7 was 6 from Other, class 9 3.4 from Tumour in red-green blindness, and 19 was 5 again."""
    classes = list(DEFAULT_CLASSES)
    for number in range(18):
        color = next_color(classes)
        nearest = distances([color], [each.color for each in classes]).min()
        # So many colours there are that everybody tells apart; beyond the seventh class letters help.
        assert nearest > (14 if len(classes) < 7 else 6), (number, color)
        classes.append(SeedClass(name=f"c{number}", color=color))
    assert len({each.color for each in classes}) == 20
    assert choose_color(["#00a6fb", "#ffb000"]) == choose_color(["#ffb000", "#00a6fb"])
    # A colour that a person gave counts as well.
    given = choose_color(["#00a6fb", "#ffb000", choose_color(["#00a6fb", "#ffb000"])])
    assert distances([given], [choose_color(["#00a6fb", "#ffb000"])]).min() > 15
