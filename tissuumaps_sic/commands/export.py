"""`export`: the labels of sessions as files."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from tissuumaps_sic.commands.options import FORMATS, add_files, pick_given
from tissuumaps_sic.slidefile.console import (
    as_wrong_use,
    read_count,
    read_not_negative,
    read_positive,
    read_share,
    report_error,
)
from tissuumaps_sic.slidefile.errors import SicError, WrongUseError

log = logging.getLogger(__name__)

HELP = "write the labels of sessions to files"

# Options that only some formats know, and those of pictures of patches, by what `write_patches` calls them.
_OF_FORMATS = ("simplify", "blocks", "mpp", "downsample", "image", "codes", "embeddings", "replace")
_OF_PATCHES = {"image": "image", "min_score": "min_score", "most": "most", "patch_format": "format_"}
# Those that make a training set of them.
_OF_SETS = ("split", "split_seed", "shards")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_files(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="a row a patch (csv, parquet); regions for QuPath (geojson), geopandas (geoparquet), ASAP or "
        "the Digital Slide Archive (dsa); DICOM annotations; a label mask (pyramidal TIFF); a SpatialData "
        "store; into the slide's store of LazySlide (-o STORE); a TissUUmaps project that needs no plugin; a "
        "one-page report; the h5ad with the labels (default: csv)",
    )
    parser.add_argument(
        "--patches",
        nargs="+",
        metavar="CLASS",
        help="instead: pictures of the patches of these classes, to train on (give it after FILE)",
    )
    parser.add_argument(
        "--session", type=Path, metavar="JSON", help="default: <slide>.sic.json beside the h5ad"
    )
    _add_of_formats(parser)
    _add_of_patches(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="a file, or of several slides a folder (default: <slide>.labels.<format>, .mask.tif or "
        ".report.<format> here); of patches always a folder (default: patches)",
    )


def _add_of_formats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--simplify",
        type=read_not_negative,
        metavar="UM",
        help="how far the borders of regions may move to have fewer corners (default: 0)",
    )
    parser.add_argument(
        "--blocks",
        action="store_true",
        default=None,
        help="regions, masks and reports by whole patches, glass and all, in place of their cells",
    )
    resolution = parser.add_mutually_exclusive_group()
    resolution.add_argument(
        "--mpp",
        type=read_positive,
        metavar="UM",
        help="of a mask's pixels (default: an eighth of the distance between patches; 8 where they are 256 "
        "px at 0.5 and overlap by half)",
    )
    resolution.add_argument(
        "--downsample",
        type=read_positive,
        metavar="N",
        help="slide pixels per pixel of a mask, where the file does not tell its µm per pixel",
    )
    parser.add_argument(
        "--image",
        type=Path,
        metavar="SLIDE",
        help="the slide, for patches, reports and DICOM, where it is not beside the h5ad",
    )
    parser.add_argument(
        "--codes",
        type=Path,
        metavar="CSV",
        help="of DICOM: codes of classes; columns class, category_scheme, category_value, category_meaning, "
        "type_scheme, type_value, type_meaning",
    )
    parser.add_argument(
        "--embeddings", action="store_true", default=None, help="of a store: with what was clustered"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        default=None,
        help="replace a store, or in LazySlide's what has our names, that was not exported from here",
    )


def _add_of_patches(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min-score", type=read_share, metavar="SCORE", help="of patches: the least, 0 to 1 (default: 0)"
    )
    parser.add_argument(
        "--most",
        type=read_count,
        metavar="N",
        help="of patches: how many of each class, those with the highest scores (default: all)",
    )
    parser.add_argument("--patch-format", choices=("png", "jpg"), help="of patches (default: png)")
    parser.add_argument(
        "--split",
        type=read_share,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        help="of patches: one training set of all slides, which fall to its parts by their names, in these "
        "shares",
    )
    parser.add_argument(
        "--split-seed", type=int, metavar="N", help="of --split: another one splits otherwise (default: 0)"
    )
    parser.add_argument(
        "--shards",
        type=read_positive,
        metavar="MB",
        help="of patches: the training set as shards for WebDataset of so many MB at most, not as folders "
        "of pictures (--split is then 0.7 0.15 0.15 by default)",
    )


def run(options: argparse.Namespace) -> int:
    """Export the slides; one that fails is named, and the others are done."""
    from tissuumaps_sic.annotation.store import session_path
    from tissuumaps_sic.commands.batch import find_h5ads

    one = len(options.files) == 1 and not options.files[0].is_dir()
    for option in ("session", "image"):
        if getattr(options, option) and not one:
            raise WrongUseError(f"--{option}: is of one slide; name that slide alone")
    write, finish = _choose_writer(options, one=one)
    files: list[Path] = []
    for path, in_folder in find_h5ads(options.files):
        if in_folder and not session_path(path).exists():
            log.info("%s: has no session yet; left out", path.name)
        else:
            files.append(path)
    failed = False
    for number, path in enumerate(files, start=1):
        if len(files) > 1:
            log.info("%d of %d: %s", number, len(files), path.name)
        try:
            print(write(path), flush=True)
        except WrongUseError:
            raise
        except (SicError, OSError) as error:
            # One bad slide never ends the run.
            report_error(error, Path(path.name))
            failed = True
    finish()
    return 1 if failed else 0


def _choose_writer(
    options: argparse.Namespace, *, one: bool
) -> tuple[Callable[[Path], Path], Callable[[], None]]:
    """Return what writes a slide as was asked for, and what is done when all are."""
    if not options.patches:
        return _write_format(options, one=one), lambda: None
    if options.split or options.shards:
        return _write_set(options)
    return _write_patches(options), lambda: None


def _refuse_others(options: argparse.Namespace, known: Sequence[str], what: str) -> None:
    for option in dict.fromkeys([*_OF_FORMATS, *_OF_PATCHES, *_OF_SETS]):
        if option not in known and getattr(options, option) is not None:
            raise WrongUseError(f"--{option.replace('_', '-')}: has no use with {what}")


def _write_format(options: argparse.Namespace, *, one: bool) -> Callable[[Path], Path]:
    """Return what writes a slide's labels in the format that was asked for, and returns the file."""
    from tissuumaps_sic.export import FORMATS, ExportOptions, export_slide
    from tissuumaps_sic.export.formats import name_session

    format_ = FORMATS[options.format or "csv"]
    _refuse_others(options, format_.options, f"--format {format_.name}")

    def write(path: Path) -> Path:
        output = format_.place_output(options.output, path.stem, one=one)
        output.parent.mkdir(parents=True, exist_ok=True)
        asked = ExportOptions(
            **pick_given(options, *_OF_FORMATS), session_name=name_session(path, options.session)
        )
        export_slide(path, output, format_=format_.name, session=options.session, options=asked)
        return output

    return write


