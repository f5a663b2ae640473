"""No damaged file crashes, hangs, fills the memory, raises what nobody expects or is blank in silence.

Each test hunts in a fresh process: one that has run other tests has threads, which no fork takes along.
"""

import json
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, and limited")

ROOT = Path(__file__).resolve().parents[2]


def hunted(code, *arguments):
    """Run Python code that has `hunting`, and return the JSON lines that it prints."""
    begun = "import json, sys, time, os, signal\nsys.path[:0] = ['tests', '.']\nfrom hostile import hunting\n"
    command = [sys.executable, "-c", begun + textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_three_hundred_damaged_files_are_fine_or_refused_in_one_line(tmp_path):
    kept = ROOT / "test-artifacts" / "hunt"
    verdicts = hunted(
        """
        from pathlib import Path
        for each in hunting.hunt(range(300), 1, keep=Path(sys.argv[1])):
            print(json.dumps(vars(each) | {"known": hunting.is_known(each)}))
        """,
        kept,
    )
    assert len(verdicts) == 300
    counts = Counter(each["verdict"] for each in verdicts)
    # A hunt whose files are all refused, or all whole, would find nothing.
    assert counts["fine"] > 60
    assert counts["refused"] > 90
    assert {each["kind"] for each in verdicts} == set(SHARED)
    faults = [each for each in verdicts if each["verdict"] == "fault" and not each["known"]]
    again = "PYTHONPATH=tests:. python -m hostile.hunting --seed 1 --only"
    told = [f"{each['kind']} ({each['damage']}): {each['told']}; {again} {each['number']}" for each in faults]
    assert told == [], f"the files are in {kept}"


SHARED = (
    *("tif", "big.tif", "svs", "ome.tif", "png", "jpg", "h5ad", "geojson", "geojson.gz", "xml", "sic.json"),
    *("tmap", "seeds.csv", "list.csv"),
)

PLANTED = """
from pathlib import Path

def crashes(path, kind):
    os.kill(os.getpid(), signal.SIGSEGV)

def hangs(path, kind):
    while True:
        pass

def sleeps(path, kind):
    time.sleep(1000)

def fills(path, kind):
    held = [bytes(2**20) for _ in range(64)]

def raises(path, kind):
    raise KeyError("Tumor ")

def says_nothing(path, kind):
    raise OSError(path.name + ":\\nof two lines")

def names_nothing(path, kind):
    from embedder.slide import SlideError
    raise SlideError("it is damaged")

def ends(path, kind):
    os._exit(0)

def is_black(path, kind):
    import numpy as np
    hunting._judge_pixels(path, kind, np.zeros((512, 512, 3), np.uint8), (512, 512))

def is_white(path, kind):
    import numpy as np
    from hostile.seeds import tissue_pixels
    pixels = tissue_pixels()
    pixels[128:256, 256:384] = 255
    hunting._judge_pixels(path, kind, pixels, (512, 512))

def is_whole(path, kind):
    from hostile.seeds import tissue_pixels
    hunting._judge_pixels(path, kind, tissue_pixels(), (512, 512))

hunting.CPU_SECONDS, hunting.WALL_SECONDS, hunting.RESIDENT_BYTES = 1, 8, 0
doors = crashes, hangs, sleeps, fills, raises, says_nothing, names_nothing, ends, is_black, is_white, is_whole
for door in doors:
    hunting.RESIDENT_BYTES = 2**25 if door is fills else 2**40
    number = next(k for k in range(100) if hunting.kind_of(k, 1) == "png")
    other = next(k for k in range(100) if hunting.kind_of(k, 1) == "h5ad")
    numbers = [number, other] if door is crashes else [number]
    for each in hunting.hunt(numbers, 1, door=door):
        print(json.dumps(vars(each) | {"door": door.__name__}))
"""


def test_the_hunt_finds_each_fault_that_is_planted():
    verdicts = {(each["door"], each["kind"]): each for each in hunted(PLANTED)}
    assert verdicts.pop(("is_whole", "png"))["verdict"] == "fine"
    # One slide is lost, and told; anything else that crashes is a fault.
    assert verdicts.pop(("crashes", "png"))["verdict"] == "crash"
    assert verdicts.pop(("crashes", "h5ad"))["told"] == "crash: SIGSEGV"
    expected = {
        "hangs": "hang",
        "sleeps": "hang",
        "fills": "memory",
        "raises": "unexpected KeyError",
        "says_nothing": "not in one line",
        "names_nothing": "does not name the file",
        "ends": "without a word",
        "is_black": "silence",
        "is_white": "silence",
    }
    assert {door for door, _ in verdicts} == set(expected)
    for (door, _), each in verdicts.items():
        assert each["verdict"] == "fault", door
        assert expected[door] in each["told"], door


def test_the_same_seed_makes_the_same_files():
    files = hunted(
        """
        import hashlib, tempfile
        from pathlib import Path
        for _ in range(2):
            with tempfile.TemporaryDirectory() as made:
                hunting.make_seeds(Path(made))
                for number in range(40):
                    with tempfile.TemporaryDirectory() as folder:
                        path, kind, damage = hunting.make_file(number, 1, Path(made), Path(folder))
                        digest = hashlib.sha256(path.read_bytes()).hexdigest()
                        print(json.dumps({"file": [number, kind, damage, digest]}))
        """
    )
    assert files[:40] == files[40:]
