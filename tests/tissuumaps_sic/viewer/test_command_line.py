"""The lines that pages copy, each of them really run: they give what the page shows, to the last bit."""

import csv
import gzip
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest
from making.many import PROVENANCE, write_mosaic
from making.server import Client, ask, serving

from tissuumaps_sic.annotation.store import load_session, save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.viewer.endpoints import Server

NAME = "S 21's #2 & Ärzte"  # what shells and addresses stumble over
FORMATS_OF_BYTES = ("csv", "geojson", "mask")


def second_embedding(h5ad):
    """Give a slide another embedding, that tells upper from lower."""
    adata = anndata.read_h5ad(h5ad)
    X = np.random.default_rng(8).normal(size=(adata.n_obs, 12)).astype(np.float32)
    X[:, 3] += np.where(adata.obsm["spatial"][:, 1] > 1000, 4, -4)
    adata.obsm["X_other one"] = X
    known = PROVENANCE | {"slide": {"size": [3400, 2400], "mpp_x": 0.5, "mpp_y": 0.5}}
    known["embeddings"] = {"other one": PROVENANCE}
    adata.uns["embedder"] = json.dumps(known)
    adata.write_h5ad(h5ad, convert_strings_to_categoricals=False)


class Page:
    """What a page asks of one session of a slide in a served folder."""

    def __init__(self, root, h5ad, session=""):
        self.server, self.root, self.h5ad = Server(), root, h5ad
        self.about = {"h5ad": h5ad.relative_to(root).as_posix(), "session": session}
        self.revision = 0

    def __call__(self, endpoint, **content):
        return ask(self.server, endpoint, self.root, {**self.about, "revision": self.revision, **content})

    def change(self, **what):
        self.revision = self("change", user="Anna", change=what)["revision"]

    def run(self, **content):
        state, labels = self("run", **content)
        self.revision = state["revision"]
        return [state["run"]["classes"][label]["name"] for label in labels]

    def line(self, what, **content):
        answer = self("command", what=what, **content)
        assert not answer["why"]
        return answer["line"]

    def why_not(self, what, **content):
        answer = self("command", what=what, **content)
        assert answer["line"] == ""
        return answer["why"]

    def export(self, format_):
        header, content = self("export", format=format_)
        return header["name"], content.tobytes()


@pytest.fixture
def root(tmp_path):
    (tmp_path / "served" / "sub folder").mkdir(parents=True)
    return (tmp_path / "served").resolve()


@pytest.fixture
def slide(root):
    h5ad, truth = write_mosaic(root / "sub folder", NAME, strange=True)
    second_embedding(h5ad)
    return h5ad, truth


def seed(page, truth, *, classes=(0, 1), n=4, seed=3):
    rng = np.random.default_rng(seed)
    for label in classes:
        rows = rng.choice(np.flatnonzero(truth == label), n, replace=False)
        page.change(kind="seed", label=label, patches=rows.tolist())


def run_line(line, root, monkeypatch):
    """Run a line in the served folder; returns the path that it wrote to."""
    program, *arguments = shlex.split(line)
    assert program == "tissuumaps-sic"
    assert str(root) not in line
    monkeypatch.chdir(root)
    assert main(arguments) == 0
    return root / arguments[-1]


def labels_in(path):
    with path.open(encoding="utf-8", newline="") as file:
        return [row["label"].removeprefix("'") for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "how",
    [{"method": "refine"}, {"method": "sic"}, {"embedding": "other one"}, {"border": 0.83}],
    ids=["refine", "sic", "embedding", "border"],
)
@pytest.mark.parametrize("session", ["", "zwei Wörter"])
def test_the_line_of_labels_gives_these_labels(root, slide, monkeypatch, how, session):
    h5ad, truth = slide
    page = Page(root, h5ad, session)
    seed(page, truth)
    shown = page.run(**how)
    written = run_line(page.line("run"), root, monkeypatch)
    assert labels_in(written) == shown
    assert written.name == f"{NAME}{'.' if session else ''}{session}.labels.csv"
    # Scores, too: the file is the panel's own.
    assert (written.name, written.read_bytes()) == page.export("csv")