def _write_patches(options: argparse.Namespace) -> Callable[[Path], Path]:
    """Return what writes pictures of a slide's patches as was asked for, and returns the folder."""
    from tissuumaps_sic.export import write_patches
    from tissuumaps_sic.export.formats import open_labelled

    if options.format:
        raise WrongUseError("--patches: is no --format; give one of them at a time")
    _refuse_others(options, tuple(_OF_PATCHES), "--patches")
    folder = options.output or Path("patches")
    asked = {_OF_PATCHES[name]: value for name, value in pick_given(options, *_OF_PATCHES).items()}

    def write(path: Path) -> Path:
        return write_patches(open_labelled(path, options.session), folder, options.patches, **asked)

    return write


def _write_set(options: argparse.Namespace) -> tuple[Callable[[Path], Path], Callable[[], None]]:
    """Return what adds a slide to a training set and returns its file, and what ends the set."""
    from tissuumaps_sic.export import ExportError, TrainingSet, add_slide, finish_set, open_set
    from tissuumaps_sic.export.formats import open_labelled

    if options.format:
        raise WrongUseError("--patches: is no --format; give one of them at a time")
    _refuse_others(options, (*_OF_PATCHES, *_OF_SETS), "--patches")
    given = {_OF_PATCHES[name]: value for name, value in pick_given(options, *_OF_PATCHES).items()}
    image = given.pop("image", None)
    if options.split:
        given["shares"] = tuple(options.split)
    if options.split_seed is not None:
        given["seed"] = options.split_seed
    if options.shards:
        given["shard_bytes"] = round(options.shards * 1e6)
    training = TrainingSet(options.output or Path("training"), tuple(options.patches), **given)
    with as_wrong_use(ExportError):
        open_set(training)

    def write(path: Path) -> Path:
        return add_slide(training, open_labelled(path, options.session), image=image)

    return write, lambda: print(finish_set(training))
