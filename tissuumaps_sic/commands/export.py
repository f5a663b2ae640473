"""`export`: the labels of sessions as files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tissuumaps_sic.commands.options import FORMATS, NO_SESSION, add_files, add_json, is_single, pick_given
from tissuumaps_sic.slidefile.batch import BatchItem, LeftOut, Outcome, Worked, make_absolute
from tissuumaps_sic.slidefile.batch_command import (
    CLUSTERING,
    find_h5ads,
    prepare_processes,
    print_one,
    refuse_twins,
    run_batch,
)
from tissuumaps_sic.slidefile.console import (
    as_wrong_use,
    read_count,
    read_not_negative,
    read_positive,
    read_share,
)
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.machines.options import add_overwrite, add_processes, read_machines

if TYPE_CHECKING:
    from tissuumaps_sic.export.training import TrainingSet

HELP = "write the labels of sessions into files for other programs"

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
        help="what to write: a row a patch (csv, parquet); regions for QuPath (geojson), geopandas "
        "(geoparquet), ASAP or the Digital Slide Archive (dsa); DICOM annotations; a label mask (pyramidal "
        "TIFF); a SpatialData store; the slide's own LazySlide store (-o STORE); a TissUUmaps project that "
        "needs no plugin (tmap); a one-page report (html, pdf); the h5ad with the labels (default: csv)",
    )
    parser.add_argument(
        "--patches",
        nargs="+",
        metavar="CLASS",
        help="in place of a format: pictures of the patches of these classes, to train on (give it after "
        "FILE)",
    )
    parser.add_argument(
        "--session",
        type=Path,
        metavar="JSON",
        help="the file of the session (default: <slide>.sic.json beside the h5ad)",
    )
    _add_of_formats(parser)
    _add_of_patches(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="the file to write, or for several slides the folder (default: <slide>.labels.<format>, "
        ".mask.tif or .report.<format> in the present folder); for --patches always a folder (default: "
        "patches, or training for a training set)",
    )
    add_processes(parser)
    add_overwrite(parser)
    add_json(parser)


def _add_of_formats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--simplify",
        type=read_not_negative,
        metavar="UM",
        help="how far, in µm, the borders of regions may move to have fewer corners (default: 0)",
    )
    parser.add_argument(
        "--blocks",
        action="store_true",
        default=None,
        help="draw regions, masks and reports as the squares of whole patches, glass and all, and not by "
        "cells",
    )
    resolution = parser.add_mutually_exclusive_group()
    resolution.add_argument(
        "--mpp",
        type=read_positive,
        metavar="UM",
        help="µm per pixel of a mask (default: an eighth of the distance between patches, which is 8 for "
        "patches of 256 px at 0.5 µm/px that overlap by half)",
    )
    resolution.add_argument(
        "--downsample",
        type=read_positive,
        metavar="N",
        help="in place of --mpp: level-0 pixels per pixel of a mask, for a file that does not say its µm per "
        "pixel",
    )
    parser.add_argument(
        "--image",
        type=Path,
        metavar="SLIDE",
        help="the slide's image, for patches, reports and DICOM, if it is not beside the h5ad",
    )
    parser.add_argument(
        "--codes",
        type=Path,
        metavar="CSV",
        help="for DICOM: a table of codes for your classes, with the columns class, category_scheme, "
        "category_value, category_meaning, type_scheme, type_value, type_meaning",
    )
    parser.add_argument(
        "--embeddings", action="store_true", default=None, help="for stores: write the embeddings, too"
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        default=None,
        help="for stores: replace one that this program did not write; in a LazySlide store, replace "
        "elements of the same names",
    )


def _add_of_patches(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min-score",
        type=read_share,
        metavar="SCORE",
        help="for --patches: leave out patches with a lower score, 0 to 1 (default: 0)",
    )
    parser.add_argument(
        "--most",
        type=read_count,
        metavar="N",
        help="for --patches: no more than N of each class, those with the highest scores (default: all)",
    )
    parser.add_argument(
        "--patch-format", choices=("png", "jpg"), help="for --patches: format of the pictures (default: png)"
    )
    parser.add_argument(
        "--split",
        type=read_share,
        nargs=3,
        metavar=("TRAIN", "VAL", "TEST"),
        help="for --patches: make one training set of all slides, whose parts have these shares of the "
        "slides; a slide's name decides its part",
    )
    parser.add_argument(
        "--split-seed",
        type=int,
        metavar="N",
        help="for --split: another number splits the slides in another way (default: 0)",
    )
    parser.add_argument(
        "--shards",
        type=read_positive,
        metavar="MB",
        help="for --patches: write the training set as WebDataset shards of at most MB megabytes, and not as "
        "folders of pictures (--split is then 0.7 0.15 0.15 unless given)",
    )


def run(options: argparse.Namespace) -> int:
    """Export the slides; one that fails is named, and the others are done."""
    files = list(find_h5ads(options.files))
    one = is_single(files)
    for option in ("session", "image"):
        if getattr(options, option) and not one:
            raise WrongUseError(f"--{option}: belongs to one slide; name that slide alone")
    exporter = _choose_exporter(options)
    prepare_processes([path for path, _ in files], options, *exporter.modules)
    items = [exporter.plan(path, options.output, one=one, in_folder=in_folder) for path, in_folder in files]
    if exporter.training:
        from tissuumaps_sic.export.errors import ExportError
        from tissuumaps_sic.export.training import open_set

        # Before its folder is made.
        refuse_twins(items)
        with as_wrong_use(ExportError):
            open_set(exporter.training)
    if one and not read_machines(options).elsewhere:
        status = print_one(items[0], exporter(items[0]), _tell, as_json=options.json)
    else:
        folder = exporter.training.folder if exporter.training else options.output
        folder = folder or Path("patches" if options.patches else "")
        status = run_batch(
            items, exporter, folder=folder, recipe=exporter.recipe, tell=_tell, options=options
        )
    if exporter.training:
        _finish(exporter.training, as_json=options.json)
    return status


def _choose_exporter(options: argparse.Namespace) -> _Exporter:
    """Return what writes what was asked for."""
    from tissuumaps_sic.export.formats import FORMATS

    if options.patches and options.format:
        raise WrongUseError("--patches: stands in place of --format; give one of the two at a time")
    if not options.patches:
        format_ = FORMATS[options.format or "csv"]
        _refuse_others(options, format_.options, f"--format {format_.name}")
        return _Exporter(format_.name, options.session, _make_whole(pick_given(options, *_OF_FORMATS)))
    given = {_OF_PATCHES[name]: value for name, value in pick_given(options, *_OF_PATCHES).items()}
    classes = tuple(options.patches)
    if not (options.split or options.shards):
        _refuse_others(options, tuple(_OF_PATCHES), "--patches")
        return _Exporter("", options.session, _make_whole(given), classes, overwrite=options.overwrite)
    _refuse_others(options, (*_OF_PATCHES, *_OF_SETS), "--patches")
    if options.overwrite:
        raise WrongUseError(
            "--overwrite: is not needed, since a training set replaces the slides whose labels have changed; "
            "to make all of it anew, give another -o"
        )
    image = {"image": given.pop("image")} if "image" in given else {}
    training = _choose_set(options, given)
    return _Exporter("", options.session, _make_whole(image), classes, training, options.overwrite)


def _choose_set(options: argparse.Namespace, given: dict[str, Any]) -> TrainingSet:
    """Return the training set that was asked for."""
    from tissuumaps_sic.export.training import TrainingSet

    if options.split:
        given["shares"] = tuple(options.split)
    if options.split_seed is not None:
        given["seed"] = options.split_seed
    if options.shards:
        given["shard_bytes"] = round(options.shards * 1e6)
    folder = make_absolute(options.output or Path("training"))
    return TrainingSet(folder, tuple(options.patches), **given)


def _finish(training: TrainingSet, *, as_json: bool) -> None:
    """Write what is of all slides of a training set."""
    from tissuumaps_sic.export.training import finish_set

    manifest = finish_set(training)
    if not as_json:
        print(manifest)


def _make_whole(given: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return options for other processes, with paths that mean the same on other machines."""
    whole = {
        name: make_absolute(value) if isinstance(value, Path) else value for name, value in given.items()
    }
    return tuple(whole.items())


