"""The image of an embedded slide: found, opened, and known to be that of the slide."""

from __future__ import annotations

from pathlib import Path

from tissuumaps_sic.slidefile.pixels.slide import Slide
from tissuumaps_sic.slidefile.pixels.source import SlideError
from tissuumaps_sic.slidefile.placing import find_image, open_image
from tissuumaps_sic.slides.regions import slide_size_of
from tissuumaps_sic.slides.slide import EmbeddedSlide


class OtherImageError(SlideError):
    """An image is not that of the slide: it has another size; the message tells both."""


def open_own_image(slide: EmbeddedSlide, image: Path | None = None) -> Slide | None:
    """Open the image of an embedded slide, whose pixels lie where they lay when it was embedded.

    Parameters
    ----------
    slide : EmbeddedSlide
    image : Path, optional
        By default the one that the project beside the h5ad names, or else the project in it.

    Returns
    -------
    Slide or None
        To be closed, as by ``with``. None where no image was named and there is none.

    Raises
    ------
    OtherImageError
        When the h5ad tells how large the slide is, and the image is not.
    SlideError
        When there is no such file, or no library reads it for certain.
    SlideFileError
        When the h5ad cannot be read.
    """
    path = find_image(slide.path) if image is None else image
    if path is None:
        return None
    size = slide_size_of(slide)
    opened = open_image(path)
    if size is None or size == opened.size:
        return opened
    opened.close()
    raise OtherImageError(
        f"{path.name}: has {opened.size[0]} x {opened.size[1]} pixels, and {slide.path.name} is of a slide "
        f"of {size[0]} x {size[1]}; give that slide's image"
    )
