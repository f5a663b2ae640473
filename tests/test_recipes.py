"""The recipes in examples/ for other people's machinery: run where that is installed, and else read."""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from making.tissue import write_tissue

from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.slides.slide import open_slide_file

EXAMPLES = Path(__file__).parents[1] / "examples"
# The commands of this environment come first.
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
SEEDS = "x,y,class\n128,128,Other\n128,384,Other\n384,128,Tumour\n384,384,Tumour\n"
QUICK = "--patch-size 128 --no-umap --no-fine --batch-size 16"


@pytest.fixture
def scans(tmp_path):
    """Two small slides whose right half is another tissue, and seeds of both."""
    for folder in ("scans", "seeds"):
        (tmp_path / folder).mkdir()
    for seed, name in enumerate(("one", "two 2")):
        write_tissue(tmp_path / "scans" / f"{name}.tif", seed=seed)
        (tmp_path / "seeds" / f"{name}.csv").write_text(SEEDS)
    (tmp_path / "scans" / "notes.txt").write_text("no slide")
    return tmp_path


def of_table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["slide"]: row for row in csv.DictReader(file)}


# Beside this Python, whose folder need not be on the path.
SNAKEMAKE = shutil.which("snakemake", path=Path(sys.executable).parent)


@pytest.mark.skipif(SNAKEMAKE is None, reason="snakemake is not installed; it has no wheels for this system")
def test_the_snakemake_workflow_does_what_is_missing_and_nothing_else(scans):
    def snakemake():
        command = [SNAKEMAKE, "--snakefile", EXAMPLES / "snakemake" / "Snakefile", "--cores", "2"]
        command += ["--config", "slides=scans", f"embed={QUICK}"]
        ran = subprocess.run(command, cwd=scans, env=ENVIRONMENT, check=False, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        stats = ran.stderr.partition("Job stats:")[2].partition("\n\n")[0]
        return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE)}

    done = snakemake()
    assert done == {"all": 1, "embed": 2, "run": 2, "export": 2, "table": 1, "total": 8}
    results = scans / "results"
    table = of_table(results / "table.csv")
    assert table.keys() == {"one", "two 2"}
    for row in table.values():
        assert 0.3 < float(row["share Tumour"]) < 0.7
        assert row["problem"] == ""
    assert "two 2" in (results / "sheet.html").read_text()
    exports = {f"{name}.geojson.gz" for name in table}
    assert {path.name for path in (results / "exports").iterdir()} == exports
    assert snakemake() == {}
    (results / "exports" / "one.geojson.gz").unlink()
    assert snakemake() == {"all": 1, "export": 1, "total": 2}
    # A person's correction in the viewer goes on to what is made of it, and of it alone.
    h5ad = results / "embedded" / "one.h5ad"
    corrected = load_session(session_path(h5ad), open_slide_file(h5ad)).note("A fold", user="Anna")
    save_session(session_path(h5ad), corrected)
    assert snakemake() == {"all": 1, "export": 1, "table": 1, "total": 3}


MODULES = EXAMPLES / "nextflow" / "modules"


def run_module(name, folder, **values):
    """Run the commands of a Nextflow module as Nextflow would: inputs are links in a folder of its own.

    Nextflow itself is on no package index that these tests reach. Returns the folder, in which all is that
    the module says comes out of it.
    """
    text = (MODULES / name / "main.nf").read_text()
    folder.mkdir()
    shown = {"task.process": f"TISSUUMAPS_SIC_{name.upper()}", "task.cpus": "2"}
    for key, value in values.items():
        paths = [value] if isinstance(value, Path) else value if isinstance(value, list) else []
        for path in paths:
            (folder / path.name).symlink_to(path)
        shown[key] = " ".join(shlex.quote(path.name) for path in paths) if paths else value
    taken, given = (
        text.partition(f"\n    {each}:\n")[2].partition("\n\n")[0] for each in ("input", "output")
    )
    assert set(re.findall(r"(?:path\(|path |val )(\w+)", taken)) == values.keys() - {"args"}
    script = text.split('"""')[1]
    for key, value in shown.items():
        script = script.replace(f"${{{key}}}", value)
    assert "${" not in script
    command = ["bash", "-ue", "-c", textwrap.dedent(script).replace(r"\$", "$")]
    subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True)
    for pattern in re.findall(r'path(?:\(| )"([^"]+)"', given):
        (found,) = (path for path in folder.glob(pattern) if not path.is_symlink())
        assert found.stat().st_size > 0
    assert re.fullmatch(
        rf'"TISSUUMAPS_SIC_{name.upper()}":\n    tissuumaps-sic: [\d.]+\n',
        (folder / "versions.yml").read_text(),
    )
    return folder


def test_the_commands_of_the_nextflow_modules_run(scans):
    name = "two 2"
    work = scans / "work"
    work.mkdir()
    embedded = run_module("embed", work / "embed", slide=scans / "scans" / f"{name}.tif", args=QUICK)
    h5ad = embedded / f"{name}.h5ad"
    seeds = scans / "seeds" / f"{name}.csv"
    labelled = run_module("run", work / "run", h5ad=h5ad, seeds=seeds, args="--positive Tumour")
    session = labelled / f"{name}.sic.json"
    exported = run_module(
        "export", work / "export", h5ad=h5ad, session=session, format="geojson.gz", args="--simplify 1"
    )
    assert [path.name for path in (exported / "export").iterdir()] == [f"{name}.labels.geojson.gz"]
    summed = run_module("table", work / "table", h5ads=[h5ad], sessions=[session], args="")
    (row,) = of_table(summed / "table.csv").values()
    assert 0.3 < float(row["share Tumour"]) < 0.7
    assert row["problem"] == ""


def test_the_nextflow_workflow_names_what_its_modules_are():
    workflow = (EXAMPLES / "nextflow" / "main.nf").read_text()
    config = (EXAMPLES / "nextflow" / "nextflow.config").read_text()
    included = dict(re.findall(r"include \{ (\w+) +\} from '\./(modules/\w+/main)'", workflow))
    assert set(included.values()) == {
        f"modules/{path.parent.name}/main" for path in MODULES.glob("*/main.nf")
    }
    for process, path in included.items():
        text = (EXAMPLES / "nextflow" / f"{path}.nf").read_text()
        assert f"process {process} {{" in text
        assert f"withName: {process} {{" in config
        label = re.search(r"label '(\w+)'", text)[1]
        assert f"withLabel: {label} " in config
        emitted = re.findall(r"emit: (\w+)", text)
        assert emitted[-1] == "versions"
        for used in re.findall(rf"{process}\.out\.(\w+)", workflow):
            assert used in emitted
    for name in set(re.findall(r"params\.(\w+)", workflow)):
        assert re.search(rf"^    {name} +=", config, re.MULTILINE), name
