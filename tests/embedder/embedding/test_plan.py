"""What a run would take, told before it is begun."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from making.embeddings import MeanEncoder, write_ramp

import embedder.embedding.encoding
import embedder.embedding.plan
import embedder.isolation.child
from embedder.cli import main
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.embedding.plan import plan_slides
from embedder.embedding.request import SlideInput

PLAIN = EmbedOptions(umap=False, min_tissue=0.5)


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr(embedder.embedding.plan, "_MEASURED_SECONDS", 0.1)
    encoder = MeanEncoder()
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: encoder)
    return encoder


def test_the_plan_counts_the_patches_that_the_run_makes(tmp_path):
    slides = [write_ramp(tmp_path / "a.tif", glass=400), write_ramp(tmp_path / "b.tif", width=900)]
    plan = plan_slides([SlideInput(each) for each in slides], tmp_path / "out" / "deep", PLAIN)
    assert not (tmp_path / "out").exists()
    made = embed_slides(slides, tmp_path / "out", PLAIN)
    assert [each.n_patches for each in plan.slides] == [each.n_patches for each in made]
    for planned, result in zip(plan.slides, made, strict=True):
        assert planned.problem is None
        assert planned.minutes == pytest.approx(planned.n_patches / plan.patches_per_second / 60)
        # Of few small embeddings the file itself is most.
        assert 12 * 4 * result.n_patches < planned.n_bytes < 60_000


def test_the_bytes_are_those_of_large_embeddings(tmp_path, encoder):
    slide = write_ramp(tmp_path / "a.tif", width=4000, height=3000)
    encoder.dimension = 4000
    mean = encoder.embed
    encoder.embed = lambda patches: mean(patches).repeat(4000 // 12 + 1, axis=1)[:, :4000]
    for storage in ("float32", "float16"):
        options = replace(PLAIN, storage=storage)
        (planned,) = plan_slides([SlideInput(slide)], tmp_path, options).slides
        if storage == "float32":
            embed_slides([slide], tmp_path / "out", options)
            whole = (tmp_path / "out" / "a.h5ad").stat().st_size
            assert planned.n_bytes == pytest.approx(whole, rel=0.05)
        else:
            assert planned.n_bytes == pytest.approx(whole / 2, rel=0.1)
    with_cells, without = (
        plan_slides([SlideInput(slide)], tmp_path, replace(PLAIN, fine=fine)).slides[0]
        for fine in (True, False)
    )
    # 16 cells of 3 numbers at float16, and a byte for the tissue of each.
    assert with_cells.n_bytes - without.n_bytes == with_cells.n_patches * 16 * (3 * 2 + 1)


def test_a_slide_that_would_fail_is_told_and_the_others_are_planned(tmp_path):
    good = write_ramp(tmp_path / "good.tif")
    (tmp_path / "again").mkdir()
    twin = write_ramp(tmp_path / "again" / "good.tif")
    (tmp_path / "bad.svs").write_text("nothing")
    items = [SlideInput(each) for each in (tmp_path / "bad.svs", good, twin, tmp_path / "missing.svs")]
    plan = plan_slides(items, tmp_path, PLAIN)
    assert [each.problem is None for each in plan.slides] == [False, True, False, False]
    assert "same name" in plan.slides[2].problem
    assert "missing.svs" in plan.slides[3].problem
    assert any("missing.svs" in line for line in plan.lines())


def test_the_command_prints_a_table_or_json_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(embedder.isolation.child, "PREPARATION", "making.isolation:prepare")
    slide = write_ramp(tmp_path / "good.tif")
    arguments = ["plan", str(slide), "-o", str(tmp_path / "out"), "--min-tissue", "0"]
    arguments += ["--device", "cpu"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "good.tif" in told
    assert "patches/s" in told
    assert "MB free" in told
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["slides"][0]["n_patches"] == 9 * 7
    assert report["patches_per_second"] > 0
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_the_disk_is_said(tmp_path, monkeypatch):
    slide = write_ramp(tmp_path / "good.tif")
    monkeypatch.setattr(embedder.embedding.plan.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    assert any("does not fit" in line for line in plan_slides([SlideInput(slide)], tmp_path, PLAIN).lines())
