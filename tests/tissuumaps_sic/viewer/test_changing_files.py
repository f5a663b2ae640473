"""An h5ad that another program rewrites, cuts or removes costs an error on that slide, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from making.files import write_small_h5ad


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a run, a suggestion and a command told of each change, by its name."""
    folder = tmp_path_factory.mktemp("changing")
    whole = write_small_h5ad(folder / "whole.h5ad")
    (folder / "larger").mkdir()
    write_small_h5ad(folder / "larger" / "small.h5ad", columns=30, seed=3)
    script = Path(__file__).with_name("changing_files.py")
    done = subprocess.run(
        [sys.executable, str(script), str(whole)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize("change", ["written anew", "copied over", "turned", "cut", "emptied"])
def test_a_file_that_is_changed_while_it_is_read_is_an_error_in_words(told, change):
    answers, errors = told
    for endpoint in ("run", "suggest"):
        assert answers[change][endpoint].startswith("422: small.h5ad: was ")
        assert answers[change][endpoint].endswith("while it was read; open it again")
    assert answers[change]["command"] == "1, nothing written"
    assert "Traceback" not in errors


def test_a_run_on_a_file_that_is_removed_is_told_to_the_page_and_kept_by_nobody(told):
    answers, _ = told
    assert answers["removed"]["run"] == "422: small.h5ad: no such file; embed the slide first"


def test_the_server_goes_on_when_the_file_is_whole_again(told):
    assert told[0]["whole"]["run"] == "96 labels"
