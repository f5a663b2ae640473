"""The list of encoders, the names they are known by, and what is told where one does not suit."""

import importlib.util
import json
from importlib.metadata import EntryPoint

import pytest
import torch
from making.encoders import status

from embedder import OwnEncoder
from embedder.cli import main
from embedder.encoders import foreign, hub, load
from embedder.encoders.known import KNOWN
from embedder.encoders.load import available_encoders, describe_encoder, format_table, load_encoder
from embedder.encoders.spec import EncoderError, UnknownEncoderError
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
    heading, rows = lines[0], lines[1:-4]
    names = [row.split()[0] for row in rows]
    assert sorted(names) == sorted([*ENCODERS, *KNOWN, "simclr"])
    assert (names[0], names[-1]) == ("efficientnet-lite0", "simclr")
    for column in ("embedding", "licence", "state"):
        start = heading.index(column)
        assert all(row[start - 1] == " " and row[start] != " " for row in rows)
    assert any("1280-d" in row and "ready" in row for row in rows)
    assert not any("None" in row for row in rows)
    # What could not be read is marked, and where it is said stands below.
    marked = {row.split()[0] for row in rows if row.split()[1] == "*"}
    assert marked == {*KNOWN, *(name for name, spec in ENCODERS.items() if spec.unread)}
    assert all("--details NAME" in line for line in lines[-4:-2])


@pytest.mark.parametrize("lacking", [(), ("timm", "torchvision"), ("conch.open_clip_custom",)])
def test_the_table_fits_a_terminal_whatever_is_lacking(monkeypatch, lacking):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        hub.importlib.util, "find_spec", lambda name: None if name in lacking else found(name)
    )
    assert max(map(len, format_table(available_encoders()))) <= 100
    for offline in (False, True):
        monkeypatch.setattr(hub, "_is_offline", lambda offline=offline: offline)
        monkeypatch.setattr(hub, "_has_token", lambda offline=offline: offline)
        assert max(map(len, format_table(available_encoders()))) <= 100


@pytest.mark.parametrize("name", [*ENCODERS, *KNOWN])
def test_details_fit_a_terminal(name, capsys):
    assert main(["encoders", "--details", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    # An address is in one piece, since it is there to be copied.
    assert [line for line in lines if len(line) > 100 and "://" not in line] == []


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
        "summary": "needs --weights",
        "usable": False,
        "unread": [],
    }
    assert next(each for each in found if each["name"] == "gpfm")["unread"][1] == "resolution"


@pytest.mark.parametrize("name", KNOWN)
def test_an_encoder_that_is_known_and_not_loaded_says_why_and_what_to_do(name, capsys):
    assert not status(name).usable
    assert name in status(name).state
    for asked in (name, name.upper()):
        with pytest.raises(UnknownEncoderError, match=r"not be read.*tissuumaps_sic\.encoders") as caught:
            load_encoder(asked)
        assert "\n" not in str(caught.value)
    assert main(["encoders", "--details", name]) == 0
    told = capsys.readouterr().out
    assert "0.7072, 0.5787, 0.7036" in told
    assert "what to do" in told
    assert f"{KNOWN[name].dimension}-d" in told


def test_a_package_may_offer_an_encoder_that_is_known_and_not_loaded(monkeypatch):
    """Then that one is used, and it is listed once."""
    given = OwnEncoder(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5)), 2, *2 * [(0.5,) * 3])
    offered = EntryPoint("rudolfv-2-s", "our_package:make", "tissuumaps_sic.encoders")
    monkeypatch.setattr(EntryPoint, "load", lambda _: lambda: given)
    for module in (load, foreign):
        monkeypatch.setattr(module, "list_packages", lambda: [offered])
    assert [each.usable for each in available_encoders() if each.name == "rudolfv-2-s"] == [True]
    assert load_encoder("rudolfv-2-s").dimension == 5
    told = dict(describe_encoder("rudolfv-2-s"))
    assert (told["state"], told["source"]) == ("ready", "our_package")


@pytest.mark.parametrize("name", ["keep", "openmidnight", "gpfm"])
def test_where_no_resolution_is_told_none_is_held_against_a_patch(name):
    assert ENCODERS[name].advice(224, 2.0) is None
    told = dict(describe_encoder(name))
    assert told["trained at"] == "not told"
    assert told["best at"] == "0.5 µm/px, by convention"
    assert "resolution" in told["could not be read"]
