"""The hunt: each damaged file is opened in a process of its own, as a user would, and what came of it judged.

    PYTHONPATH=tests:. python -m hostile.hunting --count 3000 --seed 1

A file is fine, or refused in one line that names it, or a fault: a traceback of an unexpected type, a hang,
too much memory, or blank pixels where tissue was stored. A decoder that crashes kills one slide, which the
embedder opens in a process of its own, too; such crashes are counted apart. Anything else that crashes is a
fault. Runs on Linux.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from hostile import mutating
from hostile.mutating import Tiff

# More than any of the small files should take; a decoder that asks for more is refused by the system.
ADDRESS_BYTES = 12 * 2**30
RESIDENT_BYTES = 3 * 2**30
CPU_SECONDS = 20
# Sleeping is no work: on a machine that is busy with other things a file may take this long all the same.
WALL_SECONDS = 180

FINE, REFUSED, CRASH, FAULT = "fine", "refused", "crash", "fault"
_SLIDES = ("tif", "big.tif", "svs", "ome.tif", "png", "jpg")
# How many of a hundred files are of which kind.
SHARES = {
    "tif": 12,
    "big.tif": 6,
    "svs": 10,
    "ome.tif": 8,
    "png": 6,
    "jpg": 6,
    "h5ad": 16,
    "geojson": 8,
    "geojson.gz": 3,
    "xml": 6,
    "sic.json": 7,
    "tmap": 4,
    "seeds.csv": 5,
    "list.csv": 3,
}


@dataclass(frozen=True)
class Verdict:
    """What became of one file.

    Attributes
    ----------
    number : int
        Of the file, in its hunt.
    kind : str
        Of the file, such as "svs".
    damage : str
        What was done to it.
    verdict : "fine", "refused", "crash" or "fault"
    told : str
        The message, or what is wrong.
    mebibytes : int
        That its process held at most.
    seconds : float
        Of its processor time.
    """

    number: int
    kind: str
    damage: str
    verdict: str
    told: str
    mebibytes: int
    seconds: float


class FaultError(Exception):
    """What was opened gave something that it should not."""


def kind_of(number, seed):
    """Return the kind of a file of a hunt."""
    return Random(f"{seed} {number} kind").choices(list(SHARES), list(SHARES.values()))[0]


def make_file(number, seed, seeds, folder):
    """Write a file of a hunt into a folder, with what it needs beside it; return path, kind and damage."""
    kind, random = kind_of(number, seed), Random(f"{seed} {number}")
    name = {"seeds.csv": "seeds.csv", "list.csv": "list.csv"}.get(kind, f"slide.{kind}")
    path, whole = folder / name, seeds / name
    beside = {"tmap": ["h5ad", "sic.json"], "sic.json": ["h5ad"], "seeds.csv": ["h5ad"]}
    beside |= {each: ["h5ad", "tif"] for each in ("geojson", "geojson.gz", "xml")}
    for each in beside.get(kind, ()):
        shutil.copy(seeds / f"slide.{each}", folder)
    if kind == "h5ad":
        shutil.copy(seeds / "seeds.csv", folder)
        return path, kind, mutating.damaged_h5ad(whole, path, random)
    damages = {
        **dict.fromkeys(
            ("tif", "big.tif", "svs", "ome.tif"), (mutating.damaged_tiff, mutating.damaged_bytes)
        ),
        **dict.fromkeys(("png", "jpg"), (mutating.damaged_bytes,)),
        **dict.fromkeys(("geojson", "sic.json", "tmap"), (mutating.damaged_json,)),
        "geojson.gz": (mutating.damaged_gzip,),
        "xml": (mutating.damaged_xml,),
    }
    content = whole.read_bytes()
    if kind == "ome.tif" and random.random() < 0.3:
        content, told = _damaged_ome(content, random)
    else:
        content, told = random.choice(damages.get(kind, (mutating.damaged_text,)))(content, random)
    path.write_bytes(content)
    return path, kind, told


def _damaged_ome(content, random):
    """Change the OME-XML in a TIFF, in its own length."""
    start = content.index(b"<?xml")
    end = content.index(b"</OME>") + 6
    words = [
        b"SizeX",
        b"SizeY",
        b"SizeC",
        b"Interleaved",
        b"PhysicalSizeX",
        b"IFD",
        b"uint8",
        b"0.5",
        b"Pixels",
    ]
    word = random.choice([each for each in words if each in content[start:end]])
    new = {b"0.5": random.choice([b"0.0", b"nan", b"-.5", b"1e9"]), b"uint8": b"int64"}.get(
        word, b"x" * len(word)
    )
    new = new[: len(word)].ljust(len(word))
    return content[:start] + content[start:end].replace(word, new) + content[
        end:
    ], f"OME-XML: {word.decode()}"


# ------------------------------------------------------------------------------------------------- the doors


def open_slide_door(path, kind):
    """Open a slide and read all of it, as embedding does."""
    from embedder.slide import open_slide
    from embedder.tissue import tissue_mask

    with open_slide(path, mpp=0.5) as slide:
        if max(slide.size) > 200_000:
            # A size that no test should read; what is read of it is looked at all the same.
            slide.read(0, 0, 512, 512)
            return
        slide.thumbnail(256)
        tissue_mask(slide)
        width, height = (min(each, 1024) for each in slide.size)
        pixels = slide.read(0, 0, width, height)
        slide.read(0, 0, 64, 64, level=len(slide.level_sizes) - 1)
        _judge_pixels(path, kind, pixels, slide.size)


def _judge_pixels(path, kind, pixels, size):
    """See that pixels are not of one colour where the file stores something.

    White is what a tile that is not stored is; any other even colour, and white where bytes are stored, is
    no tissue of the seeds', whose every corner has structure.
    """
    from hostile.seeds import EDGE, TILE

    missing = _missing_tiles(path) if kind not in ("png", "jpg") else set()
    if tuple(size) != (EDGE, EDGE):
        # Where tiles lie is not known then; but nothing may be of one colour alone that is not white.
        if pixels.min() == pixels.max() != 255:
            raise FaultError(f"silence: all pixels are {pixels.max()}")
        return
    for row in range(0, EDGE, TILE):
        for column in range(0, EDGE, TILE):
            block = pixels[row : row + TILE, column : column + TILE].reshape(-1, 3)
            colour = block[0]
            if (block == colour).all():
                number = row // TILE * (EDGE // TILE) + column // TILE
                if (colour == 255).all() and number in missing:
                    continue
                raise FaultError(f"silence: the tile at {column}, {row} is {colour.tolist()} alone")


def _missing_tiles(path):
    content = path.read_bytes()
    tiff = Tiff(content)
    if not tiff.directories:
        return set()
    offsets, counts = tiff.values(content, 324), tiff.values(content, 325)
    return {
        k for k, (offset, count) in enumerate(zip(offsets, counts, strict=False)) if not (offset and count)
    }


def annotations_door(path, kind):
    """Read polygons as a truth and as tissue."""
    from embedder.slide import open_slide
    from embedder.tissue_files import read_tissue
    from tissuumaps_sic.slides import open_slide_file
    from tissuumaps_sic.truth import TruthClasses, patch_squares, read_truth

    refused = []
    squares = patch_squares(open_slide_file(path.parent / "slide.h5ad"), slide_size=(512, 512))
    doors = [lambda: read_truth(path, squares, TruthClasses.binary("Tumor"))]
    if kind != "xml":
        with open_slide(path.parent / "slide.tif", mpp=0.5) as slide:
            doors.append(lambda: read_tissue(slide, path))
            _first_refusal(doors, refused)
    else:
        _first_refusal(doors, refused)


def _first_refusal(doors, refused):
    """Go through each door, so that no refusal hides a fault behind it; then tell the first."""
    for door in doors:
        try:
            door()
        except Exception as error:
            if not is_expected(error):
                raise
            refused.append(error)
    if refused:
        raise refused[0]


def h5ad_door(path, kind):
    """Check an h5ad, and label it by seeds."""
    from embedder.contract import check

    problems = check(path)
    assert all(each.what and "\n" not in each.what for each in problems)
    _command(
        "run", str(path), "--seeds", str(path.with_name("seeds.csv")), "-o", str(path.with_name("out.csv"))
    )


def seeds_door(path, kind):
    """Label a whole h5ad by damaged seeds, or by a damaged session."""
    _command(
        "run", str(path.with_name("slide.h5ad")), "--seeds", str(path), "-o", str(path.with_name("out.csv"))
    )


def project_door(path, kind):
    """Look for the image that a project names, and export one."""
    from tissuumaps_sic.images import find_image

    h5ad = path.with_suffix(".h5ad")
    find_image(h5ad)
    _command("export", str(h5ad), "--format", "tmap", "-o", str(path.with_name("out.tmap")))


def list_door(path, kind):
    """Read a list of slides."""
    from embedder.inputs import gather

    gather([path])


def _command(*arguments):
    """Run a command of `tissuumaps-sic`; what it refuses is raised as its message."""
    from tissuumaps_sic import cli

    errors = io.StringIO()
    handler = logging.StreamHandler(errors)
    logging.getLogger().handlers[:] = [handler]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            status = cli.main(list(arguments))
        except SystemExit as error:
            status = error.code
    if status:
        raise RefusalError(errors.getvalue().strip())


class RefusalError(Exception):
    """What a command told."""


DOORS = {
    **dict.fromkeys(_SLIDES, open_slide_door),
    **dict.fromkeys(("geojson", "geojson.gz", "xml"), annotations_door),
    "h5ad": h5ad_door,
    "sic.json": seeds_door,
    "seeds.csv": seeds_door,
    "tmap": project_door,
    "list.csv": list_door,
}


def is_expected(error):
    """Whether an error is one whose message says all: the project's own, or the system's."""
    if isinstance(error, RefusalError | OSError):
        return True
    return type(error).__module__.partition(".")[0] in ("embedder", "tissuumaps_sic")


def judge(path, kind, door):
    """Go through a door with a file; return the verdict and what is told."""
    try:
        door(path, kind)
    except FaultError as error:
        return FAULT, str(error)
    except Exception as error:  # noqa: BLE001 -- to be judged
        told = str(error)
        if not is_expected(error):
            place = traceback.extract_tb(error.__traceback__)
            ours = [
                each
                for each in place
                if "/site-packages/" not in each.filename and "hostile" not in each.filename
            ]
            where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
            return FAULT, f"unexpected {type(error).__name__} at {where}: {told[:200]}"
        if "Traceback" in told or (len(told.splitlines()) > 1 and not isinstance(error, RefusalError)):
            return FAULT, f"not in one line: {told[:400]!r}"
        if not told:
            return FAULT, "refused without a word"
        # What is escaped in a message (quotes) is still the name.
        if path.name not in told and path.stem not in told:
            return FAULT, f"does not name the file: {told[:200]}"
        return REFUSED, told[:300]
    return FINE, ""


# ---------------------------------------------------------------------------------------------- the processes


def _limit():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Child:
    """A file in a process of its own."""

    def __init__(self, number, seed, seeds, door=None):
        self.number, self.started = number, time.monotonic()
        self.folder = Path(tempfile.mkdtemp(prefix="hunt-"))
        self.path, self.kind, self.damage = make_file(number, seed, seeds, self.folder)
        self.reading, writing = os.pipe()
        sys.stdout.flush()
        self.process = os.fork()
        if self.process:
            os.close(writing)
            return
        status = 1
        try:
            os.close(self.reading)
            _limit()
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            warnings.simplefilter("ignore")
            told = judge(self.path, self.kind, door or DOORS[self.kind])
            os.write(writing, json.dumps(told).encode()[:60_000])
            status = 0
        finally:
            os._exit(status)

    def is_late(self):
        return time.monotonic() - self.started > WALL_SECONDS

    def finish(self):
        """Wait for the process's end, kill it if it is late; return the verdict."""
        late = self.is_late()
        if late:
            os.kill(self.process, signal.SIGKILL)
        _, status, used = os.wait4(self.process, 0)
        content = b""
        while part := os.read(self.reading, 65_536):
            content += part
        os.close(self.reading)
        mebibytes, seconds = used.ru_maxrss // 1024, used.ru_utime + used.ru_stime
        if late:
            verdict, told = FAULT, f"hang: nothing after {WALL_SECONDS} s"
        elif os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
            verdict, told = FAULT, f"hang: {seconds:.0f} s of processor time"
        elif os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            # The embedder opens slides in processes of their own; nothing else may crash.
            verdict, told = (CRASH if self.kind in _SLIDES else FAULT), f"crash: {name}"
        elif not content:
            verdict, told = FAULT, f"ended with status {os.waitstatus_to_exitcode(status)} without a word"
        else:
            verdict, told = json.loads(content)
            if mebibytes > RESIDENT_BYTES // 2**20:
                verdict, told = FAULT, f"memory: {mebibytes} MiB ({verdict}: {told})"
        return Verdict(self.number, self.kind, self.damage, verdict, told, mebibytes, round(seconds, 2))


