"""Training sets, read again by torchvision and webdataset."""

import csv
import json
import shutil

import numpy as np
import pytest
from making.embeddings import write_ramp
from making.labels import labelled, plan, write_grid_h5ad

from tissuumaps_sic.annotation.runs import label
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.cli import main
from tissuumaps_sic.export.errors import ExportError
from tissuumaps_sic.export.training import TrainingSet, add_slide, finish_set, open_set
from tissuumaps_sic.slides.slide import open_slide_file

NAMES = [f"slide.{number}" for number in range(6)]


@pytest.fixture
def slides(tmp_path):
    """Six slides of the same pixels, whose patches are of two or three classes."""
    write_ramp(tmp_path / "ramp.tif", width=1000, height=800)
    grid = plan((1000, 800))
    made = []
    for number, name in enumerate(NAMES):
        h5ad = write_grid_h5ad(tmp_path / f"{name}.h5ad", grid, image="ramp.tif")
        made.append(labelled(h5ad, np.arange(len(grid)) % (2 + number % 2), scores=np.full(len(grid), 0.9)))
    return made


def choose(tmp_path, **more):
    more = {"classes": ("Tumour", "Other", "In situ: low"), "shares": (0.5, 0.25, 0.25), "seed": 8} | more
    return TrainingSet(tmp_path / "set", **more)


def make(training, slides):
    open_set(training)
    for each in slides:
        add_slide(training, each)
    finish_set(training)
    return read_manifest(training)


