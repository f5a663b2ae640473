"""Views of patches: stains, turns and crops, each against something that does not know this code."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2hed

from embedder.pretraining.augment import (
    AugmentOptions,
    crop,
    hed_to_rgb,
    jitter_stains,
    rgb_to_hed,
    turn,
    view,
)


@pytest.fixture
def patches():
    """Eight patches of 32 px whose every pixel is another."""
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 256, (8, 3, 32, 32), dtype=np.uint8))


def draws(seed):
    return torch.Generator().manual_seed(seed)


def test_stains_of_every_colour_come_back():
    steps = torch.linspace(0, 1, 16)
    colours = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).reshape(1, 3, 64, 64)
    assert (hed_to_rgb(rgb_to_hed(colours)) - colours).abs().max() < 1e-3


def test_stains_are_those_of_scikit_image(patches):
    rgb = patches.float() / 255
    # Its unit of density is another, it cuts what is below zero, and it adds nothing to black.
    shifted = ((rgb * 255 + 1) / 256).permute(0, 2, 3, 1).double().numpy()
    expected = rgb2hed(shifted) * -np.log(1e-6)
    found = rgb_to_hed(rgb).permute(0, 2, 3, 1).numpy()
    assert (expected > 0.1).mean() > 0.2
    assert np.abs(np.maximum(found, 0) - expected).max() < 1e-4


def test_haematoxylin_is_blue_violet_and_eosin_pink():
    densities = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[:, :, None, None]
    blue, pink = hed_to_rgb(densities)[:, :, 0, 0].tolist()
    assert blue[2] > blue[0] > blue[1]
    assert pink[0] > pink[2] > pink[1]


def test_one_stain_is_scaled_and_shifted_and_the_others_are_left():
    densities = torch.tensor([[0.4, 0.3, 0.1], [0.2, 0.5, 0.2]])[:, :, None, None].expand(2, 3, 4, 4)
    scale = torch.tensor([[1.5, 1, 1], [1, 0.5, 1]])
    shift = torch.tensor([[0.0, 0, 0.1], [0.05, 0, 0]])
    found = rgb_to_hed(jitter_stains(hed_to_rgb(densities), scale, shift))[:, :, 0, 0]
    expected = torch.tensor([[0.6, 0.3, 0.2], [0.25, 0.25, 0.2]])
    assert torch.allclose(found, expected, atol=1e-4)


def test_stain_jitter_moves_no_pixel(patches):
    # Equal colours stay equal, wherever they are, and pixels that change change alone.
    rgb = patches[:1].float() / 255
    scale, shift = torch.tensor([[1.1, 0.9, 1.05]]), torch.tensor([[0.05, -0.05, 0.02]])
    order = torch.from_numpy(np.random.default_rng(1).permutation(32 * 32))
    moved = rgb.flatten(2)[:, :, order].reshape(rgb.shape)
    expected = jitter_stains(rgb, scale, shift).flatten(2)[:, :, order].reshape(rgb.shape)
    assert torch.allclose(jitter_stains(moved, scale, shift), expected, atol=1e-6)


def test_turns_and_flips_are_the_eight_symmetries_of_a_square(patches):
    one = patches[:1].expand(8, -1, -1, -1)
    found = turn(one, torch.arange(8)).numpy()
    rows = one[0].permute(1, 2, 0).numpy()
    for each in range(8):
        expected = np.rot90(rows, each % 4)
        expected = expected[:, ::-1] if each >= 4 else expected
        assert np.array_equal(found[each].transpose(1, 2, 0), expected)
    assert len({each.tobytes() for each in found}) == 8


def test_a_crop_shows_the_part_that_the_box_names():
    x = torch.arange(64).float().expand(64, 64)
    ramp = torch.stack([x, x.T, x * 0])[None]
    found = crop(ramp, torch.tensor([[0.25, 0.5, 0.5, 0.25]]))[0]
    # Pixel k covers k to k + 1: the view's first pixel is a quarter of a pixel wide of the box's corner.
    expected_x = 16 + (np.arange(64) + 0.5) * 0.5 - 0.5
    expected_y = 32 + (np.arange(64) + 0.5) * 0.25 - 0.5
    assert np.allclose(found[0, 10].numpy(), expected_x, atol=1e-3)
    assert np.allclose(found[1, :, 10].numpy(), expected_y, atol=1e-3)


def test_a_box_of_all_is_the_patch_itself(patches):
    rgb = patches.float() / 255
    whole = torch.tensor([[0.0, 0, 1, 1]]).expand(8, 4)
    assert torch.allclose(crop(rgb, whole), rgb, atol=1e-4)


def test_views_depend_on_the_generator_alone(patches):
    torch.manual_seed(1)
    first = view(patches, generator=draws(5))
    torch.manual_seed(2)
    assert torch.equal(view(patches, generator=draws(5)), first)
    assert not torch.equal(view(patches, generator=draws(6)), first)


def test_views_of_one_generator_and_of_one_batch_differ(patches):
    generator = draws(0)
    one = patches[:1].expand(8, -1, -1, -1)
    first, second = (view(one, generator=generator) for _ in range(2))
    assert len({each.numpy().tobytes() for each in torch.cat([first, second])}) == 16
    assert first.shape == (8, 3, 32, 32)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1


def test_with_nothing_to_change_a_view_is_a_turned_patch(patches):
    still = AugmentOptions(stain=0, crop=1, brightness=0)
    found = (view(patches, generator=draws(3), options=still) * 255).round().to(torch.uint8)
    for patch, seen in zip(patches, found, strict=True):
        all_turns = turn(patch[None].expand(8, -1, -1, -1), torch.arange(8))
        assert any(torch.equal(each, seen) for each in all_turns)


def test_brightness_scales_all_pixels_of_a_view_alike():
    grey = torch.full((64, 3, 8, 8), 100, dtype=torch.uint8)
    found = view(grey, generator=draws(0), options=AugmentOptions(stain=0, crop=1, brightness=0.2)) * 2.55
    factors = found.flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors))
    assert factors.min() >= 0.8 - 1e-4
    assert factors.max() <= 1.2 + 1e-4
    assert factors.max() - factors.min() > 0.2


@pytest.mark.parametrize("wrong", [{"stain": 1.0}, {"stain": -0.1}, {"crop": 0.0}, {"brightness": 1.5}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AugmentOptions(**wrong)
