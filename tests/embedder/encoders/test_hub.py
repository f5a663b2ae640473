"""Where weights come from, with the hub replaced at its one door: hf_hub_download."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
huggingface_hub = pytest.importorskip("huggingface_hub")
from huggingface_hub import constants, errors  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from embedder.cli import main  # noqa: E402
from embedder.encoders.build import build  # noqa: E402
from embedder.encoders.load import available_encoders, load_encoder  # noqa: E402
from embedder.encoders.spec import EncoderError  # noqa: E402
from embedder.encoders.table import ENCODERS  # noqa: E402


@pytest.fixture(autouse=True)
def nothing_there(tmp_path, monkeypatch):
    """An empty cache, no token and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    for name in ("uni", "phikon-v2", "kaiko-vits16"):
        spec = ENCODERS[name]
        tiny = {**spec.arguments, "depth": 1, "embed_dim": 48, "num_heads": 3}
        monkeypatch.setitem(ENCODERS, name, replace(spec, dimension=48, arguments=tiny))


def failure(kind, told="told by the hub"):
    """An error of the hub, whose constructors differ from version to version."""
    error = kind.__new__(kind)
    Exception.__init__(error, told)
    error.args = (told,)
    return error


@pytest.fixture
def hub(monkeypatch):
    """Lets a test say what the hub does for each file, and tells what was asked of it."""

    class Hub:
        files: dict = {}  # noqa: RUF012
        asked: list = []  # noqa: RUF012

        def download(self, repository, file, **_):
            self.asked.append((repository, file))
            found = self.files.get(file, failure(errors.RemoteEntryNotFoundError))
            if isinstance(found, Exception):
                raise found
            return str(found)

    made = Hub()
    made.files, made.asked = {}, []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", made.download)
    return made


def weights(name, path):
    with torch.device("cpu"):
        state = {
            key: torch.full(value.shape, 0.1) for key, value in build(ENCODERS[name]).state_dict().items()
        }
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def status(name):
    return next(each for each in available_encoders() if each.name == name)


def test_safetensors_are_preferred_to_a_pickle(hub, tmp_path):
    hub.files = {
        "model.safetensors": weights("kaiko-vits16", tmp_path / "a.safetensors"),
        "pytorch_model.bin": tmp_path / "never read",
    }
    encoder = load_encoder("kaiko-vits16")
    repository = "1aurent/vit_small_patch16_224.kaiko_ai_towards_large_pathology_fms"
    assert hub.asked == [(repository, "model.safetensors")]
    assert encoder.encode(np.zeros((1, 224, 224, 3), np.uint8)).shape == (1, 48)


def test_a_repository_without_safetensors_gives_its_pickle(hub, tmp_path):
    hub.files = {"pytorch_model.bin": weights("uni", tmp_path / "pytorch_model.bin")}
    assert load_encoder("uni").dimension == 48
    assert hub.asked == [("MahmoodLab/UNI", "model.safetensors"), ("MahmoodLab/UNI", "pytorch_model.bin")]


def test_a_local_file_is_used_and_the_hub_is_not_asked(hub, tmp_path):
    load_encoder("uni", weights=weights("uni", tmp_path / "uni.pth"))
    assert hub.asked == []


def in_the_cache(folder, repository, file):
    """Where the hub's library keeps a file that it downloaded."""
    home = Path(folder) / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    (home / "snapshots" / ("0" * 40)).mkdir(parents=True)
    return home / "snapshots" / ("0" * 40) / file


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_what_was_fetched_once_is_used_again_without_asking(file, hub, monkeypatch):
    assert not status("phikon-v2").usable
    weights("phikon-v2", in_the_cache(constants.HF_HUB_CACHE, "owkin/phikon-v2", file))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_encoder("phikon-v2").dimension == 48
    assert hub.asked == []
    assert (status("phikon-v2").state, status("phikon-v2").usable) == ("ready", True)


@pytest.mark.parametrize("kind", [errors.GatedRepoError, errors.RepositoryNotFoundError])
def test_a_gated_repository_without_a_token_says_where_to_ask(kind, hub):
    hub.files = {"model.safetensors": failure(kind)}
    with pytest.raises(EncoderError) as caught:
        load_encoder("uni")
    told = str(caught.value)
    assert "\n" not in told
    for part in ("https://huggingface.co/MahmoodLab/UNI", "hf auth login", "HF_TOKEN", "--weights"):
        assert part in told
    assert hub.asked == [("MahmoodLab/UNI", "model.safetensors")]


