"""The README and the examples cannot lie: their commands exist, and their code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from embedder import cli as embedder_cli
from tissuumaps_sic import cli as sic_cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("program", "cli"), [("embedder", embedder_cli), ("tissuumaps-sic", sic_cli)])
def test_every_command_of_the_readme_exists_and_every_command_is_in_the_readme(program, cli):
    named = set(re.findall(rf"\b{program} ([a-z-]+)", README))
    known = next(set(action.choices) for action in cli._parser()._actions if getattr(action, "choices", None))
    assert named == known


def test_the_commands_options_of_the_readme_exist():
    for program, command, option in re.findall(
        r"(embedder|tissuumaps-sic) ([a-z-]+)[^\n#`]*?(--[a-z-]+)", README
    ):
        ran = subprocess.run(
            [sys.executable, "-m", program.replace("-", "_"), command, "--help"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert option in ran.stdout


def test_the_readmes_python_runs(demo_folder, tmp_path):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    (tmp_path / "demo").symlink_to(demo_folder)
    subprocess.run([sys.executable, "-c", code + "\nassert labels.sum() > 0"], check=True, cwd=tmp_path)


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(script, demo_h5ad):
    ran = subprocess.run(
        [sys.executable, str(script), str(demo_h5ad)], check=True, capture_output=True, text=True
    )
    assert "positive" in ran.stdout
