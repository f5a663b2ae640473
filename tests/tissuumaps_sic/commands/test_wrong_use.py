"""Whatever cannot be meant ends with 2 and says so on stderr, before anything is written."""

import inspect
import re

import pytest
from making.files import write_small_h5ad

from tissuumaps_sic.cli import COMMANDS, main, make_parser
from tissuumaps_sic.commands import options
from tissuumaps_sic.evaluation.evaluate import evaluate
from tissuumaps_sic.export.formats import FORMATS
from tissuumaps_sic.viewer.serve import serve

EVALUATE = ["evaluate", "a.h5ad", "--truth", "t.png"]
BINARY = [*EVALUATE, "--positive", "1"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_small_h5ad(tmp_path / "small.h5ad")
    (tmp_path / "empty").mkdir()


def end(*arguments):
    """Return what the program ends with, by argparse or by a command."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "tissuumaps-sic open SLIDE"),
        (["--nonsense"], "unrecognised arguments: --nonsense"),
        (["runn"], "invalid choice: 'runn'"),
        *(([name, "--nonsense"], "") for name in COMMANDS),
        (["serve", ".", "--port", "http"], "--port: http is not a port"),
        (["serve", ".", "--port", "70000"], "--port: 70000 is not a port; give 0 to 65535"),
        (["run", "small.h5ad", "--border", "2"], "--border: give a number from 0 to 1, not '2'"),
        (["run", "small.h5ad", "--border", "nan"], "--border: give a number from 0 to 1, not 'nan'"),
        (["run", "small.h5ad", "--from", "a.h5ad", "--method", "sic"], "need --method refine"),
        (["run", ".", "--seeds", "a.csv"], "--seeds: one file holds the seeds of one slide"),
        (
            ["run", "small.h5ad", "-o", "out.png"],
            "out.png: its ending names no format; end it in csv, parquet,",
        ),
        (["run", "small.h5ad", "--session", "../other"], "'../other': cannot be a session's name"),
        (["run", "empty"], "empty: holds no h5ad; embed slides into it first"),
        (["export", "empty"], "empty: holds no h5ad; embed slides into it first"),
        *(
            ([name, "small.h5ad", "empty/small.h5ad", *more], "are of one name, and so would be what is made")
            for name, *more in (
                ("export",),
                ("export", "--format", "mask", "-o", "out"),
                ("export", "--patches", "Tumour"),
                ("export", "--patches", "Tumour", "--split", "1", "0", "0", "-o", "out"),
                ("run",),
                ("verify", "--draw", "5", "-o", "out"),
            )
        ),
        (["export", ".", "--session", "a.sic.json"], "--session: belongs to one slide"),
        (["export", ".", "--image", "a.tif"], "--image: belongs to one slide"),
        (["export", "small.h5ad", "--min-score", "0.5"], "--min-score: has no effect with --format csv"),
        (["export", "small.h5ad", "--patches", "Tumour", "--mpp", "8"], "has no effect with --patches"),
        (["export", "small.h5ad", "--patches", "Tumour", "--format", "csv"], "stands in place of --format"),
        (["export", "small.h5ad", "--split", "1", "0", "0"], "--split: has no effect with --format csv"),
        (["export", "small.h5ad", "--codes", "a.csv"], "--codes: has no effect with --format csv"),
        (
            ["export", "small.h5ad", "--patches", "Tumour", "--split", "0.5", "0.5", "0.5"],
            "0.5 0.5 0.5 are not shares that add up to 1",
        ),
        (["export", "small.h5ad", "--format", "mask", "--mpp", "0"], "--mpp: give a number above 0, not '0'"),
        (["export", "small.h5ad", "--downsample", "inf"], "--downsample: give a number above 0, not 'inf'"),
        (["export", "small.h5ad", "--simplify", "-1"], "--simplify: give a number of 0 or more, not '-1'"),
        (["export", "small.h5ad", "--most", "0"], "--most: give a whole number of 1 or more, not '0'"),
        (
            ["export", "small.h5ad", "--min-score", "2"],
            "--min-score: give a number from 0 to 1, not '2'",
        ),
        (["run", "small.h5ad", "--positive", "a"], "--positive: says how a file of seeds is read"),
        (["serve", "empty", "--no-browser"], "empty: holds no h5ad and no .tmap project; embed a slide into"),
        (["serve", "nowhere", "--no-browser"], "nowhere: there is no such folder"),
        (
            ["serve", "small.sic.json", "--no-browser"],
            "small.sic.json: is a file; give the folder that it is in",
        ),
        (["export", "small.h5ad", "--mpp", "1", "--downsample", "8"], "not allowed with"),
        (["compare", "small.h5ad", "--sessions", "a"], "expected 2 arguments"),
        (["compare", "small.h5ad", "--sessions", "a", "b/c"], "'b/c': cannot be a session's name"),
        (["merge", "small.h5ad", "--sessions", "a"], "a consensus needs two sessions or more"),
        (["merge", "small.h5ad", "--sessions", "a", "b", "--into", ""], "small.sic.json: is there already"),
        (["merge", "small.h5ad", "--sessions", "a", "b", "--into", "."], "'.': cannot be a session's name"),
        (EVALUATE, "one of the arguments --positive --class is required"),
        ([*EVALUATE, "--positive", "*"], "takes values of the truth"),
        ([*EVALUATE, "--class", "Tumour"], "must be NAME=VALUE"),
        ([*EVALUATE, "--class", "Tumour=1"], "name at least two"),
        ([*EVALUATE, "b.png", "--positive", "1"], "there are 1 slide and 2 truths"),
        ([*BINARY, "--slide-size", "100"], "--slide-size: takes two numbers; give WIDTH,HEIGHT"),
        ([*BINARY, "--methods", "dbscan"], "'dbscan' is not a method; give one of sic, refine"),
        ([*BINARY, "--strategies", "best"], "'best' is not a strategy"),
        ([*BINARY, "--repeats", "0"], "--repeats: give a whole number of 1 or more, not '0'"),
        ([*BINARY, "--clicks", "1"], "clicks: 1 is too few to seed 2 classes"),
        (
            [*BINARY, "--seeds", "one"],
            "--seeds: give whole numbers with commas between them, such as 1,3, not 'one'",
        ),
        (
            [*BINARY, "--slide-size", "wide"],
            "--slide-size: give whole numbers with commas between them, such as 1,3, not 'wide'",
        ),
    ],
)
def test_wrong_use_ends_with_two(tmp_path, arguments, message, capsys, caplog):
    (tmp_path / "small.sic.json").write_text("{}")
    before = sorted(tmp_path.rglob("[!.]*"))
    assert end(*arguments) == 2
    assert message in caplog.text + capsys.readouterr().err
    assert sorted(tmp_path.rglob("[!.]*")) == before


def test_the_formats_in_the_help_are_those_of_the_table():
    assert tuple(FORMATS) == options.FORMATS


@pytest.mark.parametrize(("command", "function", "n_told"), [("evaluate", evaluate, 7), ("serve", serve, 2)])
def test_the_defaults_in_the_help_are_those_of_the_functions(command, function, n_told):
    """Options that are not given are not passed on, so the help alone could be wrong."""
    commands = next(action.choices for action in make_parser()._actions if action.choices)
    helps = {action.dest: action.help for action in commands[command]._actions}
    told = {
        name: (re.search(r"default: ([^)]+)", helps[name])[1].split(","), parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        # A command takes all processors, a function one, unless it is told.
        if "default: " in (helps.get(name) or "") and name != "workers"
    }
    assert len(told) == n_told
    for texts, default in told.values():
        assert texts == [str(part) for part in (default if isinstance(default, tuple) else [default])]
