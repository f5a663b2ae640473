"""`export`: the labels of sessions as files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tissuumaps_sic.commands.options import FORMATS, add_files, add_json, pick_given
from tissuumaps_sic.slidefile.batch import BatchItem, LeftOut, Outcome, Worked
from tissuumaps_sic.slidefile.batch_command import find_h5ads, print_one, run_batch
from tissuumaps_sic.slidefile.console import (
    read_count,
    read_not_negative,
    read_positive,
    read_share,
)
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.machines.options import add_overwrite, add_processes

HELP = "write the labels of sessions to files"

# Options that only some formats know, and those of pictures of patches, by what `write_patches` calls them.
_OF_FORMATS = ("simplify", "blocks", "mpp", "downsample", "image")
_OF_PATCHES = {"image": "image", "min_score": "min_score", "most": "most", "patch_format": "format_"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add_files(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="a row a patch; regions as QuPath reads them; a label mask (pyramidal TIFF); a TissUUmaps "
        "project that needs no plugin; a one-page report; the h5ad with the labels (default: csv)",
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
    add_processes(parser)
    add_overwrite(parser)
    add_json(parser)


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
        help="the slide, for patches and reports, where it is not beside the h5ad",
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


def run(options: argparse.Namespace) -> int:
    """Export the slides; one that fails is named, and the others are done."""
    one = len(options.files) == 1 and not options.files[0].is_dir()
    for option in ("session", "image"):
        if getattr(options, option) and not one:
            raise WrongUseError(f"--{option}: is of one slide; name that slide alone")
    exporter = _choose_patches(options) if options.patches else _choose_format(options)
    items = [
        exporter.plan(path, options.output, one=one, in_folder=in_folder)
        for path, in_folder in find_h5ads(options.files)
    ]
    if one:
        return print_one(items[0], exporter(items[0]), _tell, as_json=options.json)
    folder = options.output or Path("patches" if options.patches else "")
    return run_batch(
        items,
        exporter,
        folder=folder,
        recipe=exporter.recipe,
        tell=_tell,
        options=options,
    )


def _refuse_others(options: argparse.Namespace, known: Sequence[str], what: str) -> None:
    for option in dict.fromkeys([*_OF_FORMATS, *_OF_PATCHES]):
        if option not in known and getattr(options, option) is not None:
            raise WrongUseError(f"--{option.replace('_', '-')}: has no use with {what}")


def _choose_format(options: argparse.Namespace) -> _Exporter:
    """Return what writes the format that was asked for."""
    from tissuumaps_sic.export import FORMATS

    format_ = FORMATS[options.format or "csv"]
    _refuse_others(options, format_.options, f"--format {format_.name}")
    given = pick_given(options, *_OF_FORMATS)
    return _Exporter(format_.name, options.session, tuple(given.items()))


def _choose_patches(options: argparse.Namespace) -> _Exporter:
    """Return what writes pictures of patches as was asked for."""
    if options.format:
        raise WrongUseError("--patches: is no --format; give one of them at a time")
    _refuse_others(options, tuple(_OF_PATCHES), "--patches")
    given = {_OF_PATCHES[name]: value for name, value in pick_given(options, *_OF_PATCHES).items()}
    return _Exporter("", options.session, tuple(given.items()), tuple(options.patches))


def _tell(outcome: Outcome) -> Iterator[str]:
    """Yield the line that tells people of a slide."""
    yield str(outcome.report["output"])


@dataclass(frozen=True)
class _Exporter:
    """Writes the labels of a slide; goes to other processes, with what it needs to know.

    Attributes
    ----------
    format_ : str
        "" for pictures of patches.
    session : Path or None
    given : tuple of (str, value)
        What was asked for, by the names of `ExportOptions` or of `write_patches`.
    classes : tuple of str
        Of the patches.
    """

    format_: str
    session: Path | None
    given: tuple[tuple[str, Any], ...]
    classes: tuple[str, ...] = ()

    @property
    def recipe(self) -> tuple[Any, ...]:
        """What the same slide gives another file by."""
        return "export", self.format_, self.given, self.classes

    def plan(self, path: Path, output: Path | None, *, one: bool, in_folder: bool) -> BatchItem:
        """Return what is to be done of a slide: what it depends on, and what is made."""
        from tissuumaps_sic.annotation.store import session_path
        from tissuumaps_sic.export import FORMATS

        if self.format_:
            target = Path(f"{path.stem}.{FORMATS[self.format_].ending}")
            if output:
                target = output if one and not output.is_dir() else output / target
        else:
            target = output or Path("patches")
        part = "" if self.format_ else path.stem
        return BatchItem(path, (path, self.session or session_path(path)), (target,), in_folder, part)

    def __call__(self, item: BatchItem) -> Worked | LeftOut:
        from tissuumaps_sic.export import ExportOptions, export_slide, write_patches
        from tissuumaps_sic.export.formats import name_session, open_labelled

        target, session = item.outputs[0], item.inputs[1]
        if item.in_folder and not session.exists():
            return LeftOut("has no session yet")
        given = dict(self.given)
        if self.format_:
            target.parent.mkdir(parents=True, exist_ok=True)
            asked = ExportOptions(**given, session_name=name_session(item.path, self.session))
            export_slide(item.path, target, format_=self.format_, session=self.session, options=asked)
        else:
            target = write_patches(open_labelled(item.path, self.session), target, self.classes, **given)
        return Worked({"slide": item.path.stem, "output": str(target)}, outputs=(target,))
