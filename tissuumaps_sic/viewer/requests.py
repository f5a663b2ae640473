"""What a page may ask of the server, each request a model, and how one is understood."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, ValidationError

from tissuumaps_sic.annotation.classes import MOST_CLASSES
from tissuumaps_sic.annotation.remarks import LONGEST_NOTE, Outline
from tissuumaps_sic.export.formats import FORMATS
from tissuumaps_sic.labelling.methods import DEFAULT_METHOD, Method
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.provenance import MAIN

# A lasso around a million patches, eight bytes for each, twice over.
MOST_BYTES = 16 * 2**20
_LONGEST_PATH = 4096
# More members than any object of a request has.
_MOST_MEMBERS = 20
# Patches that one says at once that one cannot tell.
_MOST_SKIPPED = 1000
# Patches that were suggested and are not to be again.
_MOST_SHOWN = 1000
# Patches of a check sample that are told at once, so that their pictures can be fetched before.
_MOST_QUESTIONS = 20
# Classes of a file of seeds.
_MOST_TARGETS = 1000
# Sessions that become one consensus.
_MOST_READERS = 20

Parsed = TypeVar("Parsed", bound="OpenRequest")


class RequestError(SicError):
    """A request cannot be served; `status` is the HTTP status, the message is for the person at the page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file that could not be written in the block.

    Parameters
    ----------
    path : Path

    Raises
    ------
    RequestError
        For any `OSError`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise RequestError(
                507,
                f"{path.name} could not be written: its folder may not be written to; ask whoever looks "
                "after it, or copy the slide's files to a folder of your own",
            ) from error
        raise RequestError(
            507,
            f"{path.name} could not be written ({error.strerror or error}); free some space or use a folder "
            "that can be written",
        ) from error


def require_patch(row: int, n_patches: int) -> None:
    """See that a patch that a page names is one of its slide.

    Parameters
    ----------
    row : int
        From 0 on.
    n_patches : int
        How many the slide has.

    Raises
    ------
    RequestError
        When it is not.
    """
    if row >= n_patches:
        raise RequestError(422, f"there is no patch {row}; the slide has {n_patches}, counted from 0")


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# Strict: what is true or "1" is no number of a class.
_Label = Annotated[int, Field(strict=True, ge=0, lt=MOST_CLASSES)]
_Row = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
_Path = Annotated[str, Field(min_length=1, max_length=_LONGEST_PATH)]
_SessionName = Annotated[str, Field(max_length=40)]
_Embedding = Annotated[str, Field(min_length=1, max_length=200)]
# Longer than any class may be called: the class itself tells that, in words.
_ClassText = Annotated[str, Field(max_length=10_000)]
# Of the page's own making; by it the page asks how far its request is, and stops it.
_Token = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{8,64}$")]


class OpenRequest(_Request):
    """Which h5ad, by its path below the served folder, and which session of it, "" the one without a name."""

    h5ad: _Path
    session: _SessionName = ""


class SeedChange(_Request):
    """Give patches a class, or take it from them."""

    kind: Literal["seed"]
    label: _Label | None
    # Without `FailFast` a long list of nonsense would cost a kilobyte of memory for each of its items.
    patches: Annotated[tuple[_Row, ...], FailFast(), Field(min_length=1)]


class PlainChange(_Request):
    """What needs no more than its name."""

    kind: Literal["clear", "undo", "redo"]


class ClassChange(_Request):
    """Rename a class, or give it another colour."""

    kind: Literal["class"]
    label: _Label
    name: _ClassText
    color: _ClassText


class AddClassChange(_Request):
    """Add a class."""

    kind: Literal["add-class"]
    name: _ClassText


class RemoveClassChange(_Request):
    """Remove a class, whose seeds become those of another one or none."""

    kind: Literal["remove-class"]
    label: _Label
    into: _Label | None = None


class BorrowChange(_Request):
    """Borrow seeds of another slide, by its path below the served folder, and of one of its sessions."""

    kind: Literal["borrow"]
    source: _Path
    session: _SessionName = ""
    embedding: _Embedding = MAIN


class ReturnChange(_Request):
    """Return what is borrowed; the path is that of the loan: from the folder of the slide that borrows."""

    kind: Literal["return"]
    path: _Path


# Actions of a session: those of its file are fewer.
_Position = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
_Branch = Annotated[int, Field(strict=True, ge=0, lt=2**32)]


