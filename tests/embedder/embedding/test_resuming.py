"""Slides that two runs are at, and runs that go on: what is in the file is one run's, to the last bit."""

import json
import threading
from dataclasses import replace

import h5py
import numpy as np
import pytest
from making.embeddings import MeanEncoder, write_ramp

import embedder.embedding.encoding
from embedder.embedding import partial
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.encoders.precision import Choice
from tissuumaps_sic.slidefile import leases
from tissuumaps_sic.slidefile.contract import check

PLAIN = EmbedOptions(umap=False, min_tissue=0, patch_size=64, batch_size=32)
PATIENCE = 60


class Marking(MeanEncoder):
    """Adds its run's number to each embedding, and does something before some of its batches."""

    def __init__(self, mark):
        super().__init__()
        self.mark, self.batches, self.before = mark, 0, {}

    def start(self, patches, *, precision=None, cells=None):
        self.batches += 1
        self.before.get(self.batches, lambda: None)()
        return super().start(patches, cells=cells)

    def embed(self, patches):
        return super().embed(patches) + np.float32(self.mark)

    def embed_cells(self, patches, cells):
        return super().embed_cells(patches, cells) + np.float16(self.mark)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_ramp(tmp_path_factory.mktemp("slide") / "ramp.tif", width=320, height=300)


@pytest.fixture
def runs(monkeypatch):
    """Encoders by their name; each run takes the lock of the one before, as another machine may."""
    encoders = {"one": Marking(1000), "two": Marking(2000)}
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda name, **_: encoders[name])
    monkeypatch.setattr(leases, "_gone", lambda holder: None)
    monkeypatch.setattr(leases, "_STALE_SECONDS", -1)
    return encoders


def rows(path):
    """Each patch's embedding, and then those of its cells."""
    with h5py.File(path, "r") as file:
        return np.hstack([file["X"][:], file["obsm/fine"][:]])


class Run:
    """A run in a thread of its own, which stops where it is told to and goes on when it is told to."""

    def __init__(self, slide, folder, options):
        self.result = None
        self.paused, self.going_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._embed, args=(slide, folder, options))

    def _embed(self, slide, folder, options):
        (self.result,) = embed_slides([slide], folder, options)
        self.paused.set()

    def pause(self):
        self.paused.set()
        assert self.going_on.wait(PATIENCE)

    def start(self):
        self._thread.start()
        assert self.paused.wait(PATIENCE)

    def go_on(self):
        self.going_on.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.result


@pytest.mark.parametrize("checkpoint", [0, 10])
@pytest.mark.parametrize("when", ["two is done", "two is at work", "two was killed", "one writes its file"])
def test_of_two_runs_at_a_slide_the_file_is_that_of_one(slide, runs, tmp_path, monkeypatch, when, checkpoint):
    monkeypatch.setattr(partial, "_CHECKPOINT_SECONDS", checkpoint)
    twos = replace(PLAIN, encoder="two", overlap=0.75)
    (alone,) = embed_slides([slide], tmp_path / "alone", twos)
    runs["two"].batches = 0

    one = Run(slide, tmp_path / "out", replace(PLAIN, encoder="one", overlap=0.8))
    two = Run(slide, tmp_path / "out", twos)
    with monkeypatch.context() as patched:
        if when == "one writes its file":
            array = partial.Partial.array
            patched.setattr(partial.Partial, "array", lambda self: one.pause() or array(self))
        else:
            runs["one"].before[3] = one.pause
        one.start()
    if when != "two is done":
        runs["two"].before[3] = two.pause
    two.start()
    first = one.go_on()
    assert first.status == "failed"
    assert "another run took this slide" in first.message
    assert "\n" not in first.message
    if when == "two was killed":
        runs["two"].before = {}
        (second,) = embed_slides([slide], tmp_path / "out", twos)
        assert two.go_on().status == "failed"  # what stood still was not killed
    else:
        second = two.go_on()
    assert second.status == "done", second
    assert check(second.h5ad) == []
    assert np.array_equal(rows(second.h5ad), rows(alone.h5ad))
    assert (rows(second.h5ad) >= 2000 - 1).all()
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_of_two_runs_that_ask_for_the_same_one_is_done(slide, runs, tmp_path):
    options = replace(PLAIN, encoder="one")
    (alone,) = embed_slides([slide], tmp_path / "alone", options)
    runs["one"].batches = 0
    one, two = Run(slide, tmp_path / "out", options), Run(slide, tmp_path / "out", options)
    runs["one"].before |= {3: one.pause, 6: two.pause}
    one.start()
    two.start()
    assert one.go_on().status == "failed"
    assert two.go_on().status == "done"
    assert np.array_equal(rows(two.result.h5ad), rows(alone.h5ad))


