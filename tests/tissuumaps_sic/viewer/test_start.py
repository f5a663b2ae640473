"""The start page of a folder: what it tells of each slide, to whom, and that it leads on."""

import base64
import html
import io
import re

import h5py
import numpy as np
import pytest
from making.guarded import client_of
from making.many import seeds_of, write_mosaic
from PIL import Image

from tissuumaps_sic.annotation.runs import cluster
from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import save_session, session_path
from tissuumaps_sic.slides.slide import open_slide_file


@pytest.fixture
def slides(tmp_path):
    folder = tmp_path / "served"
    (folder / "sub").mkdir(parents=True)
    return {
        name: write_mosaic(folder / within, name, seed=number)
        for number, (within, name) in enumerate((("", "a"), ("", "b"), ("sub", "c")))
    }


@pytest.fixture
def client(slides):
    return client_of(slides["a"][0].parent)


def label(path, truth, name="", user="Anna"):
    slide = open_slide_file(path)
    session = Session.new(slide)
    for patch, each in seeds_of(path, truth, per_class=4).items():
        session = session.seed([patch], each, user=user)
    session = session.with_run(cluster(slide, session.classes, session.seeds)[0])
    save_session(session_path(path, name), session)
    return session


def cards(client, at="/"):
    text = client.get(at).text
    found = re.findall(r'<li[^>]* data-slide="([^"]*)">(.*?)</li>', text, re.DOTALL)
    return {html.unescape(name): " ".join(html.unescape(each).split()) for name, each in found}


def test_it_tells_of_each_slide_how_far_it_is(client, slides):
    session = label(*slides["a"])
    save_session(session_path(slides["a"][0]), session.note("a <b>fold</b>").check(user="Ben"))
    label(*slides["c"], name="Carla")
    found = cards(client)
    assert list(found) == ["a", "b", "c"]
    assert "not begun" in found["b"]
    assert "labelled, 8 seeds" in found["a"]
    assert "Last change: Ben, 20" in found["a"]
    assert "✓ Reviewed: Ben" in found["a"]
    assert "a <b>fold</b>" in found["a"]
    assert "<b>fold" not in client.get("/").text
    for each, n in zip(session.run_classes, session.run.counts, strict=True):
        assert f"{each.name} {100 * n / sum(session.run.counts):.0f} %" in found["a"]
    # The session that was written last, whoever's it is.
    assert "session Carla" in found["c"]
    assert 'href="/c.tmap?path=sub"' in found["c"]
    # Seeds after the review: it is no longer what was reviewed.
    changed = session.check(user="Ben").seed([str(open_slide_file(slides["a"][0]).patch_names[0])], 0)
    save_session(session_path(slides["a"][0]), changed)
    assert "changed since it was reviewed" in cards(client)["a"]


def test_shares_are_of_the_tissue_and_count_no_glass(client, slides):
    path, truth = slides["a"]
    session = label(path, truth)
    labels = session.run.unpack()
    tissue = np.where(labels == 1, 0.25, 1).astype(np.float32)
    with h5py.File(path, "r+") as file:
        if "tissue" in file["obs"]:
            del file["obs/tissue"]
        column = file["obs"].create_dataset("tissue", data=tissue)
        column.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    found = cards(client)["a"]
    for number, each in enumerate(session.run_classes):
        part = tissue[labels == number].sum() / tissue.sum()
        assert f"{each.name} {100 * part:.0f} %" in found
    assert abs((labels == 1).mean() - tissue[labels == 1].sum() / tissue.sum()) > 0.1
    assert 'title="Share of the tissue,' in found


def test_shares_are_told_of_patches_without_a_grid_and_without_tissue(client, slides):
    path, truth = slides["a"]
    with h5py.File(path, "r+") as file:
        if "tissue" in file["obs"]:
            del file["obs/tissue"]
        places = file["obsm/spatial"]
        places[1] = places[0] + 1  # two in one cell: there is no lattice
    session = label(path, truth)
    found = cards(client)["a"]
    for each, n in zip(session.run_classes, session.run.counts, strict=True):
        assert f"{each.name} {100 * n / sum(session.run.counts):.0f} %" in found
    assert 'title="Share of the patches, glass counted,' in found
    assert "data:image/png" not in found


