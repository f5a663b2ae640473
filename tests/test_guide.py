"""The guide and the README cannot lie: commands are understood, and run, and messages are in the source."""

import ast
import csv
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from making.tissue import write_tissue

import embedder.cli
import tissuumaps_sic.cli
from embedder.embedding.request import gather
from tissuumaps_sic.annotation.classes import order_classes
from tissuumaps_sic.annotation.scheme import read_scheme

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = {path.name: path for path in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]}
PROGRAMS = {"embedder": embedder.cli, "tissuumaps-sic": tissuumaps_sic.cli}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Of others, or of no interest here; make and pip are looked at.
FOREIGN = {"hf", "gunicorn", "snakemake", "python3", "source"}


def blocks(page, language):
    """Return the fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page].read_text(), re.DOTALL | re.MULTILINE)


def lines_of(page):
    """Return the commands of a page, each as its words, without what is done with their output."""
    lines = [
        line
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    return [cut(line) for line in lines]


def cut(line):
    words = shlex.split(line, comments=True)
    words = words[: next((k for k, word in enumerate(words) if word in (">", "|", "&&")), len(words))]
    while "=" in words[0] and not words[0].startswith("-"):  # of the environment
        words = words[1:]
    return [words[0].rpartition("/")[2], *words[1:]]


def on_a_cluster():
    """Return the commands of the page that is in examples/, whose blocks are indented."""
    text = (ROOT / "examples" / "slurm.md").read_text().replace("\\\n", " ")
    found = re.findall(r"^    (?:exec )?(\S*(?:embedder|tissuumaps-sic) .*)$", text, re.MULTILINE)
    return [cut(line) for line in found]


def understand(words):
    """Parse a command as the program does; wrong use ends it."""
    program, arguments = words[0], words[1:]
    if program == "embedder":
        embedder.cli.make_parser().parse_args(arguments)
        return
    options, rest = tissuumaps_sic.cli.make_parser().parse_known_args(arguments)
    if options.takes_rest:
        embedder.cli.make_parser().parse_args(["embed", "slide.svs", "-o", "out", *rest])
    else:
        assert not rest, rest


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_understood(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in lines_of(page) + (on_a_cluster() if page == "slurm.md" else []):
        program = words[0]
        if program in PROGRAMS:
            understand(words)
        elif program == "make":
            assert words[1] in targets, words
        else:
            assert program in FOREIGN | {"pip"}, words
        for extras in re.findall(r"\[([a-z,]+)\]", " ".join(words)):
            assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


@functools.cache
def help_of(program, command):
    (commands,) = PROGRAMS[program].make_parser()._subparsers._group_actions
    return commands.choices[command].format_help()


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_extras_that_are_spoken_of_exist(page):
    text = re.sub(r"^```.*?^```", "", PAGES[page].read_text(), flags=re.DOTALL | re.MULTILINE)
    for program, command, rest in re.findall(r"`(embedder|tissuumaps-sic) ([a-z-]+)([^`]*)`", text):
        assert command in PROGRAMS[program].COMMANDS, (program, command)
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in help_of(program, command), (program, command, option)
    for extras in re.findall(r"`[^`]*\[([a-z,]+)\]\"`", text):
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    for target in re.findall(r"`make ([a-z]+)`", text):
        known = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert target in known, target


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_is_on_some_page(program):
    named = {words[1] for page in PAGES for words in lines_of(page) if words[0] == program}
    assert named == set(PROGRAMS[program].COMMANDS)


def test_options_that_are_spoken_of_exist():
    known = "".join(
        help_of(program, command) for program in PROGRAMS for command in PROGRAMS[program].COMMANDS
    )
    # Of pip, gunicorn and others.
    foreign = {"--strict", "--directory", "--index-url", "--help", "--json"}
    for page, path in PAGES.items():
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        for option in set(re.findall(r"`(--[a-z][a-z0-9-]+)", text)) - foreign:
            assert re.search(rf"{option}\b", known), (page, option)


# What is not run, and why; all else of `bash` blocks is.
NOT_RUN = {
    r"tissuumaps-sic (demo|open|serve)\b": "serves until it is ended",
    r"--slurm|--devices": "wants a cluster, or several cards",
    r"embedder pretrain": "trains for minutes",
    r"embedder (embed|plan)\b": "loads an encoder, as the folder of these tests did",
    r"other/one": "wants an encoder that is downloaded",
    r"embedder convert": "wants files of other programs",
}


def to_be_run(page):
    ours = {" ".join(words): words for words in lines_of(page) if words[0] in PROGRAMS}
    return [words for line, words in ours.items() if not any(re.search(each, line) for each in NOT_RUN)]


def shown(page, beginning):
    """Return a file that a page shows, by how it begins."""
    (found,) = (block for block in blocks(page, "text") if block.startswith(beginning))
    return found


def run(words):
    program, *given = words
    arguments = []
    for word in given:
        arguments += sorted(str(path) for path in Path().glob(word)) if "*" in word else [word]
    if "--answers" in arguments:
        answer(Path(arguments[arguments.index("--answers") + 1]))
    assert PROGRAMS[program].main(arguments) == 0, words


def answer(path):
    """Fill in a table of patches, as a reader does between two commands."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["class"] = ("Tumour", "Other", "?")[min(number % 5, 2)] if number % 5 else "Other"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def polygon(name, left, top, side=400):
    corners = [(left, top), (left + side, top), (left + side, top + side), (left, top + side), (left, top)]
    geometry = {"type": "Polygon", "coordinates": [corners]}
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {"objectType": "annotation", "classification": {"name": name}},
    }


