"""Whatever cannot be meant ends with 2 and says so on stderr, before anything is written."""

import re
from pathlib import Path

import pytest

from embedder.cli import COMMANDS, main, make_parser
from embedder.commands import options
from embedder.embedding.options import EmbedOptions
from embedder.isolation.child import Limits
from embedder.pretraining.options import PretrainOptions

EMBED = ["embed", "a.svs", "-o", "out"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "guessed").write_text("password")


def end(*arguments):
    """Return what the program ends with, by argparse or by a command."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "embedder embed SLIDES -o DIR"),
        (["--verbose"], "embedder embed SLIDES -o DIR"),
        (["embedd"], "invalid choice: 'embedd'"),
        *(([name, "--nonsense"], "") for name in COMMANDS),
        (["embed", "a.svs"], "required: -o/--output"),
        (["embed", "empty", "-o", "out"], "empty: there is no slide in this folder"),
        (["plan", "none/*.svs", "-o", "out"], "none/*.svs: no file fits this pattern"),
        (["pretrain", "empty", "-o", "out"], "empty: there is no slide in this folder"),
        ([*EMBED, "--storage", "float8"], "invalid choice: 'float8'"),
        ([*EMBED, "--patience", "-1"], "--patience: give a number of 0 or more, not '-1'"),
        ([*EMBED, "--overlap", "1"], "--overlap: give a number from 0 to below 1, not '1'"),
        ([*EMBED, "--mpp", "0"], "--mpp: give a number above 0, not '0'"),
        ([*EMBED, "--min-tissue", "25"], "--min-tissue: give a number from 0 to 1, not '25'"),
        ([*EMBED, "--patch-size", "2.5"], "--patch-size: give a whole number of 1 or more, not '2.5'"),
        ([*EMBED, "--workers", "0"], "--workers: give a whole number of 1 or more, not '0'"),
        ([*EMBED, "--workers", "2", "--scheduler", "tcp://x:1"], "has its own"),
        ([*EMBED, "--workers", "2", "--devices", "cuda:0"], "each of --devices gets one"),
        ([*EMBED, "--slurm"], "--slurm needs --workers"),
        ([*EMBED, "--slurm-options", "queue=gpu"], "--slurm-options are for --slurm"),
        ([*EMBED, "--slurm", "--scheduler", "tcp://x:1"], "not allowed with"),
        ([*EMBED, "--slurm", "--workers", "1", "--slurm-options", "gpu=1"], "no SLURM option 'gpu=1'"),
        ([*EMBED, "--slurm", "--workers", "1", "--slurm-options", "gpus=2"], "gpus is 2"),
        (["convert", "a.h5", "-o", "b.h5ad", "--mpp", "half"], "--mpp: give a number above 0, not 'half'"),
        (["convert", "a.h5", "-o", "b.h5ad", "--unit", "-1"], "--unit: give a number above 0, not '-1'"),
        (["convert", "a.h5", "-o", "b.h5ad", "--patch-size0", "nan"], "above 0, not 'nan'"),
        (["share", "a.h5ad", "-o", "out", "--rename"], "give one with --key FILE"),
        (["share", "a.h5ad", "-o", "out", "--shift", "--key", "out/key"], "would lie in the folder"),
        (["share", "a.h5ad", "-o", "out", "--shift", "--key", "guessed"], "guessed: has 8 bytes"),
    ],
)
def test_wrong_use_ends_with_two(tmp_path, arguments, message, capsys, caplog):
    assert end(*arguments) == 2
    assert message in caplog.text + capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_options_defaults_are_those_of_the_functions():
    parser = make_parser()
    embed, plan, pretrain = (
        parser.parse_args([name, "a.svs", "-o", "out"]) for name in ("embed", "plan", "pretrain")
    )
    assert options.read_options(EmbedOptions, embed) == EmbedOptions()
    assert options.read_options(EmbedOptions, plan) == EmbedOptions()
    assert options.read_options(PretrainOptions, pretrain) == PretrainOptions()
    assert options.read_limits(embed) == Limits()


def test_without_a_command_it_says_in_a_few_lines_what_one_begins_with(capsys):
    assert main([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    begun = re.findall(r"^  embedder (\w+)", told.err, re.MULTILINE)
    assert begun == ["encoders", "plan", "embed"]
    assert set(begun) <= COMMANDS.keys()
    (guide,) = re.findall(r"docs/[\w-]+\.md", told.err)
    assert (Path(__file__).resolve().parents[3] / guide).is_file()
    lines = told.err.splitlines()
    assert len(lines) < 20
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for(name):
    """And what stands for its value, where it has one: ``--mpp UM``, not ``--mpp MPP``."""
    (commands,) = make_parser()._subparsers._group_actions
    for action in commands.choices[name]._actions:
        assert action.help, action.option_strings
        assert not action.help.endswith("."), action.help
        assert action.metavar or action.choices or action.nargs == 0 or not action.option_strings, action