class OfferedChange(_Request):
    """Add the classes of the folder's list that are not there."""

    kind: Literal["add-offered"]


class DecideChange(_Request):
    """Seed patches with a class by its name, which is added where it is not there."""

    kind: Literal["decide"]
    name: _ClassText
    patches: Annotated[tuple[_Row, ...], FailFast(), Field(min_length=1)]


class RestoreChange(_Request):
    """Go to a point of the history: after so many actions of the trunk, or of a branch's line."""

    kind: Literal["restore"]
    position: _Position
    branch: _Branch | None = None


class SkipChange(_Request):
    """Say that one cannot tell the class of patches."""

    kind: Literal["skip"]
    patches: Annotated[tuple[_Row, ...], FailFast(), Field(min_length=1, max_length=_MOST_SKIPPED)]


class NoteChange(_Request):
    """Write a note: on the slide, on a patch, on a part of it; or (`number`) one anew.

    The part is that of several patches, or what lies within `outline`, in level-0 pixels.
    """

    kind: Literal["note"]
    text: str = Field(max_length=LONGEST_NOTE)
    number: int | None = Field(default=None, strict=True, ge=0, lt=2**32)
    patches: Annotated[tuple[_Row, ...], FailFast()] = ()
    outline: Outline | None = None


class CheckChange(_Request):
    """Say that the slide is done, or that it is not."""

    kind: Literal["check"]
    checked: bool


class AnswerChange(_Request):
    """Say which class a patch of the check sample is of; None where one cannot tell."""

    kind: Literal["answer"]
    patch: _Row
    label: _Label | None


class SeedTarget(_Request):
    """Which class one of a file's becomes; None leaves it out."""

    name: _ClassText
    target: Annotated[str, Field(min_length=1, max_length=10_000)] | None


class SeedFile(_Request):
    """A file of seeds: its name, and its content packed (gzip) and as base64."""

    name: str = Field(min_length=1, max_length=1000)
    content: str = Field(min_length=1)
    targets: Annotated[tuple[SeedTarget, ...], FailFast(), Field(max_length=_MOST_TARGETS)] = ()
    inside: float = Field(default=0.5, gt=0, le=1, allow_inf_nan=False)
    from_bounds: bool | None = None


class SeedFileChange(_Request):
    """Take the seeds of a file, with the classes that they need."""

    kind: Literal["seed-file"]
    file: SeedFile


Change = (
    SeedChange
    | PlainChange
    | ClassChange
    | AddClassChange
    | RemoveClassChange
    | BorrowChange
    | ReturnChange
    | RestoreChange
    | OfferedChange
    | DecideChange
    | SkipChange
    | NoteChange
    | CheckChange
    | AnswerChange
    | SeedFileChange
)


class SeenRequest(OpenRequest):
    """Ask about the session that the page has seen."""

    revision: int = Field(ge=0)


class ChangeRequest(SeenRequest):
    """A change to the seeds or classes."""

    user: str = Field(default="", max_length=60)
    change: Annotated[Change, Field(discriminator="kind")]


class PreviewRequest(SeenRequest):
    """Ask what a file of seeds would give."""

    file: SeedFile


class BringRequest(OpenRequest):
    """Give the server a session back that it kept, and lost when it was started anew."""

    text: Annotated[str, Field(min_length=1)]


class HistoryRequest(SeenRequest):
    """Ask what happened; with `before` in so many first actions alone."""

    before: _Position | None = None


class PointRequest(SeenRequest):
    """Ask what going to a point of the history would do."""

    position: _Position
    branch: _Branch | None = None


class RunRequest(SeenRequest):
    """Run the clustering on the seeds."""

    job: _Token | None = None
    method: Method = DEFAULT_METHOD
    embedding: _Embedding = MAIN
    border: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)


class SuggestRequest(RunRequest):
    """Ask which patches to seed next, other than those that were shown."""

    n: int = Field(default=1, strict=True, ge=1, le=100)
    shown: Annotated[tuple[_Row, ...], FailFast(), Field(max_length=_MOST_SHOWN)] = ()


class JudgeRequest(RunRequest):
    """Ask which seeds the others contradict."""


class OpinionRequest(RunRequest):
    """Ask where a second model differs from the labels; `n` patches of each pair of classes at most."""

    n: int = Field(default=20, strict=True, ge=1, le=100)
    shown: Annotated[tuple[_Row, ...], FailFast(), Field(max_length=_MOST_SHOWN)] = ()