def warm():
    """Import what the doors need, once: processes that are forked from this one have it."""

    import tissuumaps_sic.clustering
    import tissuumaps_sic.export
    import tissuumaps_sic.images
    import tissuumaps_sic.seeds
    import tissuumaps_sic.truth
    import tissuumaps_sic.two_means  # noqa: F401


def make_seeds(folder):
    """Write the whole files, in a process of its own: libraries' threads do not outlive a fork."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            from hostile.seeds import write_seeds

            with contextlib.redirect_stdout(io.StringIO()):
                write_seeds(folder)
            status = 0
        except Exception:  # noqa: BLE001 -- the process ends here, and tells its parent by its status
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(process, 0)[1] == 0, "the whole files could not be made"


def hunt(numbers, seed, *, keep=None, door=None, kinds=None, at_once=2):
    """Open each file of a hunt in a process of its own.

    Parameters
    ----------
    numbers : iterable of int
        Which files.
    seed : int
    keep : Path, optional
        Where files go that are faults, or crash.
    door : callable, optional
        In place of each kind's own.
    kinds : collection of str, optional
        Only these.
    at_once : int
        How many processes.

    Yields
    ------
    Verdict
        Of each, as they end.
    """
    warm()
    with tempfile.TemporaryDirectory(prefix="hunt-seeds-") as made:
        seeds = Path(made)
        make_seeds(seeds)
        waiting = [each for each in reversed(list(numbers)) if kinds is None or kind_of(each, seed) in kinds]
        running = {}
        while waiting or running:
            while waiting and len(running) < at_once:
                child = _Child(waiting.pop(), seed, seeds, door)
                running[child.reading] = child
            ready, _, _ = select.select(list(running), [], [], 1.0)
            for reading in [key for key, child in running.items() if key in ready or child.is_late()]:
                child = running.pop(reading)
                verdict = child.finish()
                if keep is not None and verdict.verdict in (FAULT, CRASH):
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(child.path, keep / f"{seed}-{verdict.number}-{child.path.name}")
                shutil.rmtree(child.folder, ignore_errors=True)
                yield verdict


# Faults of today's code that are being mended elsewhere: (kind, what is told, reason), both as patterns.
KNOWN = [
    (r".*tif|svs|png|jpg", r"^silence", "branch pixels: what was not decoded is believed"),
    (r"geojson(\.gz)?|xml", r"^unexpected", "branch tables: one reader of polygons"),
    (
        r"h5ad|tmap",
        r"^(unexpected|not in one line|hang|memory)",
        "branch door: an h5ad is looked at when it is opened",
    ),
    (
        r"sic\.json|seeds\.csv|list\.csv",
        r"^(unexpected|not in one line|does not name)",
        "branches sessions and tables",
    ),
]


def is_known(verdict):
    return any(re.fullmatch(kind, verdict.kind) and re.search(told, verdict.told) for kind, told, _ in KNOWN)


def main():
    parser = argparse.ArgumentParser(description="Open damaged files, each in a process of its own.")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", type=int, action="append", help="the number of one file; may be given again"
    )
    parser.add_argument("--kind", action="append", choices=list(SHARES))
    parser.add_argument("--keep", type=Path, default=Path("test-artifacts/hunt"))
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print each verdict for machines")
    options = parser.parse_args()
    started, verdicts = time.monotonic(), []
    numbers = options.only or range(options.count)
    for each in hunt(numbers, options.seed, keep=options.keep, kinds=options.kind, at_once=options.at_once):
        verdicts.append(each)
        if options.json:
            print(json.dumps(asdict(each)), flush=True)
        elif options.only or each.verdict == CRASH or (each.verdict == FAULT and not is_known(each)):
            again = f"python -m hostile.hunting --seed {options.seed} --only {each.number}"
            print(
                f"{each.verdict} {each.kind} ({each.damage}): {each.told}\n    PYTHONPATH=tests:. {again}",
                flush=True,
            )
    faults = [each for each in verdicts if each.verdict == FAULT]
    unknown = [each for each in faults if not is_known(each)]
    counts = {name: sum(each.verdict == name for each in verdicts) for name in (FINE, REFUSED, CRASH, FAULT)}
    told = ", ".join(f"{n} {name}" for name, n in counts.items())
    most = max((each.mebibytes for each in verdicts), default=0)
    print(
        f"{len(verdicts)} files of seed {options.seed} in {time.monotonic() - started:.0f} s: {told}"
        f" ({len(faults) - len(unknown)} of them known); at most {most} MiB",
        file=sys.stderr,
    )
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
