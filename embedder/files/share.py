"""A copy of a slide's file that tells nothing of whose slide it is, and a list of what was taken out.

The copy is a file of its own: nothing of the source is copied as it lies there, each value is read, looked at
and written anew. What is written is on a list (`whitelist`), and the file is then looked through (`proof`).

What a copy still tells: its embeddings are, bit for bit, those of the slide embedded again. Who has the slide
can therefore name it and, by the patches' places, give the shift; so can who has a copy without rename or
shift. Only who has neither the key nor the slide nor such a copy can undo neither. The size of a pixel and
how the patches lie in relation to each other stay, too, since nothing could be measured without them. Cells
smaller than a patch tell the local texture, every 16 µm or so: more of the picture could be guessed from them
than from the patches' own embeddings. They can be left out.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from embedder.files.proof import ShareError, prove_attributes, prove_strings
from embedder.files.redaction import Change, Copy
from embedder.files.sharing_key import check_key
from tissuumaps_sic.slidefile.contract import ContractError, check
from tissuumaps_sic.slidefile.errors import WrongUseError
from tissuumaps_sic.slidefile.project import write_tmap
from tissuumaps_sic.slidefile.writing import replacing


@dataclass(frozen=True)
class Shared:
    """What was shared.

    Attributes
    ----------
    path : Path
        The h5ad; its TissUUmaps project lies beside it.
    name : str
        Of the slide in it.
    changes : tuple of Change
    """

    path: Path
    name: str
    changes: tuple[Change, ...]


def share(
    source: Path | str,
    folder: Path | str,
    *,
    key: bytes | None = None,
    rename: bool = False,
    shift: bool = False,
    compress: bool = False,
    fine: bool = True,
    keep: Sequence[str] = (),
    allow: Sequence[str] = (),
) -> Shared:
    """Write a copy that holds no pixels, no paths, no names of people or machines, and nothing unknown.

    Parameters
    ----------
    source : Path
        An h5ad that follows the file contract.
    folder : Path
        Where the copy and its TissUUmaps project go; made if it is not there.
    key : bytes, optional
        The secret of `rename` and `shift`: the same key gives the same name and shift again.
    rename : bool, default=False
        Whether to name the slide by a keyed hash (HMAC-SHA256) of its name, and to leave out what singles it
        out: hash, size and bounds, the threshold of its tissue, how long things took. Words of its name must
        then not be in what stays, such as the classes' names.
    shift : bool, default=False
        Whether to move all coordinates by a keyed whole number of level-0 pixels, and to tell the extent of
        the patches in place of the slide's size.
    compress : bool, default=False
        Whether to store the embeddings by gzip: smaller to send, but no reader can map them into memory.
    fine : bool, default=True
        Whether to keep the embeddings of cells smaller than a patch, where there are some. They tell the
        texture every 16 µm or so, which is more of the picture than the patches' own embeddings do.
    keep : sequence of str
        Places to keep beside those of the contract, such as ``obs/stage``.
    allow : sequence of str
        Words that may be in what stays though they are of the slide's name, or a person's or machine's.

    Returns
    -------
    Shared
        With all that was removed or changed.

    Raises
    ------
    WrongUseError
        There is no key where one is needed.
    ShareError
        The key can be guessed, the source does not follow the contract or
        is made of other files, too, or the copy would still hold a name or a path.
    OSError
        A file cannot be read or written.

    Notes
    -----
    The embeddings stay as they are, bit for bit. So who has the slide and embeds it again can tell that the
    copy is of it, and the shift, and so can who has a copy that was not shifted; only who has neither of
    these and no key can undo neither.
    """
    source, folder = Path(source), Path(folder)
    if (rename or shift) and key is None:
        raise WrongUseError("a new name or a shift needs a secret key; give one with --key FILE")
    if key is not None:
        check_key(key, "the key ")
    _refuse_foreign(source)
    problems = [each for each in check(source) if each.rule != "no-paths"]
    if problems:
        raise ShareError(
            f"{source}: does not follow the file contract ({problems[0].what}); `embedder check "
            "FILE` tells more"
        )
    try:
        copy = Copy(source, key if rename else None, key if shift else None, frozenset(keep), fine=fine)
        project = copy.project(f"{copy.name}.h5ad")
    except KeyError as error:
        raise ShareError(f"{source}: uns['embedder'] has no {error}; embed the slide again") from error
    except (LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ShareError(f"{source}: cannot be read as a slide's file ({reason}); embed it again") from error
    target = folder / f"{copy.name}.h5ad"
    if target.exists() and target.samefile(source):
        raise ShareError(f"{source}: would be written over itself; give another folder, or --rename")
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        try:
            copy.write(temporary, project, compress=compress)
        except (OSError, RuntimeError) as error:
            raise _in_one_line(error, target) from error
        with h5py.File(temporary, "r", locking=False) as file:
            prove_attributes(file)
            original = copy.original if rename else None
            prove_strings(file, name=copy.name, original=original, allow=allow)
        problems = check(temporary)
        # Compressed embeddings are what was asked for, and the rule is about plain chunks alone.
        if problems:
            raise ContractError(
                f"{target.name} would break the file contract ({problems[0].what}); nothing was written"
            )
    write_tmap(target.with_suffix(".tmap"), project)
    return Shared(target, copy.name, tuple(copy.changes))


def _refuse_foreign(source: Path) -> None:
    """See that a file's contents are its own: others' could be copied unseen, or be of another slide.

    Raises
    ------
    ShareError
        It holds an external link, or a dataset whose values are in other files.
    """
    seen: set[int] = set()
    try:
        with h5py.File(source, "r", locking=False) as file:
            waiting: list[tuple[str, h5py.Group]] = [("", file)]
            while waiting:
                place, group = waiting.pop()
                for name in group:
                    link = group.get(name, getlink=True)
                    foreign = isinstance(link, h5py.ExternalLink)
                    item = group[name] if isinstance(link, h5py.HardLink) else None
                    if isinstance(item, h5py.Dataset):
                        foreign = item.is_virtual or item.external is not None
                    if foreign:
                        raise ShareError(
                            f"{source}: {place}{name} lies in another file; write the file anew with anndata"
                        )
                    if isinstance(item, h5py.Group):
                        address = h5py.h5o.get_info(item.id).addr
                        if address not in seen:
                            seen.add(address)
                            waiting.append((f"{place}{name}/", item))
    except (OSError, RuntimeError, LookupError, ValueError, TypeError):
        return  # `check` says what is the matter


def _in_one_line(error: Exception, target: Path) -> OSError:
    """Return a failure to write, of which HDF5 tells in several lines, as the system's own."""
    code = re.search(r"errno = (\d+)", str(error))
    number = int(code[1]) if code else (getattr(error, "errno", None) or errno.EIO)
    return OSError(number, os.strerror(number), str(target))
