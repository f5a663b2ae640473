"""`share`: copies that tell nothing of whose slides they are."""

from __future__ import annotations

import argparse
import hmac
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedder.commands.options import add_json, print_report
from tissuumaps_sic.slidefile.batch import BatchItem, Outcome, Worked, make_absolute
from tissuumaps_sic.slidefile.batch_command import find_h5ads, prepare_processes, run_batch
from tissuumaps_sic.slidefile.console import as_wrong_use
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.machines.options import add_overwrite, add_processes, read_machines

HELP = "copy files without anything that tells whose slide it is"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="an h5ad, or a folder of them")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the copies"
    )
    parser.add_argument("--rename", action="store_true", help="name each slide by a keyed hash of its name")
    parser.add_argument("--shift", action="store_true", help="move coordinates by a keyed number of pixels")
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="file of the secret for --rename and --shift; made if it is not there",
    )
    parser.add_argument("--compress", action="store_true", help="gzip the embeddings")
    parser.add_argument(
        "--fine",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep the cells smaller than a patch, which tell more of the picture than the rest",
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="PLACE",
        help="keep this of the file too, such as obs/stage",
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="WORD",
        help="word of the slide's name, or of a person's, that may stay, such as in the name of a class",
    )
    add_processes(parser)
    add_overwrite(parser)
    add_json(parser, "print what was removed as JSON")


def run(options: argparse.Namespace) -> int:
    """Share the files; one that cannot be is named, and the others are done."""
    files = [path for path, _ in find_h5ads(options.files)]
    prepare_processes(files, options, "embedder.files.share")
    from embedder.files.proof import ShareError
    from embedder.files.sharing_key import read_key

    with as_wrong_use(ShareError):
        key = read_key(options.key, shared=options.output) if options.key else None
    if (options.rename or options.shift) and key is None:
        raise WrongUseError("a new name or a shift needs a secret key; give one with --key FILE")
    sharer = _Sharer(
        make_absolute(options.output),
        # Each process reads it: it goes over no network.
        None if options.key is None else make_absolute(options.key),
        options.rename,
        options.shift,
        options.compress,
        options.fine,
        tuple(options.keep),
        tuple(options.allow),
    )
    _refuse_twins(files)
    items = [BatchItem(path, (path,)) for path in files]
    if len(items) == 1 and not read_machines(options).elsewhere:
        outcome = Outcome(items[0], "done", report=sharer(items[0]).report)
        if options.json:
            print_report([outcome.report])
        else:
            print(*_tell(outcome), sep="\n")
        return 0
    digest = "" if key is None else hmac.new(key, b"made", "sha256").hexdigest()
    recipe = ("sharing", *sharer.choices, digest)
    # Beside the sources: what a copy was made of, and what jobs log, is nothing for those who are given it.
    folder = items[0].path.parent
    return run_batch(items, sharer, folder=folder, recipe=recipe, tell=_tell, options=options)


def _refuse_twins(files: Sequence[Path]) -> None:
    """See that no two files are of slides of one name: the copy of one would take the place of the other's.

    Raises
    ------
    WrongUseError
        Two are.
    """
    from tissuumaps_sic.slidefile.h5ad import SlideFileError
    from tissuumaps_sic.slidefile.provenance import read_provenance

    seen: dict[str, Path] = {}
    for path in files:
        # What cannot be read is told when it is its turn.
        with suppress(SlideFileError, OSError):
            twin = seen.setdefault(read_provenance(path).slide.name or path.stem, path)
            if twin != path:
                raise WrongUseError(
                    f"{twin} and {path} are of slides of the same name, and so would be their copies; share "
                    "them into two folders"
                )


@dataclass(frozen=True)
class _Sharer:
    """Shares one file; goes to other processes, with what it needs to know."""

    folder: Path
    key: Path | None
    rename: bool
    shift: bool
    compress: bool
    fine: bool
    keep: tuple[str, ...]
    allow: tuple[str, ...]

    @property
    def choices(self) -> tuple[Any, ...]:
        """What the same file gives another copy by."""
        return str(self.folder), self.rename, self.shift, self.compress, self.fine, self.keep, self.allow

    def __call__(self, item: BatchItem) -> Worked:
        from embedder.files.share import share
        from embedder.files.sharing_key import read_key

        copy = share(
            item.path,
            self.folder,
            key=None if self.key is None else read_key(self.key, shared=self.folder),
            rename=self.rename,
            shift=self.shift,
            compress=self.compress,
            fine=self.fine,
            keep=self.keep,
            allow=self.allow,
        )
        report = asdict(copy) | {"path": str(copy.path)}
        return Worked(report, outputs=(copy.path, copy.path.with_suffix(".tmap")))


def _tell(outcome: Outcome) -> Iterator[str]:
    """Yield the lines that tell people of a copy."""
    yield f"{outcome.item.path} -> {outcome.report['path']}"
    for change in outcome.report["changes"]:
        yield f"  {change['place']}: {change['what']} ({change['why']})"