def test_the_picture_is_of_the_labels(client, slides):
    session = label(*slides["a"])
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', cards(client)["a"])
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        pixels = np.asarray(picture.convert("RGBA"))
    for each, n in zip(session.run_classes, session.run.counts, strict=True):
        color = [int(each.color[at : at + 2], 16) for at in (1, 3, 5)]
        assert (pixels[..., :3] == color).all(axis=2).sum() == n


def test_it_leads_to_the_next_that_is_not_reviewed_and_sifts(client, slides):
    session = label(*slides["a"])
    save_session(session_path(slides["a"][0]), session.check(user="Ben"))
    text = client.get("/").text
    assert "3 slides, 1 reviewed" in text
    assert re.search(r'id="next" href="/b.tmap">Next to review: b<', text)
    assert list(cards(client, "/?show=checked")) == ["a"]
    assert list(cards(client, "/?show=unchecked")) == ["b", "c"]
    assert list(cards(client, "/?show=labelled")) == ["a"]
    assert list(cards(client, "/?show=nonsense&page=-3")) == ["a", "b", "c"]
    assert client.get("/?path=sub").status_code == 302  # one slide lies there


def test_a_slide_that_cannot_be_read_is_not_said_to_be_reviewed(client, slides):
    for name in ("a", "c"):
        save_session(session_path(slides[name][0]), label(*slides[name]).check(user="Ben"))
    slides["b"][0].write_bytes(b"no h5ad")
    text = client.get("/").text
    assert "3 slides, 2 reviewed" in text
    assert "All slides are reviewed" not in text
    assert "The slides that are not reviewed cannot be read" in text


def test_many_slides_have_several_pages(client, slides):
    for number in range(30):
        (slides["a"][0].parent / f"s{number:02}.h5ad").hardlink_to(slides["a"][0])
    first, second, beyond = (cards(client, f"/?page={number}") for number in (1, 2, 9))
    assert len(first) == 24
    assert len(second) == 9
    assert second == beyond
    assert 'rel="next"' in client.get("/").text


def test_slides_behind_another_password_are_not_told_of(slides, tmp_path):
    folder = slides["a"][0].parent
    (folder / "sub" / "auth").write_text("anna;secret")
    (folder / "sub" / "out").symlink_to(tmp_path)
    write_mosaic(tmp_path, "outside")
    write_mosaic(folder / "sub", "d")
    client = client_of(folder)
    text = client.get("/").text
    assert list(cards(client)) == ["a", "b"]
    assert "sub" not in text
    assert client.get("/?path=sub").status_code == 401
    given = client.get("/?path=sub", auth=("anna", "secret"))
    assert 'data-slide="d"' in given.text
    assert 'data-slide="a"' not in given.text
    assert "outside" not in client.get("/?path=sub/out", auth=("anna", "secret")).text
    (folder / "auth").write_text("ben;other")
    assert client_of(folder).get("/").status_code == 401


def test_it_needs_no_script_and_names_no_path_of_the_machine(client, slides, tmp_path):
    (slides["b"][0]).write_bytes(b"nonsense")
    session_path(slides["a"][0]).write_text("{")
    answer = client.get("/")
    assert "<script" not in answer.text
    assert str(tmp_path) not in answer.text
    assert "not a readable h5ad" in cards(client)["b"]
    assert "not a session" in cards(client)["a"]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert client.head("/").status_code == 200


def test_a_folder_of_one_slide_opens_it(tmp_path):
    write_mosaic(tmp_path, "only")
    client = client_of(tmp_path, first="/only.tmap")
    assert client.get("/").headers["Location"].endswith("/only.tmap")
