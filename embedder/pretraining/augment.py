"""Views of histology for contrastive learning: other stains, other turns, other crops of the same tissue.

Stains are jittered where they are additive: in optical densities, taken apart into haematoxylin, eosin and
a residue (Ruifrok and Johnston 2001), each scaled and shifted a little (Tellez et al. 2018). Everything is
done on batches and on the patches' own device, but drawn on the processor: the same numbers on any device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Optical densities of red, green and blue for haematoxylin, eosin and DAB, by
# Ruifrok and Johnston 2001.
STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))


@dataclass(frozen=True)
class AugmentOptions:
    """How much two views of a patch may differ.

    Attributes
    ----------
    stain : float
        Each stain's density is scaled by 1 - stain to 1 + stain, and -stain to +stain is added; Tellez et al.
        call 0.05 light and 0.2 strong.
    crop : float
        The least share of a patch's area that a view shows; 1 shows all of it.
    brightness : float
        Pixels are scaled by 1 - brightness to 1 + brightness.
    """

    stain: float = 0.1
    crop: float = 0.4
    brightness: float = 0.1

    def __post_init__(self) -> None:
        for name in ("stain", "brightness"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name):g}; give 0 to below 1")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop is {self.crop:g}, the least share of a patch; give above 0 to 1")


def view(
    patches: torch.Tensor, *, generator: torch.Generator, options: AugmentOptions | None = None
) -> torch.Tensor:
    """Return another view of each patch: turned, cropped, stained and lit at random.

    Parameters
    ----------
    patches : uint8 tensor of shape (n, 3, size, size)
        RGB.
    generator : Generator
        On the processor; the views depend on its state alone.
    options : AugmentOptions, optional

    Returns
    -------
    float32 tensor of shape (n, 3, size, size)
        RGB, 0 to 1, on the patches' device.
    """
    import torch

    options = options or AugmentOptions()
    n, device = len(patches), patches.device

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand((n, *shape), generator=generator)

    # All is drawn, whatever the options: one of them at zero does not change what the others do.
    symmetry = torch.randint(8, (n,), generator=generator)
    boxes = _make_boxes(uniform(4), options.crop)
    scale, shift = uniform(3) * 2 - 1, uniform(3) * 2 - 1
    light = uniform() * 2 - 1
    views = turn(patches, symmetry).float() / 255
    if options.crop < 1:
        views = crop(views, boxes.to(device))
    if options.stain:
        views = jitter_stains(
            views, (1 + options.stain * scale).to(device), (options.stain * shift).to(device)
        )
    if options.brightness:
        views = views * (1 + options.brightness * light).to(device).view(-1, 1, 1, 1)
    return views.clamp(0, 1)


def turn(patches: torch.Tensor, symmetry: torch.Tensor) -> torch.Tensor:
    """Return patches turned by right angles and flipped; pixels are moved, never mixed.

    Parameters
    ----------
    patches : tensor of shape (n, channels, size, size)
    symmetry : int64 tensor of shape (n,)
        0 to 3: so many quarter turns counter-clockwise; 4 to 7: the same, then left and right exchanged.

    Returns
    -------
    tensor of shape (n, channels, size, size)
    """
    import torch

    turned = torch.empty_like(patches)
    for kind in range(8):
        which = torch.nonzero(symmetry == kind).flatten().to(patches.device)
        if len(which):
            rotated = torch.rot90(patches[which], kind % 4, dims=(2, 3))
            turned[which] = rotated.flip(3) if kind >= 4 else rotated
    return turned


def crop(patches: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Return a part of each patch, enlarged to the patch's size (bilinear).

    Parameters
    ----------
    patches : float32 tensor of shape (n, channels, rows, columns)
    boxes : float32 tensor of shape (n, 4)
        x, y, width, height of the parts, in shares of the patch's edges.

    Returns
    -------
    float32 tensor of shape (n, channels, rows, columns)
    """
    import torch

    x, y, width, height = boxes.unbind(1)
    zero = torch.zeros_like(x)
    # From the view's coordinates to the patch's, both -1 to 1 from edge to edge.
    matrix = torch.stack(
        [
            torch.stack([width, zero, 2 * x + width - 1], dim=1),
            torch.stack([zero, height, 2 * y + height - 1], dim=1),
        ],
        dim=1,
    )
    grid = torch.nn.functional.affine_grid(matrix, list(patches.shape), align_corners=False)
    return torch.nn.functional.grid_sample(patches, grid, padding_mode="border", align_corners=False)


def jitter_stains(patches: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Return patches with other amounts of each stain; every pixel stays in its place.

    Parameters
    ----------
    patches : float32 tensor of shape (n, 3, rows, columns)
        RGB, 0 to 1.
    scale, shift : float32 tensors of shape (n, 3)
        A density d of haematoxylin, eosin or residue becomes scale x d + shift.

    Returns
    -------
    float32 tensor of shape (n, 3, rows, columns)
        RGB, 0 to 1.
    """
    densities = rgb_to_hed(patches)
    jittered = densities * scale[:, :, None, None] + shift[:, :, None, None]
    return hed_to_rgb(jittered).clamp(0, 1)


def rgb_to_hed(patches: torch.Tensor) -> torch.Tensor:
    """Return the densities of haematoxylin, eosin and residue, natural logarithm, of RGB from 0 to 1.

    Both are float32 tensors of shape (n, 3, rows, columns). A grey level is added to every pixel before the
    logarithm, so that black has a density.
    """
    import torch

    inverse = torch.linalg.inv(torch.tensor(STAINS, dtype=torch.float64)).float().to(patches.device)
    absorbed = -torch.log((patches * 255 + 1) / 256)
    return torch.einsum("nkrc,ks->nsrc", absorbed, inverse)


def hed_to_rgb(densities: torch.Tensor) -> torch.Tensor:
    """Return RGB of densities, the inverse of `rgb_to_hed`; densities that no tissue has leave 0 to 1."""
    import torch

    stains = torch.tensor(STAINS, device=densities.device)
    absorbed = torch.einsum("nsrc,sk->nkrc", densities, stains)
    return (torch.exp(-absorbed) * 256 - 1) / 255


def _make_boxes(drawn: torch.Tensor, least: float) -> torch.Tensor:
    """Return crops, (n, 4) as `crop` takes them, of an area from `least` to 1 and sides of 3:4 to 4:3.

    `drawn` is (n, 4), uniform from 0 to 1: for the area, the sides' ratio, and the place in x and in y.
    """
    import math

    import torch

    area = least + (1 - least) * drawn[:, 0]
    ratio = torch.exp((2 * drawn[:, 1] - 1) * math.log(4 / 3))
    width, height = (torch.sqrt(area * side).clamp(max=1) for side in (ratio, 1 / ratio))
    return torch.stack([drawn[:, 2] * (1 - width), drawn[:, 3] * (1 - height), width, height], dim=1)