def test_a_token_that_was_not_granted_access_is_told_apart(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    hub.files = {"model.safetensors": failure(errors.GatedRepoError)}
    with pytest.raises(EncoderError, match="token has no access to uni: ask for it at https"):
        load_encoder("uni")


def test_without_a_network_only_one_file_is_waited_for(hub):
    hub.files = dict.fromkeys(
        ("model.safetensors", "pytorch_model.bin"), failure(errors.LocalEntryNotFoundError)
    )
    with pytest.raises(EncoderError, match="could not be reached") as caught:
        load_encoder("kaiko-vits16")
    assert "--weights" in str(caught.value)
    assert len(hub.asked) == 1


def test_offline_mode_is_honoured_and_named(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.files = {"model.safetensors": failure(errors.LocalEntryNotFoundError)}
    with pytest.raises(EncoderError, match="HF_HUB_OFFLINE is set"):
        load_encoder("kaiko-vits16")
    assert "HF_HUB_OFFLINE" in status("kaiko-vits16").state
    assert "HF_HUB_OFFLINE" in status("uni").state


def test_the_hubs_own_library_honours_offline_mode(monkeypatch):
    """The real hf_hub_download, which finds no file and no network here."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="HF_HUB_OFFLINE is set") as caught:
        load_encoder("kaiko-vits16")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        OSError("no space left on device\nand more"),
        failure(errors.HfHubHTTPError, "500 Server Error\nand more"),
    ],
)
def test_a_failed_download_is_told_in_one_line(error, hub):
    hub.files = {"model.safetensors": error}
    with pytest.raises(EncoderError, match=r"could not be downloaded from https://huggingface\.co") as caught:
        load_encoder("kaiko-vits16")
    assert "\n" not in str(caught.value)
    assert "and more" not in str(caught.value)


def test_the_listing_says_what_each_needs_and_fetches_nothing(hub, monkeypatch):
    assert "made at first use" in status("kaiko-vits16").state
    assert "hf auth login" in status("uni").state
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    assert "made at first use (access: https://huggingface.co/MahmoodLab/UNI)" in status("uni").state
    assert not status("uni").usable
    assert hub.asked == []


def test_an_address_without_a_hash_is_downloaded_unchecked_and_one_with_a_hash_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    asked = []

    def download(url, target, hash_prefix):
        asked.append((Path(target).name, hash_prefix))
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for name in ("histossl", "resnet50"):
        with pytest.raises(EncoderError, match="--weights"):
            load_encoder(name)
    assert asked == [
        ("pytorchnative_tenpercent_resnet18.ckpt", None),
        ("resnet50-11ad3fa6.pth", "11ad3fa6"),
    ]


def test_a_repository_whose_file_has_a_name_of_its_own_is_asked_for_that(hub):
    with pytest.raises(EncoderError, match=r"has no GPFM\.pth"):
        load_encoder("gpfm")
    assert hub.asked == [("majiabo/GPFM", "GPFM.pth")]


def test_what_everybody_may_fetch_and_use_is_listed_first():
    names = [each.name for each in available_encoders()]
    specs = [ENCODERS[name] for name in names if name in ENCODERS]
    assert names[0] == "efficientnet-lite0"
    assert [each.gated for each in specs] == sorted(each.gated for each in specs)
    free = [each.is_free for each in specs if not each.gated]
    assert free == sorted(free, reverse=True)
    assert free.count(True) >= 6


def test_details_tell_what_could_not_be_read(capsys):
    assert main(["encoders", "--details", "midnight-12k"]) == 0
    told = capsys.readouterr().out
    assert "3072-d" in told
    assert "MIT (for any use)" in told
    assert "could not be read        grid of positions" in told
    assert main(["encoders", "--details", "uni", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["licence"] == "CC-BY-NC-ND-4.0 (read it before you use it)"
    assert facts["could not be read"] == "nothing"
    assert main(["encoders", "--details", "unii"]) == 2