def read_manifest(training):
    with (training.folder / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def content_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def known_pixels(row):
    """The pixels of the ramp at a patch's place."""
    x0, y0 = int(row["x0"]), int(row["y0"])
    y, x = np.mgrid[y0 : y0 + 256, x0 : x0 + 256]
    return np.stack([x * 250 / 1000, y * 250 / 800, np.full_like(x, 20)], axis=-1).astype(np.uint8)


def test_torchvision_reads_the_folders(slides, tmp_path):
    from torchvision.datasets import ImageFolder

    training = choose(tmp_path)
    rows = make(training, slides)
    assert len(rows) == sum(each.slide.n_patches for each in slides)
    splits = {row["slide"]: row["split"] for row in rows}
    assert set(splits.values()) == {"train", "val", "test"}
    assert splits == {name: training.split_of(name) for name in NAMES}
    by_file = {row["file"]: row for row in rows}
    assert len(by_file) == len(rows)
    read = 0
    for split in ("train", "val", "test"):
        images = ImageFolder(tmp_path / "set" / split, allow_empty=True)
        # The same numbers in every part, though some lack a class.
        assert images.classes == ["In situ_ low", "Other", "Tumour"]
        assert [training.choices["classes"][number] for number in (0, 1, 2)] == [
            "In situ: low",
            "Other",
            "Tumour",
        ]
        for path, number in images.samples:
            row = by_file[path.removeprefix(f"{tmp_path}/set/")]
            assert (row["split"], row["class"]) == (split, training.choices["classes"][number])
            read += 1
        picture, _ = images[0]
        row = by_file[images.samples[0][0].removeprefix(f"{tmp_path}/set/")]
        assert np.array_equal(np.asarray(picture), known_pixels(row))
    assert read == len(rows)
    for row in rows:
        each = slides[NAMES.index(row["slide"])]
        place = each.slide.index[row["patch"]]
        assert row["class"] == each.classes[each.labels[place]].name
        assert float(row["score"]) == pytest.approx(0.9)


def test_webdataset_reads_the_shards(slides, tmp_path):
    import webdataset

    training = choose(tmp_path, shard_bytes=40_000)
    rows = make(training, slides)
    by_key = {row["key"]: row for row in rows}
    assert len(by_key) == len(rows) == sum(each.slide.n_patches for each in slides)
    shards = sorted((tmp_path / "set").glob("*/*.tar"))
    assert len(shards) > 2 * len(slides)
    assert all(path.stat().st_size <= 40_000 + 10_240 for path in shards)
    assert {row["file"] for row in rows} == {path.relative_to(tmp_path / "set").as_posix() for path in shards}
    read = 0
    for split in ("train", "val", "test"):
        mine = [str(path) for path in shards if path.parent.name == split]
        samples = webdataset.WebDataset(mine, shardshuffle=False).decode("rgb8")
        for sample in samples:
            row = by_key[sample["__key__"]]
            assert row["split"] == split
            assert training.choices["classes"][sample["cls"]] == row["class"] == sample["json"]["class"]
            assert sample["json"]["slide"] == row["slide"]
            assert np.array_equal(sample["png"], known_pixels(row))
            read += 1
    assert read == len(rows)
    # Classes are mixed, since readers take shards one sample after the other.
    first = [row["class"] for row in rows if row["file"] == rows[0]["file"]]
    assert len(set(first)) > 1
    assert sorted(first) != first != sorted(first, reverse=True)


def test_slides_stay_in_their_part_when_others_are_added():
    training = TrainingSet(None, ("a",), (0.6, 0.2, 0.2))
    names = [f"TCGA-{number:04d}" for number in range(2000)]
    counts = np.unique([training.split_of(name) for name in names], return_counts=True)
    shares = dict(zip(counts[0], counts[1] / len(names), strict=True))
    assert shares == pytest.approx({"train": 0.6, "val": 0.2, "test": 0.2}, abs=0.03)
    # Known: another version must not move a slide from one part to another.
    assert [training.split_of(name) for name in names[:6]] == KNOWN_SPLITS
    assert {TrainingSet(None, ("a",), (1.0, 0.0, 0.0)).split_of(name) for name in names} == {"train"}
    assert {TrainingSet(None, ("a",), (0.0, 0.0, 1.0)).split_of(name) for name in names} == {"test"}
    other = TrainingSet(None, ("a",), (0.6, 0.2, 0.2), seed=1)
    assert [other.split_of(name) for name in names] != [training.split_of(name) for name in names]


KNOWN_SPLITS = ["test", "train", "train", "train", "val", "train"]


@pytest.mark.parametrize("shard_bytes", [None, 40_000])
def test_a_set_goes_on_where_it_was_and_ends_with_the_same_bytes(slides, tmp_path, monkeypatch, shard_bytes):
    whole = choose(tmp_path, shard_bytes=shard_bytes)
    make(whole, slides)
    expected = content_of(whole.folder)
    shutil.rmtree(whole.folder)
    open_set(whole)
    for each in slides[:3]:
        add_slide(whole, each)
    from tissuumaps_sic.export import training

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "_remove", stop)
        with pytest.raises(KeyboardInterrupt):
            add_slide(whole, slides[3])
    before = {path: path.stat().st_ino for path in whole.folder.rglob("*") if path.is_file()}
    assert not list(whole.folder.glob(".*"))
    make(whole, slides)
    assert content_of(whole.folder) == expected
    kept = {path for path, inode in before.items() if path.stat().st_ino == inode}
    # Slides that were there are left alone.
    assert {path for path in before if path.suffix in (".png", ".tar")} <= kept


def test_what_killed_runs_left_of_a_slide_goes_when_it_is_added(slides, tmp_path):
    training = choose(tmp_path)
    open_set(training)
    left = [training.folder / f".{name}-0123abcd" for name in NAMES[:2]]
    for folder in left:
        (folder / "train").mkdir(parents=True)
    add_slide(training, slides[0])
    assert list(training.folder.glob(".*")) == left[1:]


def test_a_picture_that_cannot_be_read_leaves_no_shard_open(slides, tmp_path, monkeypatch):
    from tissuumaps_sic.export import training as module

    opened, read, open_tar = [], module.read_pictures, module.tarfile.open

    def fail_late(*args):
        yield next(read(*args))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "read_pictures", fail_late)
    monkeypatch.setattr(
        module.tarfile, "open", lambda *args, **more: opened.append(open_tar(*args, **more)) or opened[-1]
    )
    training = choose(tmp_path, shard_bytes=40_000)
    open_set(training)
    with pytest.raises(OSError, match="Input/output"):
        add_slide(training, slides[0])
    assert [tar.fileobj.closed for tar in opened] == [True]


