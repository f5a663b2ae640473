"""The README and the examples cannot lie: their commands exist, and their code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import embedder.cli
import tissuumaps_sic.cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


PROGRAMS = {"embedder": embedder.cli, "tissuumaps-sic": tissuumaps_sic.cli}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_of_the_readme_exists_and_every_command_is_in_the_readme(program):
    named = set(re.findall(rf"\b{program} ([a-z-]+)", README))
    assert named == set(PROGRAMS[program].COMMANDS)


def test_the_commands_options_of_the_readme_exist(capsys):
    named = re.findall(r"(embedder|tissuumaps-sic) ([a-z-]+)[^\n#`]*?(--[a-z-]+)", README)
    assert len(named) > 5
    for program, command, option in named:
        with pytest.raises(SystemExit):
            PROGRAMS[program].main([command, "--help"])
        assert option in capsys.readouterr().out


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
