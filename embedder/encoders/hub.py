"""Where weights come from: a package that ships them, an address, or the Hugging Face hub.

What was once fetched is found again without a network, and `find_state` says, without fetching anything, what
is there now.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embedder.encoders.spec import EncoderError, EncoderSpec
from tissuumaps_sic.slidefile.extras import tell_install

log = logging.getLogger(__name__)

_CONCH = "git+https://github.com/mahmoodlab/CONCH.git"

# A file in the second form can hold code; it is read as tensors alone all the same.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class State:
    """What it takes to use an encoder on this machine.

    Attributes
    ----------
    summary : str
        In two or three words, for a column of a list.
    text : str
        "ready", or "needs ..." with all that is to be done.
    """

    summary: str
    text: str


READY = State("ready", "ready")


def find_weights(spec: EncoderSpec) -> Path:
    """Return the file of an encoder's own weights, fetching it the first time.

    Parameters
    ----------
    spec : EncoderSpec

    Returns
    -------
    Path

    Raises
    ------
    EncoderError
        When it is not there and cannot be fetched.
    """
    if spec.shipped is not None:
        path = _find_shipped(spec.shipped)
        if path is None:
            raise EncoderError(f"the weights of {spec.name} are not installed; run {tell_install('embed')}")
        return path
    if spec.hub is not None:
        return fetch(spec.name, spec.hub, spec.hub_files or HUB_FILES, gated=spec.gated)
    assert spec.download is not None
    return download(spec.name, spec.download)


def find_state(spec: EncoderSpec) -> State:
    """Return what it takes to use an encoder here; nothing is fetched.

    Parameters
    ----------
    spec : EncoderSpec

    Returns
    -------
    State
    """
    if any(importlib.util.find_spec(package) is None for package in spec.packages):
        return State("needs a package", f"needs {tell_install('embed')}")
    if spec.library == "conch" and not _has_conch():
        return State("needs a package", f"needs pip install {_CONCH}")
    if _is_at_hand(spec):
        return READY
    if spec.shipped is not None:
        return State("needs a package", f"needs {tell_install('embed')}")
    downloads = "downloads at first use"
    if spec.hub is None:
        return State(downloads, "needs a download, made at first use, or --weights FILE")
    if _is_offline():
        return State("needs --weights", "needs --weights FILE: HF_HUB_OFFLINE is set")
    if spec.gated and not _has_token():
        return State(
            "on request", f"needs access ({page_of(spec.hub)}) and `hf auth login`, or --weights FILE"
        )
    granted = f" (access: {page_of(spec.hub)})" if spec.gated else ""
    return State(downloads, f"needs a download, made at first use{granted}, or --weights FILE")


def require_conch(spec: EncoderSpec) -> None:
    """See that the package of its authors is installed where an encoder is built by one.

    Parameters
    ----------
    spec : EncoderSpec

    Raises
    ------
    EncoderError
        When it is not; the message says what to install.
    """
    if spec.library == "conch" and not _has_conch():
        raise EncoderError(f"{spec.name} needs its authors' package; run pip install {_CONCH}")


def _has_conch() -> bool:
    try:
        return importlib.util.find_spec("conch.open_clip_custom") is not None
    except ModuleNotFoundError:
        return False


def _is_at_hand(spec: EncoderSpec) -> bool:
    if spec.shipped is not None:
        return _find_shipped(spec.shipped) is not None
    if spec.hub is not None:
        return _find_cached(spec.hub, spec.hub_files or HUB_FILES) is not None
    assert spec.download is not None
    return _place_download(spec.download).is_file()


def _find_shipped(place: tuple[str, str]) -> Path | None:
    package, relative = place
    module = importlib.util.find_spec(package)
    path = Path(module.origin).parent / relative if module and module.origin else None
    return path if path is not None and path.is_file() else None


def _place_download(url: str) -> Path:
    """Return where torch keeps what it downloads from an address."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def download(name: str, url: str) -> Path:
    """Return the file of an address, fetching it the first time.

    Parameters
    ----------
    name : str
        Of the encoder, for messages.
    url : str

    Returns
    -------
    Path

    Raises
    ------
    EncoderError
        When it cannot be fetched.
    """
    import torch

    path = _place_download(url)
    if not path.is_file():
        log.info("downloading the weights of %s from %s", name, url)
        # PyTorch's own addresses end with the beginning of the file's sha256.
        named = re.search(r"-([0-9a-f]{8,})$", path.stem)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=named and named[1])
        except (OSError, RuntimeError) as error:
            raise EncoderError(
                f"the weights of {name} could not be downloaded from {url} ({_first_line_of(error)}); "
                "download them elsewhere and give the file with --weights"
            ) from error
    return path