@pytest.mark.parametrize("shard_bytes", [None, 40_000])
def test_a_slide_whose_labels_have_changed_is_replaced_whole(slides, tmp_path, shard_bytes):
    training = choose(tmp_path, shard_bytes=shard_bytes)
    make(training, slides[:2])
    again = labelled(slides[0].slide.path, np.zeros(slides[0].slide.n_patches), scores=None)
    rows = make(training, [again])
    mine = [row for row in rows if row["slide"] == slides[0].slide.name]
    assert {row["class"] for row in mine} == {"Other"}
    assert len(rows) == 2 * len(mine)
    there = {name for name in content_of(training.folder) if name.endswith((".png", ".tar"))}
    assert there == {row["file"] for row in rows}


def test_what_cannot_be_is_refused(slides, tmp_path, caplog):
    training = choose(tmp_path)
    make(training, slides[:1])
    before = content_of(training.folder)
    with pytest.raises(ExportError, match="made with other seed, shard_bytes"):
        open_set(choose(tmp_path, seed=2, shard_bytes=10**6))
    with pytest.raises(ExportError, match=r"0\.5 0\.5 0\.5 are not shares that add up to 1"):
        open_set(choose(tmp_path, shares=(0.5, 0.5, 0.5)))
    with pytest.raises(ExportError, match="is not a training set"):
        open_set(TrainingSet(tmp_path, ("Tumour",)))
    other = tmp_path / "elsewhere"
    other.mkdir()
    grid = plan((600, 800))
    h5ad = write_grid_h5ad(other / f"{NAMES[0]}.h5ad", grid, image="ramp.tif")
    with pytest.raises(ExportError, match="belongs to another slide of this name"):
        add_slide(training, labelled(h5ad, np.zeros(len(grid)), scores=None))
    assert content_of(training.folder) == before
    assert "no slide went to" in caplog.text
    typed = TrainingSet(tmp_path / "typed", ("Tumor", "Other"), seed=1)
    make(typed, slides)
    assert "has no patch of class Tumor; is it spelt" in caplog.text


def test_the_command_makes_a_set_of_a_folder(slides, tmp_path, capsys, caplog):
    for each in slides[:2]:
        names = each.slide.patch_names
        slide = open_slide_file(each.slide.path)
        session = Session.new(slide).seed([str(names[0])], 0).seed([str(names[-1])], 1)
        save_session(session_path(slide.path), label(slide, session).session)
    (tmp_path / "broken.h5ad").write_bytes(b"broken")
    (tmp_path / "broken.sic.json").write_text("{}")
    out = str(tmp_path / "out")
    command = ["export", str(tmp_path), "--patches", "Tumour", "Other", "-o", out]
    assert main([*command, "--split", "0.5", "0.5", "0", "--patch-format", "jpg", "--most", "4"]) == 1
    assert "broken.h5ad: not a readable h5ad" in caplog.text
    assert capsys.readouterr().out.split() == [
        *(f"{out}/slides/{name}.json" for name in NAMES[:2]), f"{out}/manifest.csv"
    ]  # fmt: skip
    choices = json.loads((tmp_path / "out" / "set.json").read_text())
    assert (choices["shares"], choices["most"], choices["format"]) == ([0.5, 0.5, 0.0], 4, "jpg")
    assert len(list((tmp_path / "out").glob("*/*/*/*.jpg"))) == 16
    assert main([*command, "--split", "0.5", "0.25", "0.5"]) == 2
    assert main([*command, "--shards", "1"]) == 2  # the set has other choices
    assert main([*command, "--format", "csv", "--split", "1", "0", "0"]) == 2
    assert main(["export", str(tmp_path), "--split", "1", "0", "0"]) == 2
    assert main([*command, "--split-seed", "3"]) == 2


def test_a_set_is_not_said_to_be_made_anew_where_it_is_not(tmp_path, caplog):
    from tissuumaps_sic.cli import main

    command = ["export", str(tmp_path / "a.h5ad"), "--patches", "Tumour", "--shards", "1", "--overwrite"]
    assert main([*command, "-o", str(tmp_path / "set")]) == 2
    assert "--overwrite: is not needed, since a training set replaces" in caplog.text
    assert not (tmp_path / "set").exists()
