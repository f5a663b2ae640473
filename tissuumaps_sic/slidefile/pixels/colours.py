"""A slide's colour profile (ICC): what it is called, and its pixels as sRGB by it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tissuumaps_sic.slidefile.pixels.source import Pixels

# What a profile says of itself may be a page; the hash tells two apart.
_MOST_LETTERS = 200


class ProfileError(Exception):
    """A profile cannot convert; the message says why."""


@dataclass(frozen=True)
class ColourProfile:
    """A profile as it lies in a file.

    Attributes
    ----------
    content : bytes
    """

    content: bytes

    @cached_property
    def sha256(self) -> str:
        """Of its bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def description(self) -> str | None:
        """What it says of itself, on one line; None where it is broken or says nothing."""
        try:
            text = ImageCms.getProfileDescription(self._open())
        except (OSError, ImageCms.PyCMSError, ValueError, TypeError):
            return None
        printable = "".join(sign if sign.isprintable() else " " for sign in text)
        return " ".join(printable.split())[:_MOST_LETTERS] or None

    def to_srgb(self) -> ToSrgb:
        """Return what converts pixels of this profile to sRGB, by the rendering intent that it asks for.

        Returns
        -------
        ToSrgb

        Raises
        ------
        ProfileError
            It is broken, or is of other colours than RGB.
        """
        try:
            profile = self._open()
            space = profile.profile.xcolor_space.strip()
            if space != "RGB":
                raise ProfileError(f"it is of {space} and not of RGB")
            intent = ImageCms.Intent(ImageCms.getDefaultIntent(profile))
            transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB", intent)
        except (OSError, ImageCms.PyCMSError, ValueError, TypeError) as error:
            raise ProfileError(" ".join(str(error).split()) or type(error).__name__) from error
        return ToSrgb(transform)

    def _open(self) -> Any:
        return ImageCms.getOpenProfile(io.BytesIO(self.content))


class ToSrgb:
    """Converts pixels to sRGB; several threads may at once, and others run meanwhile."""

    def __init__(self, transform: ImageCms.ImageCmsTransform) -> None:
        self._transform = transform

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return pixels (rows, columns, 3) as sRGB."""
        converted = self._transform.apply(Image.fromarray(pixels))
        return np.asarray(converted)
