"""What hosts and maintainers read is true: the test map, notices, versions, forms and GitHub's runs."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from making.scripts import load_script
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
NOT_TESTS = {"node_modules", "__pycache__"}


def load(path):
    """YAML as GitHub reads it: `on` is a word there."""
    return yaml.load(path.read_text(), Loader=yaml.BaseLoader)


def steps_of(workflow):
    # A job that is another workflow has none of its own.
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


def test_the_test_map_has_each_folder_of_tests_and_no_other():
    mapped = re.findall(r"^\| `(tests/[^`]*)` \| (.+) \|$", CONTRIBUTING, re.MULTILINE)
    folders = {
        f"{path.parent.relative_to(ROOT).as_posix()}/"
        for path in (ROOT / "tests").rglob("*")
        if path.is_file() and not NOT_TESTS & set(path.parts)
    }
    assert {folder for folder, _ in mapped} == folders
    assert len(mapped) == len(folders)
    assert [folder for folder, _ in mapped] == sorted(folders)


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "SECURITY.md", ".github/pull_request_template.md"])
def test_files_that_are_named_are_there(document):
    text = (ROOT / document).read_text()
    named = set(
        re.findall(r"`((?:tests|tissuumaps_sic|embedder|docs|examples|\.ci|\.github)/[\w./-]+)`", text)
    )
    named |= {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`(?:make|    make) ([a-z]+)", text)) <= targets


def test_one_version_is_said_everywhere():
    subprocess.run([sys.executable, str(ROOT / ".ci" / "version.py")], check=True)
    wrong = subprocess.run([sys.executable, str(ROOT / ".ci" / "version.py"), "v0.0.1"], capture_output=True)
    assert (wrong.returncode, b"the tag is v0.0.1" in wrong.stderr) == (1, True)


def test_each_direct_dependency_is_in_the_notices_with_a_licence():
    notices = load_script("notices")
    rows = [line.split(" | ") for line in notices.FILE.read_text().splitlines() if line.startswith("| ")][2:]
    told = {re.sub(r"^\| \[?([a-z0-9-]+).*", r"\1", row[0]): row for row in rows}
    asked = notices.direct()
    assert len(asked) > 40
    assert sorted(asked.keys() - told.keys()) == [], "run `.venv/bin/python .ci/notices.py`"
    for name, extras in asked.items():
        _, _, licence, groups = told[name]
        assert re.search("[A-Z]{3}|Apache|Python Software", licence), name
        assert groups.removesuffix(" |") == ", ".join(extra or "the base" for extra in extras), name


def test_the_citation_is_of_this_software_and_of_the_paper():
    citation = load(ROOT / "CITATION.cff")
    assert (citation["cff-version"], citation["license"]) == ("1.2.0", PROJECT["license"])
    assert citation["title"] == PROJECT["name"]
    paper = citation["preferred-citation"]
    assert paper["title"] == "Seeded iterative clustering for histology region identification"
    assert (paper["year"], len(paper["authors"])) == ("2022", 3)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_forms_are_whole(path):
    form = load(path)
    assert form["name"]
    assert form["description"]
    fields = [each for each in form["body"] if each["type"] != "markdown"]
    assert len({each["id"] for each in fields}) == len(fields)
    for each in fields:
        assert each["attributes"]["label"]
        assert each["type"] not in ("dropdown", "checkboxes") or each["attributes"]["options"]


def test_hooks_are_the_lint_of_the_makefile():
    hooks = load(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    programs = re.findall(r"\$\(BIN\)/([\w-]+)", lint)
    assert {each["entry"].split()[0].removeprefix(".venv/bin/") for each in hooks} == set(programs)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_runs_on_github_is_pinned_and_may_not_write(path):
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for step in steps_of(workflow) if "uses" in step]
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", each)] == []
    for step in steps_of(workflow):
        for script in re.findall(r"(?:bash|python) (\.ci/\S+)", step.get("run", "")):
            assert (ROOT / script).is_file(), script


def test_github_tries_what_the_package_promises():
    jobs = load(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]
    matrix = jobs["quick"]["strategy"]["matrix"]
    assert [each.partition("-")[0] for each in matrix["system"]] == ["ubuntu", "macos", "windows"]
    promised = SpecifierSet(PROJECT["requires-python"])
    classified = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if " Python :: 3." in each]
    assert [each for each in matrix["python"] if promised.contains(f"{each}.0")] == classified
    tried = {pair for each in matrix["libraries"] for pair in re.findall(r"(\w+)==([\d.]+)\.", each)}
    assert tried == {("anndata", "0.12"), ("anndata", "0.13"), ("pandas", "2"), ("pandas", "3")}
    assert any("bash .ci/run" in step.get("run", "") for step in jobs["all"]["steps"])
    assert any(".ci/wheel.py" in step.get("run", "") for step in jobs["wheel"]["steps"])


def test_a_release_is_published_without_a_secret():
    jobs = load(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    publish = jobs["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"]["name"] == "pypi"
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text()
    runs = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert any(".ci/version.py" in each for each in runs)
    assert any(".ci/wheel.py" in each for each in runs)


def test_no_function_is_longer_than_a_screen():
    """Sixty lines, its docstring not counted."""
    long = []
    for path in [*(ROOT / "embedder").rglob("*.py"), *(ROOT / "tissuumaps_sic").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                first = node.body[0]
                told = ast.get_docstring(node) and first.end_lineno - first.lineno + 1
                if node.end_lineno - node.lineno + 1 - (told or 0) > 60:
                    long.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert not long
