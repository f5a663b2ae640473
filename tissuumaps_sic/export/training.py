"""Training sets of many slides: pictures of patches in folders or in shards, split by slide, with a manifest.

A slide is added at a time, and each has a file of its own that says what of it is there; it is written last.
So a run that was killed goes on where it was, and slides may be added later: which part a slide falls to is
told by its name alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import re
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.h5ad import tell_run
from tissuumaps_sic.export.names import safe_names
from tissuumaps_sic.export.patch_images import (
    PATCH_COLUMNS,
    PatchFormat,
    as_path,
    choose_rows,
    open_picture,
    read_pictures,
    require_choice,
    tell_patches,
    window_of,
)
from tissuumaps_sic.slidefile.documents import parse_json
from tissuumaps_sic.slidefile.spelling import join_names
from tissuumaps_sic.slidefile.tables import as_text
from tissuumaps_sic.slidefile.writing import replacing

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
MANIFEST, CHOICES, SLIDES = "manifest.csv", "set.json", "slides"
_TAR_BLOCK = 512
# Of shares that are to be 1 together.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class TrainingSet:
    """A folder of pictures to train on, and how they are chosen.

    Attributes
    ----------
    folder : Path
    classes : tuple of str
        By name.
    shares : (float, float, float)
        Of slides that fall to training, validation and test; 1 together.
    seed : int, default=0
        Another one splits the slides in another way.
    shard_bytes : int, optional
        The most that a shard of WebDataset may have; without, each picture is a file in the folder of its
        class.
    min_score, most, format_
        As for `write_patches`; `most` is of each class and slide.
    """

    folder: Path
    classes: tuple[str, ...]
    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: int = 0
    shard_bytes: int | None = None
    min_score: float = 0.0
    most: int | None = None
    format_: PatchFormat = "png"

    @property
    def class_folders(self) -> dict[str, str]:
        """The folder of each class; the place of a class here is its number for a network.

        torchvision's ImageFolder numbers folders by their sorted names, and so do the shards.
        """
        classes = sorted(set(self.classes))
        folders = dict(zip(classes, safe_names(classes), strict=True))
        return dict(sorted(folders.items(), key=lambda item: item[1]))

    @property
    def choices(self) -> dict[str, Any]:
        """What all slides of a set have in common, JSON-able."""
        return {
            "classes": list(self.class_folders),
            "folders": list(self.class_folders.values()),
            "shares": list(self.shares),
            "seed": self.seed,
            "shard_bytes": self.shard_bytes,
            "min_score": self.min_score,
            "most": self.most,
            "format": self.format_,
        }

    def split_of(self, slide_name: str) -> str:
        """Return which part a slide falls to: by its name and the seed, whatever other slides there are."""
        digest = hashlib.sha256(f"{self.seed}\n{slide_name}".encode()).digest()
        place = int.from_bytes(digest[:8]) / 2**64
        ends = np.cumsum(self.shares)
        return SPLITS[int(np.searchsorted(ends[:-1], place, side="right"))]


def open_set(training: TrainingSet) -> None:
    """Make the folder of a set, or see that the one there is was made by the same choices.

    Parameters
    ----------
    training : TrainingSet

    Raises
    ------
    ExportError, OSError
        When shares are no shares, the folder holds something else or a set of other choices, or cannot be
        written.
    """
    require_choice(training.min_score, training.most)
    if min(training.shares) < 0 or abs(sum(training.shares) - 1) > _ROUNDING:
        raise ExportError(
            f"--split: {' '.join(f'{each:g}' for each in training.shares)} are not shares that add up to 1; "
            "give three that do, such as 0.7 0.15 0.15"
        )
    if training.shard_bytes is not None and training.shard_bytes < 1:
        raise ExportError(f"--shards: {training.shard_bytes} bytes hold no picture; give 1 MB or more")
    file = training.folder / CHOICES
    if file.exists():
        known = parse_json(file.read_bytes())
        if known != training.choices:
            names = [name for name, value in training.choices.items() if known.get(name) != value]
            raise ExportError(
                f"{training.folder}: holds a training set that was made with other {', '.join(names)} "
                f"({CHOICES}); give the same, or another -o"
            )
    elif training.folder.exists() and any(training.folder.iterdir()):
        raise ExportError(f"{training.folder}: is there already, and is not a training set; give another -o")
    (training.folder / SLIDES).mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        (training.folder / split).mkdir(exist_ok=True)
        if training.shard_bytes is None:
            # All classes in each part, or they would have other numbers there.
            for name in training.class_folders.values():
                (training.folder / split / name).mkdir(exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(training.choices, indent=1, ensure_ascii=False), encoding="utf-8")


def add_slide(training: TrainingSet, labelled: Labelled, *, image: Path | None = None) -> Path:
    """Add a slide's patches to a set that `open_set` has made.

    A slide that is there as it would be is left alone; one whose labels have changed is replaced.
    Classes that the slide does not know are passed over.

    Parameters
    ----------
    training : TrainingSet
    labelled : Labelled
    image : Path, optional
        As for `write_patches`.

    Returns
    -------
    Path
        The file that says what of the slide is there.

    Raises
    ------
    ExportError, OSError
        As `write_patches`, and when there is another slide of that name in the set.
    """
    slide = labelled.slide
    place = safe_names([slide.name])[0]
    _sweep(training.folder, place)
    part = training.folder / SLIDES / f"{place}.json"
    made_of = hashlib.sha256(tell_run(labelled).encode() + labelled.labels.tobytes()).hexdigest()
    told = {"slide": slide.name, "fingerprint": slide.fingerprint, "made_of": made_of}
    if part.exists():
        known = parse_json(part.read_bytes())
        if known.get("slide") != slide.name or known.get("fingerprint") != slide.fingerprint:
            raise ExportError(
                f"{part}: belongs to another slide of this name; rename one, or give another -o"
            )
        if known.get("made_of") == made_of:
            log.info("%s: is in the set already, with these labels; left alone", slide.path.name)
            return part
    window = window_of(slide)
    there = {each.name for each in labelled.classes}
    rows = [
        row
        for name in training.class_folders
        if name in there
        for row in choose_rows(labelled, name, min_score=training.min_score, most=training.most).tolist()
    ]
    if training.shard_bytes is not None:
        # What is read one after the other is to be of all classes.
        rows = np.random.default_rng(training.seed).permutation(rows).astype(int).tolist()
    split = training.split_of(slide.name)
    told_of = dict(zip(rows, tell_patches(labelled, window, rows), strict=True))
    with open_picture(slide, image) as picture, _beside(training.folder, place) as temporary:
        pictures = read_pictures(slide, picture, window, rows, training.format_)
        samples = (
            _Sample(row, file, labelled.classes[labelled.labels[row]].name, told_of[row])
            for row, file in pictures
        )
        write = _write_files if training.shard_bytes is None else _write_shards
        manifest = list(write(training, labelled, place, split, samples, temporary))
        part.unlink(missing_ok=True)
        _remove(training, place)
        for made in temporary.glob("*/*/*" if training.shard_bytes is None else "*/*"):
            made.rename(training.folder / made.relative_to(temporary))
    with replacing(part) as file:
        file.write_text(
            json.dumps({**told, "split": split, "rows": manifest}, ensure_ascii=False), encoding="utf-8"
        )
    return part


class _Sample(NamedTuple):
    """A patch: its row, its picture, its class, and what the manifest says of it."""

    row: int
    picture: bytes
    class_name: str
    told: list[str]


def _write_files(
    training: TrainingSet,
    labelled: Labelled,
    place: str,
    split: str,
    samples: Iterator[_Sample],
    folder: Path,
) -> Iterator[list[str]]:
    """Write each picture as ``<split>/<class>/<slide>/<patch>``; yield the rows of the manifest."""
    names = safe_names([str(name) for name in labelled.slide.patch_names])
    for row, picture, class_name, told in samples:
        path = f"{split}/{training.class_folders[class_name]}/{place}/{names[row]}.{training.format_}"
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture)
        yield [as_text(labelled.slide.name), *told, split, as_path(path)]


def _write_shards(
    training: TrainingSet,
    labelled: Labelled,
    place: str,
    split: str,
    samples: Iterator[_Sample],
    folder: Path,
) -> Iterator[list[str]]:
    """Write tar files ``<split>/<slide>-000000.tar`` as WebDataset reads them; yield the manifest's rows."""
    assert training.shard_bytes is not None
    numbers = {name: number for number, name in enumerate(training.class_folders)}
    (folder / split).mkdir()
    shard, path, size, number = None, "", 0, 0
    with ExitStack() as held:
        for row, picture, class_name, told in samples:
            # A key ends at its first dot, so that of a slide's name is none of its own.
            key = f"{place.replace('.', '_')}/{row:08d}"
            facts = {"slide": labelled.slide.name, **dict(zip(PATCH_COLUMNS, told, strict=True))}
            members = {
                training.format_: picture,
                "cls": str(numbers[class_name]).encode(),
                "json": json.dumps(facts, ensure_ascii=False).encode(),
            }
            needed = sum(_TAR_BLOCK * (2 + len(content) // _TAR_BLOCK) for content in members.values())
            if shard is None or size + needed > training.shard_bytes:
                held.close()
                path, size, number = f"{split}/{place}-{number:06d}.tar", 0, number + 1
                shard = held.enter_context(tarfile.open(folder / path, "w", format=tarfile.PAX_FORMAT))
            size += needed
            for ending, content in members.items():
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
            yield [as_text(labelled.slide.name), *told, split, as_path(path), key]


@contextmanager
def _beside(folder: Path, place: str) -> Iterator[Path]:
    """Yield a new hidden folder of a slide in a set, which is removed in the end."""
    temporary = folder / f".{place}-{secrets.token_hex(4)}"
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(folder: Path, place: str) -> None:
    """Remove the hidden folders in a set that killed runs left of a slide; nobody else may be adding it."""
    left = re.compile(rf"\.{re.escape(place)}-[0-9a-f]{{8}}")
    for path in folder.iterdir():
        if left.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _remove(training: TrainingSet, place: str) -> None:
    """Remove what an earlier export of a slide left in a set."""
    shard = re.compile(rf"{re.escape(place)}-\d{{6}}\.tar")
    for split in SPLITS:
        for path in (training.folder / split).iterdir():
            if training.shard_bytes is None:
                shutil.rmtree(path / place, ignore_errors=True)
            elif shard.fullmatch(path.name):
                path.unlink()


def finish_set(training: TrainingSet) -> Path:
    """Write the manifest of all slides of a set: a row a patch; return the file.

    Its columns are slide, patch, x0, y0, class, score, seed, split and file, and of shards the sample's key.

    Parameters
    ----------
    training : TrainingSet

    Returns
    -------
    Path

    Raises
    ------
    OSError
        When it cannot be written.
    """
    columns = ["slide", *PATCH_COLUMNS, "split", "file", *(["key"] if training.shard_bytes else [])]
    slides, classes = dict.fromkeys(SPLITS, 0), set[str]()
    target = training.folder / MANIFEST
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for part in sorted((training.folder / SLIDES).glob("*.json")):
            known = parse_json(part.read_bytes())
            slides[known["split"]] += 1
            writer.writerows(known["rows"])
            classes |= {row[columns.index("class")] for row in known["rows"]}
    _tell(training, slides, [name for name in training.class_folders if as_text(name) not in classes])
    return target


def _tell(training: TrainingSet, slides: dict[str, int], missing: list[str]) -> None:
    log.info(
        "%s: %s", training.folder, ", ".join(f"{split} {count} slides" for split, count in slides.items())
    )
    empty = [
        split for split, share in zip(SPLITS, training.shares, strict=True) if share and not slides[split]
    ]
    if empty:
        log.warning(
            "%s: no slide went to %s, as happens with few slides; try another --split-seed",
            training.folder,
            " and ".join(empty),
        )
    if missing:
        log.warning(
            "%s: has no patch of class %s; is it spelt as in the viewer?",
            training.folder,
            join_names(missing),
        )