def _require_format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"no such format; choose one of {', '.join(FORMATS)}")
    return name


class CommandRequest(SuggestRequest):
    """Ask for the line of the command line that gives labels, an export, or what was asked for."""

    what: Literal["run", "export", "suggest", "opinion"]
    format: Annotated[str, Field(max_length=20), AfterValidator(_require_format)] = "csv"


class ScoresRequest(SeenRequest):
    """Ask how sure the labels are."""

    job: _Token | None = None


class WhyRequest(SeenRequest):
    """Ask which seeds a patch is most like."""

    embedding: _Embedding = MAIN
    patch: _Row


class AlikeRequest(OpenRequest):
    """Ask how alike the patches around one are to it."""

    embedding: _Embedding = MAIN
    patch: _Row


class LikenessRequest(AlikeRequest):
    """Ask how alike every patch of the slide is to one."""

    job: _Token | None = None


class ElsewhereRequest(LikenessRequest):
    """Ask for the patches of other slides that are most like one."""

    n: int = Field(default=30, strict=True, ge=1, le=100)


class PictureRequest(AlikeRequest):
    """Ask for the picture of a patch."""

    side: int = Field(default=128, strict=True, ge=16, le=512)


class LookRequest(OpenRequest):
    """Keep that patches were looked at closely."""

    patches: Annotated[tuple[_Row, ...], FailFast()]


class UnlikeRequest(SeenRequest):
    """Ask which patches are unlike any seed."""

    embedding: _Embedding = MAIN


class DrawRequest(SeenRequest):
    """Begin a check of the labels; `like` is another session of the slide, whose patches are asked about."""

    user: str = Field(default="", max_length=60)
    like: _SessionName | None = None
    job: _Token | None = None


class QuestionsRequest(SeenRequest):
    """Ask which patches of the check sample to judge next."""

    n: int = Field(default=1, strict=True, ge=1, le=_MOST_QUESTIONS)


class VerifyRequest(SeenRequest):
    """Ask how good the labels are; `other` is a session whose answers are compared with these."""

    other: _SessionName | None = None


class CompareRequest(SeenRequest):
    """Ask how far the labels agree with those of another session."""

    other: _SessionName


class MergeRequest(OpenRequest):
    """Make a new session, the request's, of the seeds that no reader of some sessions disputes."""

    sessions: tuple[_SessionName, ...] = Field(min_length=2, max_length=_MOST_READERS)


class JobRequest(OpenRequest):
    """Ask about a request that is under way, or stop it."""

    job: _Token


def _require_download(name: str) -> str:
    if not FORMATS[_require_format(name)].in_panel:
        raise ValueError(
            f"cannot be downloaded; run tissuumaps-sic export --format {name} in the slide's folder"
        )
    return name


class ExportRequest(SeenRequest):
    """Ask for the labels as a file."""

    format: Annotated[str, Field(max_length=20), AfterValidator(_require_download)]


def parse_request(model: type[Parsed], content: Any) -> Parsed:
    """Return a request as its model has it.

    Parameters
    ----------
    model : type
    content : object

    Returns
    -------
    Parsed

    Raises
    ------
    RequestError
        When it is none.
    """
    given = [content, content.get("change")] if isinstance(content, dict) else []
    if any(isinstance(members, dict) and len(members) > _MOST_MEMBERS for members in given):
        raise RequestError(422, f"the request is not understood: more than {_MOST_MEMBERS} members")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if (told := _tell_length(first["type"], first["loc"], content)) is not None:
            raise RequestError(422, told) from error
        where = ".".join(str(part) for part in first["loc"])[:200]
        raise RequestError(422, f"the request is not understood: {where}: {first['msg'][:200]}") from error


# What a person types, and how much of it may be: the rest is of the page's own making.
_TYPED = {"session": ("the session's name", 40), "user": ("your name", 60)}


def _tell_length(kind: str, place: tuple[int | str, ...], content: Any) -> str | None:
    """Return in words that something that a person typed is too long; None where it is something else."""
    if kind != "string_too_long" or len(place) != 1 or place[0] not in _TYPED:
        return None
    what, most = _TYPED[str(place[0])]
    n = len(content[place[0]])
    return f"{what} has {n} characters, and {most} are the most; shorten it by {n - most}"
