"""What of a slide's provenance and of its labels' making may be shared: keys with the kind of their values.

What is not listed here goes, whoever put it there: a key of a later version, too. Texts are words from a
list, or of a form that has no room for a name; nothing that people type freely is among them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from embedder.encoders.fine import SIGNS
from embedder.encoders.table import ENCODERS, SIMCLR
from tissuumaps_sic.slidefile.provenance import EncoderRecord

Rule = Callable[[Any], bool]
Rules = Mapping[str, "Rule | Rules"]

_HEX = re.compile(r"[0-9a-f]{64}")
COLOR = re.compile(r"#[0-9a-f]{6}")
# Larger than any slide has pixels along an edge; a number of more digits could spell something.
_MOST = 1e9
_NUMBER = r"-?\d{1,9}(?:\.\d{1,9})?(?:e[-+]\d\d)?"


def is_number(value: Any) -> bool:
    """Whether a value is a number that could measure something.

    Parameters
    ----------
    value : object

    Returns
    -------
    bool
    """
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and abs(value) <= _MOST
    )


def is_whole(value: Any) -> bool:
    """Whether a value is such a number without fraction.

    Parameters
    ----------
    value : object

    Returns
    -------
    bool
    """
    return is_number(value) and isinstance(value, int)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_nothing(value: Any) -> bool:
    return value is None


def _numbers(length: int) -> Rule:
    return lambda value: isinstance(value, list) and len(value) == length and all(map(is_number, value))


def _one_of(*words: str) -> Rule:
    return lambda value: isinstance(value, str) and value in words


def _like(pattern: str) -> Rule:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


_VERSION = _like(
    r"\d{1,4}(?:\.\d{1,4}){0,4}(?:(?:a|b|rc|\.post|\.dev)\d{1,4})*(?:\+(?:cpu|xpu|cu\d{2,3}|rocm[\d.]{1,7}))?"
)
_SHA256 = _like(_HEX.pattern)
_CUT = r"(?:cut to the central \d{1,4} px, )?"
_TRIPLE = rf"\({_NUMBER}, {_NUMBER}, {_NUMBER}\)"
_TRANSFORM = _like(
    rf"none|RGB 0\.\.255, (?:resized to \d{{1,4}} px \((?:bilinear|bicubic)\), {_CUT})?"
    rf"minus {_TRIPLE}, divided by {_TRIPLE}(?:, pooled by (?:cls|mean|cls\+mean|max))?"
)
_CHOICE = _like(
    r"(?:float32|bfloat16), as asked|(?:float32|bfloat16): bfloat16 is \d{1,4}\.\d\d times as fast as "
    r"float32 here, and the embeddings' least cosine with float32 is -?\d\.\d{5}"
)
_SOURCES = tuple(each.source for each in ENCODERS.values())
# A model of timm's own list, which everybody has.
_TIMM = _like(r"timm:[a-z0-9_]{1,60}(?:\.[a-z0-9_]{1,60})?")
_TRAINED = _like(r"embedder pretrain, SimCLR, \d{1,9} steps(?: from [0-9a-f]{12})?")


def _is_source(value: Any) -> bool:
    return value in _SOURCES or _TRAINED(value)


def _is_public(name: Any) -> bool:
    return name in ENCODERS or name == SIMCLR or _TIMM(name)


GRID: Rules = dict.fromkeys(
    (
        *("target_mpp", "patch_size", "overlap", "stride", "patch_size0", "patch_width0", "patch_height0"),
        *("scale", "level", "level_downsample"),
    ),
    is_number,
)
ENCODER: Rules = {
    # The name is `encoder_name`'s.
    "architecture": _is_public,
    "dimension": is_whole,
    "weights_sha256": _SHA256,
    "transform": _TRANSFORM,
    "icc": _is_flag,
    "storage": _one_of("float32", "float16"),
    "source": _is_source,
    "licence": _one_of(*(each.licence for each in ENCODERS.values()), "your own"),
    "device": _one_of("cpu", "cuda", "mps", "xpu"),
    "precision": _one_of("float32", "bfloat16"),
    "precision_choice": _CHOICE,
}
PROVENANCE: Rules = {
    "converted": {"from": _one_of("trident", "clam", "lazyslide", "h5ad")},
    "slide": {
        # The name is the copy's.
        "size": _numbers(2),
        "bounds": _numbers(4),
        "hash": _like(r"(?:openslide-quickhash-1|sha256-size-head-tail|sha256-listing):[0-9a-f]{32,64}"),
        "mpp_x": is_number,
        "mpp_y": is_number,
        "mpp_source": _one_of("tag", "objective power", "user"),
        # What it says of itself may name the scanner, or its owner.
        "colour_profile": {"description": _is_nothing, "sha256": _SHA256},
    },
    "grid": GRID,
    "tissue": {
        "min_tissue": is_number,
        "method": _one_of("otsu-saturation", "polygons", "mask"),
        "parameters": {
            **dict.fromkeys(
                ("mask_mpp", "threshold", "floor", "ceiling", "min_tissue_um2", "min_hole_um2"), is_number
            ),
            "from_bounds": _is_flag,
            "sha256": _SHA256,
        },
    },
    "encoder": ENCODER,
    "fine": {
        **dict.fromkeys(("side", "channels"), is_whole),
        "cell": is_number,
        "layer": _one_of(*(each.fine.module for each in ENCODERS.values() if each.fine is not None)),
        "projection": _one_of(SIGNS),
    },
    # Where those were that were left out is told by nothing that may stay.
    "damage": {"patches": is_whole, "left_out": is_whole, "limit": is_number},
    "umap": _is_flag,
    "versions": dict.fromkeys(
        ("tissuumaps-sic", "torch", "umap-learn", "openslide-python", "anndata"), _VERSION
    ),
    "seconds": dict.fromkeys(("tissue", "embed", "umap", "write"), is_number),
    "shared": {"renamed": _is_flag, "shifted": _is_flag},
}
# Of these a person who has the slide, or its archive's list, could tell which it is.
SINGLING = (
    *(("slide", "hash"), ("tissue", "parameters", "sha256"), ("tissue", "parameters", "threshold")),
    # Many scanners have a profile of their own.
    *(("slide", "colour_profile", "sha256"), ("encoder", "precision_choice"), ("seconds",)),
)
# Of how labels were made, all that says nothing of who made them, when, and from which slide.
RUN: Rules = {
    "method": _one_of("sic", "refine"),
    # The embedding is the copy's name of it.
    "parameters": {
        "method": _one_of("sic", "refine"),
        "metric": _one_of("f1"),
        "normalize": _is_flag,
        "max_iter": is_whole,
        "tol": is_number,
        "random_state": is_whole,
    },
    "version": _VERSION,
    "n_iter": is_whole,
}


def keep(value: Any, rules: Rules, gone: list[str], place: str = "") -> dict[str, Any]:
    """Return what of nested dicts the rules let stay; an unknown value, None, may stay for any of them.

    Parameters
    ----------
    value : dict
        As JSON gave it; anything else is taken for one without keys.
    rules : mapping
    gone : list of str
        Gets the place of whatever does not stay.
    place : str
        Of `value`, with a dot after it.

    Returns
    -------
    dict
        Made anew; the given one stays as it is.
    """
    kept: dict[str, Any] = {}
    for key, each in value.items() if isinstance(value, dict) else ():
        rule = rules.get(key)
        if isinstance(rule, Mapping):
            if isinstance(each, dict):
                kept[key] = keep(each, rule, gone, f"{place}{key}.")
                continue
        elif rule is not None and (each is None or rule(each)):
            kept[key] = each
            continue
        gone.append(f"{place}{key}")
    return kept


def encoder_name(encoder: EncoderRecord) -> str:
    """Return what an encoder may be called: its name where we gave it, else the beginning of its hash.

    A checkpoint that people give by its path is called as its file is.

    Parameters
    ----------
    encoder : EncoderRecord

    Returns
    -------
    str
    """
    if encoder.name is not None and _is_public(encoder.name):
        return encoder.name
    weights = encoder.weights_sha256 or ""
    return f"encoder-{weights[:8]}" if _HEX.fullmatch(weights) else "unknown"
