"""What a person tells of an encoder that does not tell it itself."""

from __future__ import annotations

from dataclasses import dataclass, fields

POOLS = ("cls", "mean", "cls+mean", "max")
INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class Told:
    """Facts about an encoder from outside the table, in place of its own; None leaves them as they are.

    Attributes
    ----------
    input_size : int or None
        Edge, in pixels, of what the network takes.
    mean, std : tuple of float, or None
        Of red, green and blue, as for pixels of 0 to 1: a pixel becomes (pixel - mean) / std.
    interpolation : "bilinear", "bicubic" or None
        How patches of another size are resized.
    pool : "cls", "mean", "cls+mean", "max" or None
        How the places of a patch become one embedding.
    """

    input_size: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    pool: str | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """Options of what was told."""
        names = (each.name for each in fields(self) if getattr(self, each.name) is not None)
        return tuple(f"--{name.replace('_', '-')}" for name in names)