def test_labels_of_several_classes_after_undoing_renaming_and_a_branch(root, slide, monkeypatch):
    h5ad, truth = slide
    page = Page(root, h5ad, "Ben")
    page.change(kind="add-class", name="Necrosis, 'old'")
    seed(page, truth, classes=(0, 1, 2))
    page.change(kind="seed", label=0, patches=np.flatnonzero(truth == 1)[:20].tolist())
    page.change(kind="undo")
    page.change(kind="seed", label=1, patches=np.flatnonzero(truth == 1)[-3:].tolist())  # leaves a branch
    page.change(kind="seed", label=2, patches=[0])
    page.change(kind="undo")
    shown = page.run()
    assert len(set(shown)) == 3
    assert labels_in(run_line(page.line("run"), root, monkeypatch)) == shown


def test_labels_by_borrowed_seeds(root, slide, monkeypatch):
    h5ad, _ = slide
    lender, truth = write_mosaic(root, "lender", seed=4)
    lends = Page(root, lender)
    seed(lends, truth)
    page = Page(root, h5ad, "from another")
    page.change(kind="borrow", source="lender.h5ad")
    page.change(kind="seed", label=1, patches=[5])
    shown = page.run()
    assert labels_in(run_line(page.line("run"), root, monkeypatch)) == shown


@pytest.mark.parametrize("session", ["", "zwei Wörter"])
def test_the_line_of_an_export_gives_the_file_of_the_panel(root, slide, monkeypatch, session):
    h5ad, truth = slide
    page = Page(root, h5ad, session)
    seed(page, truth)
    page.run(embedding="other one", border=0.4)
    page.change(kind="seed", label=0, patches=[7])  # stale labels have a line that exports them
    for format_ in FORMATS_OF_BYTES:
        written = run_line(page.line("export", format=format_), root, monkeypatch)
        assert (written.name, written.read_bytes()) == page.export(format_)
    packed = run_line(page.line("export", format="geojson.gz"), root, monkeypatch)
    # Beside the features there is a time, and the name of a temporary file.
    assert gzip.decompress(packed.read_bytes()) == gzip.decompress(page.export("geojson.gz")[1])
    for format_ in ("h5ad", "html", "pdf", "tmap"):
        written = run_line(page.line("export", format=format_), root, monkeypatch)
        assert written.name == page.export(format_)[0].removesuffix(".zip")
        assert written.stat().st_size
    column = anndata.read_h5ad(root / f"{NAME}{'.' if session else ''}{session}.labels.h5ad").obs["sic_label"]
    assert column.tolist() == labels_in(root / f"{NAME}{'.' if session else ''}{session}.labels.csv")


def listed(line, root, monkeypatch, capsys):
    """Patches that a line prints, by name."""
    run_line(f"{line} --json", root, monkeypatch)
    return json.loads(capsys.readouterr().out)["patches"]


def test_the_line_of_suggestions_gives_these_suggestions(root, slide, monkeypatch, capsys):
    h5ad, truth = slide
    names = open_slide_file(h5ad).patch_names
    page = Page(root, h5ad)
    cold = {"n": 6, "method": "refine"}
    first = page("suggest", **cold)["patches"]
    assert listed(page.line("suggest", **cold), root, monkeypatch, capsys) == [*names[first]]
    page.change(kind="skip", patches=first[:1])
    cold["shown"] = first
    assert listed(page.line("suggest", **cold), root, monkeypatch, capsys) == [
        *names[page("suggest", **cold)["patches"]]
    ]
    seed(page, truth)
    for asked in (
        {"n": 20, "method": "refine"},
        {"n": 3, "method": "sic", "embedding": "other one"},
        {"n": 20, "method": "refine", "shown": first},
    ):
        found = page("suggest", **asked)["patches"]
        assert listed(page.line("suggest", **asked), root, monkeypatch, capsys) == [*names[found]]


def test_the_line_of_a_second_opinion_gives_the_same_patches(root, slide, monkeypatch, capsys):
    h5ad, truth = slide
    names = open_slide_file(h5ad).patch_names
    page = Page(root, h5ad, "Ben")
    seed(page, truth, n=3)
    page.run()
    asked = {"n": 5, "method": "refine", "embedding": "X"}
    for _ in range(2):
        found = [row for pair in page("opinion", **asked)["pairs"] for row in pair["patches"]]
        assert listed(page.line("opinion", **asked), root, monkeypatch, capsys) == [*names[found]]
        asked["shown"] = found
    assert found