@pytest.fixture(scope="module")
def desk(demo_folder, tmp_path_factory):
    """A folder as the guide says that the reader has it; not to be written to."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(demo_folder, folder / "demo")
    for name in ("scans", "seeds", "sent"):
        (folder / name).mkdir()
    for seed, name in enumerate(("one", "two")):
        write_tissue(folder / "scans" / f"{name}.tif", seed=seed, side=768)
        places = ((160, 200, "Other"), (160, 500, "Other"), (640, 200, "Tumour"), (640, 500, "Tumour"))
        table = "".join(f"{x},{y},{label}\n" for x, y, label in places)
        (folder / "seeds" / f"{name}.csv").write_text(f"x,y,class\n{table}")
    (folder / "seeds.csv").write_text(shown("command-line.md", "x,y,class"))
    (folder / "three.csv").write_text(shown("classes.md", "x,y,class"))
    (folder / "slides.csv").write_text(shown("resolution.md", "slide,mpp"))
    (folder / "map.csv").write_text(shown("seeds.md", "from,to"))
    drawn = [polygon("Tumour", 1400, 1500), polygon("Other", 4600, 1800), polygon("Other", 2500, 3300)]
    (folder / "drawn.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": drawn}))
    first = folder / "seeds.csv"
    second = folder / "ben.csv"
    second.write_text(first.read_text().replace("1900,2100", "1700,2300").replace("5400,2600", "5300,2300"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        of_demo = "tissuumaps-sic run demo/demo.h5ad --positive Tumour --save --seeds "
        for rest in ("seeds.csv", "seeds.csv --session Anna", "ben.csv --session Ben"):
            run(shlex.split(of_demo + rest))
        run(shlex.split("embedder embed scans -o embedded --precision float32 --no-umap --no-fine"))
        run(
            shlex.split("tissuumaps-sic run embedded/one.h5ad --positive Tumour --save --seeds seeds/one.csv")
        )
        run(shlex.split("tissuumaps-sic run embedded --from embedded/one.h5ad --save"))
    for name in ("demo/demo", "embedded/one"):
        session = folder / f"{name}{'.Ben' * (name == 'demo/demo')}.sic.json"
        shutil.copy(session, folder / "sent" / f"{Path(name).name}.Ben.sic.json")
    shutil.copytree(folder / "demo", folder / "annotations")
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if to_be_run(page) or blocks(page, "python")])
def test_what_a_page_says_runs(page, desk, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(desk, tmp_path / "desk", symlinks=True))
    # Processes of one slide each load all libraries anew; that they work is tested elsewhere.
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    for words in to_be_run(page):
        run(words)
    for code in blocks(page, "python"):
        exec(compile(code, page, "exec"), {})


def test_the_table_of_slides_is_read_as_the_page_says(desk):
    one, two = gather([desk / "slides.csv"])
    assert (one.path.name, one.mpp) == ("one.tif", 0.5)
    assert (two.path.name, two.mpp) == ("two.tif", None)


def test_the_class_list_is_read_as_the_page_says(tmp_path):
    (text,) = blocks("classes.md", "json")
    (tmp_path / "classes.json").write_text(text)
    classes = read_scheme(tmp_path / "classes.json").classes
    names = [classes[label].name for label in order_classes(len(classes))]
    assert names == ["Tumour", "Stroma", "Necrosis"]


def test_what_the_guide_leaves_unrun_is_still_there():
    every = "\n".join(" ".join(words) for page in PAGES for words in lines_of(page))
    for pattern in NOT_RUN:
        assert re.search(pattern, every), pattern


def templates():
    """Return every text of the source, with a mark where something is put in."""
    mark = "\0"
    for package in ("embedder", "tissuumaps_sic"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [each.value if isinstance(each, ast.Constant) else mark for each in node.values]
                    yield "".join(parts)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield re.sub(r"%[-\d.]*[srdfg]", mark, node.value)
        for path in (ROOT / package).rglob("*.js"):
            for _, text in re.findall(r"([\"`])((?:(?!\1).)+)\1", path.read_text()):
                yield re.sub(r"\$\{[^}]*\}", mark, text)


def test_every_message_of_the_troubleshooting_page_is_in_the_source():
    messages = re.findall(r"^### `(.*)`$", PAGES["troubleshooting.md"].read_text(), re.MULTILINE)
    assert len(messages) > 40
    assert len(set(messages)) == len(messages)
    source = list(templates())
    lost = []
    for message in messages:
        pattern = "\0.*".join(re.escape(piece) for piece in re.split(r"<[^<>]+>", message))
        if not any(re.search(pattern, text, re.DOTALL) for text in source):
            lost.append(message)
    assert lost == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The guide, built strictly."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_the_guide_is_built_and_has_every_page(site):
    for page in PAGES.keys() - {"README.md"}:
        assert (site / page).with_suffix(".html").is_file(), page


def test_the_guide_loads_nothing_from_other_hosts(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text):
            for address in re.findall(r"(?:src|href)=\"?([^\s\">]+)", tag):
                assert not re.match(r"(?:https?:)?//", address), (page.name, address)
        # What Material would fetch the drawing program for, from another host.
        assert 'class="mermaid"' not in text
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\"?(?:https?:)?//", sheet.read_text()), sheet


@pytest.mark.parametrize("package", ["embedder", "tissuumaps_sic"])
def test_the_reference_has_every_public_name(package, site):
    module = __import__(package)
    page = (site / f"reference-{package}.html").read_text()
    for name, home in module._HOMES.items():
        assert f'id="{home}.{name}"' in page, name


def test_pictures_are_small_and_the_readme_leads_somewhere():
    assert (DOCS / "demo.gif").stat().st_size < 2e6
    for target in re.findall(r"\]\(([^)#]+)", PAGES["README.md"].read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_figure_of_the_guide_is_that_of_the_benchmarks():
    figure = "figure_2.png"
    assert (ROOT / "docs" / figure).read_bytes() == (ROOT / "benchmarks" / figure).read_bytes()