def _find_cached(
    repository: str, files: Sequence[str] = HUB_FILES, revision: str | None = None
) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    paths = (try_to_load_from_cache(repository, name, revision=revision) for name in files)
    return next((Path(path) for path in paths if isinstance(path, str)), None)


def fetch(
    name: str, repository: str, files: Sequence[str], *, revision: str | None = None, gated: bool = False
) -> Path:
    """Return the first of some files that a repository of the hub has, fetching it the first time.

    Parameters
    ----------
    name : str
        Of the encoder, for messages.
    repository : str
        ``OWNER/NAME``.
    files : sequence of str
        One is enough.
    revision : str, optional
        A branch, a tag or a commit; by default the newest.
    gated : bool
        Whether the repository is known to open on request only.

    Returns
    -------
    Path

    Raises
    ------
    EncoderError
        When none can be had; the message says what to do.
    """
    import huggingface_hub
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # What was fetched once is used again without asking: faster, and the same tomorrow.
    cached = _find_cached(repository, files, revision)
    if cached is not None:
        return cached
    log.info("downloading %s from %s", name, page_of(repository))
    absent: Exception | None = None
    for file in files:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
        except LocalEntryNotFoundError as error:
            # No network. To try the other file would be to wait as long again.
            absent = error
            break
        except EntryNotFoundError as error:
            absent = error
        except RevisionNotFoundError as error:
            raise EncoderError(f"{page_of(repository)} has no revision {revision!r}; name another") from error
        except (GatedRepoError, RepositoryNotFoundError) as error:
            # The hub says "not found", too, of what a token does not reach.
            raise EncoderError(_explain_no_access(name, repository)) from error
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise EncoderError(
                f"the weights of {name} could not be downloaded from {page_of(repository)} "
                f"({_first_line_of(error)}); download {file} elsewhere and give it with --weights"
            ) from error
    if _is_offline():
        raise EncoderError(
            f"the weights of {name} are not in the cache and HF_HUB_OFFLINE is set; unset it, "
            f"or download them from {page_of(repository)} elsewhere and give the file with --weights"
        ) from absent
    if gated and not _has_token():
        raise EncoderError(_explain_no_access(name, repository)) from absent
    raise EncoderError(
        f"{page_of(repository)} could not be reached or has {_tell_lacking(files)}; "
        f"download the weights of {name} elsewhere and give the file with --weights"
    ) from absent


def _tell_lacking(files: Sequence[str]) -> str:
    return f"neither of {' and '.join(files)}" if len(files) > 1 else f"no {files[0]}"


def _explain_no_access(name: str, repository: str) -> str:
    if not _has_token():
        return (
            f"{name} is given out on request: ask for access at {page_of(repository)}, then run "
            "`hf auth login` (or set HF_TOKEN), or give the file with --weights"
        )
    return (
        f"your Hugging Face token has no access to {name}: ask for it at {page_of(repository)} "
        "with the account of the token, or give the file with --weights"
    )


def page_of(repository: str) -> str:
    """Return the address of a repository's page.

    Parameters
    ----------
    repository : str
        ``OWNER/NAME``.

    Returns
    -------
    str
    """
    return f"https://huggingface.co/{repository}"


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _first_line_of(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
