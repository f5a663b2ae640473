"""The list of encoders, the names they are known by, and what is told where one does not suit."""

import importlib.util
import json

import pytest
from making.encoders import status

from embedder.encoders import hub
from embedder.encoders.load import available_encoders, format_table, load_encoder
from embedder.encoders.spec import EncoderError
from embedder.encoders.table import ENCODERS


def test_an_encoder_whose_packages_are_absent_is_listed_as_such(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        hub.importlib.util,
        "find_spec",
        lambda name: None if name in ("timm", "torchvision") else found(name),
    )
    for name in ("efficientnet-lite0", "resnet18", "uni", "conch"):
        assert "pip install" in status(name).state
        assert not status(name).usable


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("gigapath", "prov-gigapath"),
        ("UNI", "uni"),
        ("hoptimus-0", "h-optimus-0"),
        ("virchov2", "virchow2"),
        ("simCLR", "simclr"),
    ],
)
def test_unknown_names_get_the_names_they_resemble(asked, meant):
    with pytest.raises(EncoderError, match=rf"did you mean .*\b{meant}\b") as caught:
        load_encoder(asked)
    assert "efficientnet-lite0" not in str(caught.value)


def test_a_name_like_no_other_gets_them_all():
    with pytest.raises(EncoderError, match=r"choose one of efficientnet-lite0, .*, simclr"):
        load_encoder("zzz")


@pytest.mark.parametrize(
    ("name", "patch_size", "mpp", "told"),
    [
        ("uni", 224, 0.5, ()),
        ("uni", 256, 0.5, ("seen at 0.571 µm/px", "--patch-size 224 leaves")),
        # 448 px at 0.25 are the same tissue as 224 at 0.5, and are seen so.
        ("uni", 448, 0.25, ("seen at 0.5 µm/px",)),
        ("uni", 224, 1.0, ("trained at 0.5 µm/px, not 1", "--mpp 0.5")),
        ("uni", 256, 1.0, ("seen at 1.14", "--patch-size 224", "not 1.14", "--mpp 0.5")),
        ("virchow2", 224, 1.0, ()),
        ("virchow2", 224, 4.0, ("trained at 0.25 to 2 µm/px",)),
        ("prov-gigapath", 256, 0.5, ()),
        ("conch", 256, 0.5, ("seen at 0.286 µm/px", "--patch-size 448")),
        ("efficientnet-lite0", 300, 3.0, ()),
    ],
)
def test_advice_is_given_where_patches_do_not_suit(name, patch_size, mpp, told):
    advice = ENCODERS[name].advice(patch_size, mpp)
    if not told:
        assert advice is None
        return
    assert all(each in advice for each in told)
    assert "\n" not in advice
    assert ("--mpp" in advice) == any("trained" in each for each in told) or mpp != 0.5


def test_the_table_lists_every_encoder_in_aligned_columns():
    lines = format_table(available_encoders())
    heading, rows = lines[0], lines[1:-2]
    names = [row.split()[0] for row in rows]
    assert sorted(names) == sorted([*ENCODERS, "simclr"])
    assert (names[0], names[-1]) == ("efficientnet-lite0", "simclr")
    for column in ("embedding", "licence", "state", "source"):
        start = heading.index(column)
        assert all(row[start - 1] == " " and row[start] != " " for row in rows)
    assert any("1280-d" in row and "ready" in row for row in rows)
    assert not any("None" in row for row in rows)


def test_the_status_is_what_json_can_hold():
    from dataclasses import asdict

    found = json.loads(json.dumps([asdict(each) for each in available_encoders()]))
    assert found[0]["name"] == "efficientnet-lite0"
    assert found[0]["usable"] is True
    assert found[-1] == {
        "name": "simclr",
        "dimension": None,
        "input_size": None,
        "mpp": None,
        "licence": "your own",
        "source": "your slides",
        "state": "needs --weights FILE: the encoder.safetensors that `embedder pretrain` wrote",
        "usable": False,
    }