class Measuring(MeanEncoder):
    """Measures that one precision is worth it, and notes in which it embeds."""

    def __init__(self, measured):
        super().__init__()
        self.choice, self.measured, self.used = None, measured, []
        self.ends_before = None

    def choose_precision(self, patches, *, cells=None):
        self.choice = self.choice or Choice(self.measured, "auto", 1.5, 0.9999)
        return self.choice

    def start(self, patches, *, precision=None, cells=None):
        precision = precision or self.choose_precision(patches).precision
        if len(self.used) == self.ends_before:
            raise KeyboardInterrupt
        self.used.append(precision)
        features = super().start(patches, cells=cells)
        return replace(features, pooled=features.pooled + np.float32(precision == "bfloat16"))


def embed_by(encoder, monkeypatch, slides, folder):
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: encoder)
    return embed_slides(slides, folder, PLAIN)


def encoder_facts(path):
    with h5py.File(path, "r") as file:
        return json.loads(file["uns/embedder"].asstr()[()])["encoder"]


def test_what_a_resumed_slide_was_begun_in_is_no_matter_of_later_slides(slide, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = Measuring("bfloat16")
    first.ends_before = 2
    with pytest.raises(KeyboardInterrupt):
        embed_by(first, monkeypatch, [slide], out)
    later = write_ramp(tmp_path / "later.tif", width=300, height=300)
    second = Measuring("float32")
    results = embed_by(second, monkeypatch, [slide, later], out)
    assert [each.status for each in results] == ["done", "done"]
    assert [encoder_facts(each.h5ad)["precision"] for each in results] == ["bfloat16", "float32"]
    assert "1.50 times" in encoder_facts(results[0].h5ad)["precision_choice"]
    (alone,) = embed_by(Measuring("float32"), monkeypatch, [later], tmp_path / "alone")
    assert np.array_equal(rows(results[1].h5ad), rows(alone.h5ad))
    (whole,) = embed_by(Measuring("bfloat16"), monkeypatch, [slide], tmp_path / "whole")
    assert np.array_equal(rows(results[0].h5ad), rows(whole.h5ad))
    assert set(second.used) == {"bfloat16", "float32"}
    assert second.choice.precision == "float32"


def test_a_choice_holds_though_the_run_ended_before_its_first_checkpoint(slide, tmp_path, monkeypatch):
    """Else rows of two precisions would come into one file, when the second run is ended, too."""
    first = Measuring("bfloat16")
    first.ends_before = 0
    monkeypatch.setattr(partial.Partial, "remove", lambda self: None)  # as if killed
    with pytest.raises(KeyboardInterrupt):
        embed_by(first, monkeypatch, [slide], tmp_path / "out")
    monkeypatch.undo()
    second = Measuring("float32")
    (result,) = embed_by(second, monkeypatch, [slide], tmp_path / "out")
    assert set(second.used) == {"bfloat16"}
    assert encoder_facts(result.h5ad)["precision"] == "bfloat16"


@pytest.mark.parametrize("name", ["x" * 245, "\u5207\u7247" * 40])
def test_slides_of_the_longest_names_are_embedded(tmp_path, monkeypatch, name):
    path = write_ramp(tmp_path / "short.tif", width=300, height=300).rename(tmp_path / f"{name}.tif")
    (result,) = embed_by(MeanEncoder(), monkeypatch, [path], tmp_path / "out")
    assert result.status == "done", result.message
    assert {each.name for each in (tmp_path / "out").iterdir()} == {
        f"{name}{end}" for end in (".h5ad", ".tmap", ".tif")
    }
