"""Damaged files by the thousand, each opened in a process of its own: python -m hostile.hunt --files 3000.

No crash, no hang, no traceback, no memory beyond the limit, no refusal of more than a line, and no silence
where pixels are blank. The files are the same on every machine; those with which something is wrong are kept.
"""

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from hostile.originals import KINDS, SLIDE_KINDS, suffix

TESTS = Path(__file__).parents[1]


def hunt_some(numbers: range, seed: int, keep: Path | None) -> Iterator[dict]:
    """Make the files of some numbers, open each, and yield what became of it."""
    # Whatever is imported here the forks have already.
    from hostile.doors import open_as_user
    from hostile.mutations import mutate
    from hostile.sandbox import attempt

    with TemporaryDirectory() as scratch:
        for number in numbers:
            kind = KINDS[number % len(KINDS)]
            content, what = mutate(kind, random.Random(f"{seed}:{number}"))
            folder = Path(scratch) / str(number)
            folder.mkdir()
            path = folder / f"f{number}{suffix(kind)}"
            path.write_bytes(content)
            verdict = attempt(lambda kind=kind, path=path: open_as_user(kind, path), named=path.name)
            if keep is not None and is_wrong(kind, verdict.kind):
                keep.mkdir(parents=True, exist_ok=True)
                (keep / path.name).write_bytes(content)
            yield {"number": number, "of": kind, "what": what, **asdict(verdict)}


def is_wrong(of: str, kind: str) -> bool:
    """Whether a verdict on a kind of file is a fault.

    A decoder of slides may be killed by a file: `embedder` reads each slide in a process of its own, and the
    batch goes on. Nothing else may.
    """
    return kind == "fault" or (kind == "killed" and of not in SLIDE_KINDS)


def hunt(files: int, *, seed: int = 0, processes: int = 2, keep: Path | None = None) -> list[dict]:
    """Open so many damaged files, shared among some processes that fork one for each."""
    commands = [
        [
            sys.executable,
            "-m",
            "hostile.hunt",
            "--seed",
            str(seed),
            "--numbers",
            str(part),
            str(files),
            str(processes),
        ]
        + (["--keep", str(keep)] if keep is not None else [])
        for part in range(processes)
    ]
    parts = [subprocess.Popen(each, cwd=TESTS, stdout=subprocess.PIPE, text=True) for each in commands]
    found = []
    for part in parts:
        output, _ = part.communicate()
        if part.returncode:
            raise RuntimeError(f"a part of the hunt ended with {part.returncode}")
        found += [json.loads(line) for line in output.splitlines()]
    return sorted(found, key=lambda each: each["number"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one file; what went wrong is shown whole")
    parser.add_argument("--keep", type=Path, help="where files go with which something is wrong")
    parser.add_argument("--numbers", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.numbers:
        for each in hunt_some(range(*options.numbers), options.seed, options.keep):
            print(json.dumps(each), flush=True)
        return 0
    if options.only is not None:
        for each in hunt_some(range(options.only, options.only + 1), options.seed, options.keep):
            print(json.dumps(each, indent=1))
        return 0
    keep = options.keep or TESTS.parent / "test-artifacts" / "hunt"
    found = hunt(options.files, seed=options.seed, keep=keep)
    for kind in KINDS:
        counts = Counter(each["kind"] for each in found if each["of"] == kind)
        print(f"{kind:16}", "  ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    wrong = [each for each in found if is_wrong(each["of"], each["kind"])]
    for each in wrong:
        print(f"{each['number']} {each['of']}: {each['what']}: {each['text']}")
    killed = sum(each["kind"] == "killed" for each in found)
    print(f"{len(found)} files, {len(wrong)} faults, {killed} killed a decoder")
    if wrong:
        print(
            f"the files are in {keep}; one again (in tests): "
            f"python -m hostile.hunt --seed {options.seed} --only {wrong[0]['number']}"
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