def _tell(outcome: Outcome) -> Iterator[str]:
    """Yield the line that tells people of a slide."""
    yield str(outcome.report["output"])


def _refuse_others(options: argparse.Namespace, known: Sequence[str], what: str) -> None:
    for option in dict.fromkeys([*_OF_FORMATS, *_OF_PATCHES, *_OF_SETS]):
        if option not in known and getattr(options, option) is not None:
            raise WrongUseError(f"--{option.replace('_', '-')}: has no effect with {what}; leave it out")


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
    training : TrainingSet or None
        The set that they are added to.
    overwrite : bool
        Whether pictures that are there already are replaced.
    """

    format_: str
    session: Path | None
    given: tuple[tuple[str, Any], ...]
    classes: tuple[str, ...] = ()
    training: TrainingSet | None = None
    overwrite: bool = False

    @property
    def recipe(self) -> tuple[Any, ...]:
        """What the same slide gives another file by."""
        return "export", self.format_, self.given, self.classes, self.training

    @property
    def modules(self) -> tuple[str, ...]:
        """What it loads in other processes."""
        from tissuumaps_sic.export.formats import FORMATS

        writer = "tissuumaps_sic.export.patch_images" if self.classes else FORMATS[self.format_].module
        return "tissuumaps_sic.annotation.runs", CLUSTERING, writer

    def plan(self, path: Path, output: Path | None, *, one: bool, in_folder: bool) -> BatchItem:
        """Return what is to be done of a slide: what it depends on, and what is made."""
        from tissuumaps_sic.annotation.store import session_path
        from tissuumaps_sic.export.formats import FORMATS

        inputs = [path, self.session or session_path(path)]
        inputs += [value for _, value in self.given if isinstance(value, Path)]
        if self.format_:
            inputs += FORMATS[self.format_].list_inputs(path)
            target = FORMATS[self.format_].place_output(output, path.stem, one=one)
            return BatchItem(path, tuple(inputs), (target,), in_folder)
        target = self.training.folder if self.training else output or Path("patches")
        return BatchItem(path, tuple(inputs), (target,), in_folder, path.stem)

    def __call__(self, item: BatchItem) -> Worked | LeftOut:
        if item.in_folder and not item.inputs[1].exists():
            return LeftOut(NO_SESSION)
        written = self._write(item.path, item.outputs[0])
        return Worked({"slide": item.path.stem, "output": str(written)}, outputs=(written,))

    def _write(self, path: Path, target: Path) -> Path:
        from tissuumaps_sic.export.formats import ExportOptions, export_slide, name_session, open_labelled

        given = dict(self.given)
        if self.format_:
            target.parent.mkdir(parents=True, exist_ok=True)
            asked = ExportOptions(**given, session_name=name_session(path, self.session))
            export_slide(path, target, format_=self.format_, session=self.session, options=asked)
            return target
        labelled = open_labelled(path, self.session)
        if self.training:
            from tissuumaps_sic.export.training import add_slide

            return add_slide(self.training, labelled, **given)
        from tissuumaps_sic.export.patch_images import write_patches

        return write_patches(labelled, target, self.classes, replace=self.overwrite, **given)