def test_what_no_line_can_give_is_told(root, slide):
    h5ad, truth = slide
    page = Page(root, h5ad, "Ben")
    assert "Nothing is saved" in page.why_not("suggest")
    seed(page, truth)
    assert "no labels yet" in page.why_not("run")
    assert "no labels yet" in page.why_not("export")
    page.run()
    page.line("run")
    page.change(kind="seed", label=0, patches=[7])
    assert "have changed since" in page.why_not("run")
    page.line("export", format="csv")
    page.change(kind="undo")
    page.line("run")
    page.change(kind="add-class", name="Necrosis")
    assert "classes have changed" in page.why_not("run")


def test_labels_of_another_version_have_no_line_but_an_export_of_them_has(root, slide):
    h5ad, truth = slide
    page = Page(root, h5ad)
    seed(page, truth)
    page.run()
    path = session_path(h5ad)
    session = load_session(path, open_slide_file(h5ad))
    save_session(
        path, session.model_copy(update={"run": session.run.model_copy(update={"version": "0.0.9"})})
    )
    assert "made by version 0.0.9" in page.why_not("run")
    page.line("export", format="mask")


def test_labels_of_replaced_embeddings_have_no_line(root, slide):
    h5ad, truth = slide
    page = Page(root, h5ad)
    seed(page, truth)
    page.run()
    adata = anndata.read_h5ad(h5ad)
    adata.X = adata.X[::-1].copy()
    adata.write_h5ad(h5ad, convert_strings_to_categoricals=False)
    assert "embeddings have changed" in page.why_not("run")


def test_a_session_that_is_with_the_server_has_no_line(root, slide, monkeypatch):
    h5ad, truth = slide
    access = os.access
    # Root could write, whatever the folder's rights.
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: mode != os.W_OK and access(path, mode, **more)
    )
    page = Page(root, h5ad)
    seed(page, truth)
    page.run()
    assert "the session is with the server" in page.why_not("run")
    assert not session_path(h5ad).exists()


def test_a_page_that_has_not_seen_the_session_gets_no_line(root, slide):
    h5ad, truth = slide
    page = Page(root, h5ad)
    seed(page, truth)
    with pytest.raises(SicError, match="another window"):
        page("command", what="suggest", revision=0)


def test_a_slide_that_is_called_like_an_option(root, monkeypatch):
    h5ad, truth = write_mosaic(root, "-o x")
    page = Page(root, h5ad, "Ben")
    seed(page, truth)
    shown = page.run()
    assert labels_in(run_line(page.line("run"), root, monkeypatch)) == shown
    shown = page("suggest", n=2)["patches"]
    assert main(shlex.split(page.line("suggest", n=2, shown=shown))[1:]) == 0


def test_a_shell_understands_the_line_of_a_real_server(root, slide):
    h5ad, truth = slide
    program = root.parent / "bin" / "tissuumaps-sic"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tissuumaps_sic "$@"\n')
    program.chmod(0o755)
    with serving(root) as process:
        client = Client(process.netloc, h5ad.relative_to(root).as_posix(), "zwei Wörter")
        for label in (0, 1):
            for row in np.flatnonzero(truth == label)[[3, 40, 90]].tolist():
                client.seed(row, label)
        status, _ = client.post("run", revision=client.state()["revision"])
        assert status == 200
        revision = client.state()["revision"]
        status, body = client.post("command", revision=revision, what="run")
        assert status == 200
        line = json.loads(body)["line"]
        _, exported = client.post("export", revision=revision, format="csv")
    copy = shutil.copytree(root, root.parent / "a copy")  # of a reader, on another machine
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    subprocess.run(["/bin/sh", "-c", line], cwd=copy, env=environment, check=True, stdout=subprocess.DEVNULL)
    written = (copy / f"{NAME}.zwei Wörter.labels.csv").read_bytes()
    assert exported.endswith(written)
    assert written
