"""What the viewer may ask of the server: open a slide, change its seeds, run, and keep the labels.

Requests and answers are plain values, so that the logic runs without Flask; `tissuumaps_sic.plugin` puts
it behind TissUUmaps' routes.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Concatenate, Literal, ParamSpec, TypeVar, cast
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, ValidationError
from shapely.geometry import mapping

from tissuumaps_sic.annotation.agreement import compare, consensus, disputed_places
from tissuumaps_sic.annotation.lending import comparable, guests_of, lend, lender_of, unlike
from tissuumaps_sic.annotation.session import (
    DEFAULT_METHOD,
    MOST_CLASSES,
    Guest,
    Loan,
    Method,
    Run,
    Session,
    SessionError,
    SessionFileError,
    cluster,
    editing,
    fit,
    listed,
    load_session,
    make_class,
    next_color,
    runner_up,
    save_session,
    seed_vector,
    session_names,
    session_path,
)
from tissuumaps_sic.export import FORMATS, ExportError, ExportOptions, regions_in, write_labels
from tissuumaps_sic.labelling.progress import Cancelled, Progress, Stretch
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.slidefile.locking import BusyError
from tissuumaps_sic.slidefile.matrix import Matrix
from tissuumaps_sic.slides.cache import SlideCache
from tissuumaps_sic.slides.slide import MAIN, EmbeddedSlide, SlideFileError, Stamp, stamp_of
from tissuumaps_sic.slides.umap import read_layout
from tissuumaps_sic.viewer.jobs import FullError, Jobs, Room, TakenError
from tissuumaps_sic.viewer.worklist import Worklist, find_below, nearest_auth, page

log = logging.getLogger(__name__)

# Enough for a share that is told in whole percent, and half the time of the estimator's own number.
_RESAMPLES = 10

_LONGEST_PATH = 4096
# More members than any object of a request has.
_MOST_MEMBERS = 20

_BLOCK_ROWS = 8192
# Of numbers in a text (`text_of`), beyond which each is written by itself.
_MOST_TABLES = 64
_PATIENCE_SECONDS = 120.0
# Each uses every core, and of a large slide gigabytes.
_FITS_AT_ONCE = 2
# How often what waits looks whether it was stopped.
_LOOK_SECONDS = 0.1
# Of the threads that answer (`serve`) so many may be at work on a run or wait for one, or for their turn to
# write; the others go on serving tiles. Who waits for no longer than a moment is not counted.
_MOST_LONG, _MOST_OF_SLIDE = 10, 8
_MOMENT_SECONDS = 0.5
_WAITING = "Waiting for another run"
# Not an HTTP status of any standard, but what servers note of a request that its client has given up.
_STOPPED = 499

# Sessions that become one consensus.
_MOST_READERS = 20
# Places of dispute that a page is told of; who has settled so many asks again.
_MOST_PLACES = 500
# Of an export: it lies in memory here, and in the browser.
_MOST_SENT = 256 * 2**20

# Seeds of a class that are shown beside a patch.
_SHOWN = 3

Parsed = TypeVar("Parsed", bound=BaseModel)


def _unheard(_stage: str, _share: float) -> None:
    """Be told how far something is, for nobody."""


class RequestError(SicError):
    """A request cannot be served; `status` is the HTTP status, the message is for the person at the page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


# What a request is answered with when something it needs is not as it should be; of an error's classes the
# nearest one counts. What is not here is a mistake of ours, and told as such.
_STATUS: dict[type[Exception], int] = {
    SessionError: 422,
    SessionFileError: 409,
    SlideFileError: 422,
    ExportError: 422,
    TakenError: 422,
    BusyError: 503,
    FullError: 503,
    MemoryError: 507,
    OSError: 507,
}


def refusal_of(error: Exception) -> RequestError | None:
    """Return what a request is answered with that ended in an error; None where that is a mistake of ours."""
    if isinstance(error, RequestError):
        return error
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return RequestError(_STATUS[kind], _words(error))
    return None


def _words(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there is too little memory for this; close other programs"
    if isinstance(error, OSError) and error.strerror:
        name = Path(str(error.filename)).name if error.filename else "a file"
        return (
            f"{name} could not be read or written ({error.strerror}); free some space, or see to its rights"
        )
    # HDF5 tells in several lines.
    return " ".join(str(error).split())


_Options = ParamSpec("_Options")
_Answer = TypeVar("_Answer")


def _answering(
    endpoint: Callable[Concatenate[Annotator, Path, Any, _Options], _Answer],
) -> Callable[Concatenate[Annotator, Path, Any, _Options], _Answer]:
    """Let an endpoint raise whatever it comes upon: it reaches the page as a `RequestError`."""

    @wraps(endpoint)
    def answered(
        self: Annotator, root: Path, content: Any, *args: _Options.args, **options: _Options.kwargs
    ) -> _Answer:
        try:
            return endpoint(self, root, content, *args, **options)
        except RequestError:
            raise
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            if isinstance(error, OSError | MemoryError):
                # Told in words, but where it happened only the log can tell.
                log.warning("%s failed", endpoint.__name__, exc_info=True)
            raise refusal from error

    return cast("Callable[Concatenate[Annotator, Path, Any, _Options], _Answer]", answered)


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# Strict: what is true or "1" is no number of a class. Whole numbers of JavaScript are exact up to 2**53.
_Label = Annotated[int, Field(strict=True, ge=0, lt=MOST_CLASSES)]
_Row = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
_Revision = Annotated[int, Field(strict=True, ge=0, lt=2**53)]


class OpenRequest(_Request):
    """Which h5ad, by its path below the served folder, and which session of it, "" the one without a name."""

    h5ad: str = Field(min_length=1, max_length=_LONGEST_PATH)
    session: str = Field(default="", max_length=40)


class _Seed(_Request):
    kind: Literal["seed"]
    label: _Label | None
    # Without `FailFast` a long list of nonsense would cost a kilobyte of memory for each of its items.
    patches: Annotated[tuple[_Row, ...], FailFast(), Field(min_length=1)]


class _Clear(_Request):
    kind: Literal["clear"]


class _Undo(_Request):
    kind: Literal["undo"]


class _Redo(_Request):
    kind: Literal["redo"]


class _Class(_Request):
    kind: Literal["class"]
    label: _Label
    name: str = Field(max_length=200)
    color: str = Field(max_length=200)


class _AddClass(_Request):
    kind: Literal["add-class"]
    name: str = Field(max_length=200)


class _RemoveClass(_Request):
    kind: Literal["remove-class"]
    label: _Label
    into: _Label | None = None


class _Borrow(_Request):
    """Seeds of another slide, by its path below the served folder, and of which of its sessions."""

    kind: Literal["borrow"]
    source: str = Field(min_length=1, max_length=_LONGEST_PATH)
    session: str = Field(default="", max_length=40)
    embedding: str = Field(default=MAIN, min_length=1, max_length=200)


class _Return(_Request):
    """The path is that of the loan: from the folder of the slide that borrows."""

    kind: Literal["return"]
    path: str = Field(min_length=1, max_length=_LONGEST_PATH)


class ChangeRequest(OpenRequest):
    """A change to the seeds or classes of the session that the page has seen."""

    revision: int = Field(ge=0)
    user: str = Field(default="", max_length=60)
    change: Annotated[
        _Seed | _Clear | _Undo | _Redo | _Class | _AddClass | _RemoveClass | _Borrow | _Return,
        Field(discriminator="kind"),
    ]


class WriteRequest(OpenRequest):
    """Write the labels of the session that the page has seen."""

    revision: int = Field(ge=0)


# Of the page's own making; by it the page asks how far its request is, and stops it.
_Token = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{8,64}$")]


class RunRequest(WriteRequest):
    """Run the clustering on the seeds that the page has seen."""

    job: _Token | None = None
    method: Method = DEFAULT_METHOD
    embedding: str = Field(default=MAIN, min_length=1, max_length=200)
    border: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)


class SuggestRequest(RunRequest):
    """Ask which patches to seed next, by the seeds that the page has seen."""

    n: int = Field(default=1, strict=True, ge=1, le=100)


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"no such format; there is {', '.join(FORMATS)}")
    return name


class ScoresRequest(WriteRequest):
    """Ask how sure the labels are that the page has seen."""

    job: _Token | None = None


class JobRequest(OpenRequest):
    """Ask about a request that is under way, or stop it."""

    job: _Token


class ExportRequest(WriteRequest):
    """Ask for the labels that the page has seen, as a file."""

    format: Annotated[str, Field(max_length=20), AfterValidator(_known_format)]


class WhyRequest(WriteRequest):
    """Ask which seeds a patch is most like."""

    embedding: str = Field(default=MAIN, min_length=1, max_length=200)
    patch: _Row


class CompareRequest(WriteRequest):
    """Ask how far the labels that the page has seen agree with those of another session."""

    other: str = Field(max_length=40)


class MergeRequest(OpenRequest):
    """Make a new session, the request's, of the seeds that no reader of some sessions disputes."""

    sessions: tuple[Annotated[str, Field(max_length=40)], ...] = Field(min_length=2, max_length=_MOST_READERS)


class UnlikeRequest(WriteRequest):
    """Ask which patches are unlike any seed."""

    embedding: str = Field(default=MAIN, min_length=1, max_length=200)


class WorklistRequest(OpenRequest):
    """Ask for all slides of the served folder; sessions are those of the page's session's name."""


class Annotator:
    """The sessions and slides behind all pages of one server; safe to call from many threads.

    Every method takes the served folder and the request's JSON, and raises `RequestError`.
    """

    def __init__(self) -> None:
        self._slides = SlideCache()
        self._worklist = Worklist()
        self._locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._locks_lock = threading.Lock()
        self._scores = _Scores()
        self._fitting = threading.BoundedSemaphore(_FITS_AT_ONCE)
        self._turns: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._jobs = Jobs()
        self._sessions = _Sessions()
        self._room = Room(_MOST_LONG, _MOST_OF_SLIDE, patience=_MOMENT_SECONDS)

    @_answering
    def open(self, root: Path, content: Any) -> dict[str, Any]:
        """Return the state of a slide's session, a new one where there is none yet."""
        request = _parse(OpenRequest, content)
        slide = self._slide(resolve(root, request.h5ad))
        return self._state(slide, self._session(slide, request), request)

    @_answering
    def change(self, root: Path, content: Any) -> dict[str, Any]:
        """Change seeds or classes, save the session, and return its new state."""
        request = _parse(ChangeRequest, content)
        h5ad = resolve(root, request.h5ad)
        with self._editing(h5ad):
            slide = self._slide(h5ad)
            session = self._seen_session(slide, request)
            if isinstance(request.change, _Borrow):
                session = self._borrowed(root, slide, session, request.change, user=request.user)
            else:
                session = _changed(slide, session, request)
            self._save(h5ad, session, request)
            return self._state(slide, session, request)

    @_answering
    def run(self, root: Path, content: Any) -> tuple[dict[str, Any], npt.NDArray[np.uint8]]:
        """Run the clustering; return the new state and the labels, (n_patches,) uint8."""
        request = _parse(RunRequest, content)
        h5ad = resolve(root, request.h5ad)
        with self._job(h5ad, request.job) as progress, self._room.place(h5ad):
            slide = self._slide(h5ad, request.embedding)
            session = self._seen_session(slide, request)
            started = time.perf_counter()
            # Other pages go on seeding meanwhile, in sessions of their own.
            with self._turn(h5ad, progress):
                run, scores = cluster(
                    slide,
                    session.classes,
                    session.seeds,
                    method=request.method,
                    border=request.border,
                    guests=self._guests(slide, session.loans),
                    progress=progress,
                )
            seconds = time.perf_counter() - started
            # Its place is its own until it is saved, so that what was worked out is never turned away.
            with self._editing(h5ad, progress, has_place=True):
                slide = self._slide(h5ad, request.embedding)
                session = self._seen_session(slide, request).with_run(run)
                self._save(h5ad, session, request)
            assert session.run is not None
            self._scores.put(h5ad, request.session, session.run, scores)
            return {**self._state(slide, session, request), "seconds": seconds}, run.unpack()

    @_answering
    def suggest(self, root: Path, content: Any) -> dict[str, Any]:
        """Return rows of the patches to seed next, and how far the labels hang on single seeds.

        ``flips`` is the share of patches whose label changes when the seeds are resampled.
        """
        request = _parse(SuggestRequest, content)
        h5ad = resolve(root, request.h5ad)
        slide = self._slide(h5ad, request.embedding)
        session = self._seen_session(slide, request)
        try:
            with (
                self._job(h5ad, request.job) as progress,
                self._room.place(h5ad),
                self._turn(h5ad, progress),
            ):
                stretch = Stretch.whole(progress)
                fitting, resampling, looking = (
                    stretch.part(*ends).follow for ends in ((0.0, 0.5), (0.5, 0.95), (0.95, 1.0))
                )
                estimator = fit(
                    slide,
                    session.classes,
                    session.seeds,
                    method=request.method,
                    guests=self._guests(slide, session.loans),
                    progress=fitting,
                )
                flips = estimator.flips(_RESAMPLES, progress=resampling).mean()
                patches = estimator.suggest(request.n, progress=looking)
                return {"patches": patches.tolist(), "flips": float(flips)}
        except ValueError as error:
            raise RequestError(422, str(error)) from error

    @_answering
    def why(self, root: Path, content: Any) -> dict[str, Any]:
        """Return the seeds of each class that a patch is most like, by cosine similarity.

        ``nearest`` lists at most `_SHOWN` for each class that has any, the most alike first, and the same of
        each slide that lends seeds, whose name is then ``slide`` and whose ``patches`` are names; ``margin``
        is how much more alike the nearest seed is than the nearest one of another class.
        """
        request = _parse(WhyRequest, content)
        slide = self._slide(resolve(root, request.h5ad), request.embedding)
        session = self._seen_session(slide, request)
        if request.patch >= slide.n_patches:
            raise RequestError(422, f"there is no patch {request.patch}; the slide has {slide.n_patches}")
        y = _seed_vector(slide, session)
        rows = np.flatnonzero(y >= 0)
        similarities = _cosines(slide.X[request.patch], slide.X, rows)
        if not np.isfinite(similarities).all():
            raise RequestError(
                422,
                f"{slide.path.name}: X holds NaN or infinity; leave those patches out or embed them again",
            )
        nearest = []
        for label in np.unique(y[rows]):
            of_class = np.flatnonzero(y[rows] == label)
            best = of_class[np.argsort(-similarities[of_class], kind="stable")[:_SHOWN]]
            nearest.append(
                {
                    "label": int(label),
                    "patches": rows[best].tolist(),
                    "similarities": similarities[best].tolist(),
                    "slide": None,
                }
            )
        nearest += self._nearest_borrowed(slide, session, request.patch)
        nearest.sort(key=lambda each: -each["similarities"][0])
        others = [each for each in nearest if each["label"] != nearest[0]["label"]]
        margin = nearest[0]["similarities"][0] - others[0]["similarities"][0] if others else None
        return {"patch": request.patch, "nearest": nearest, "margin": margin}

    @_answering
    def labels(self, root: Path, content: Any) -> tuple[dict[str, Any], npt.NDArray[np.uint8]]:
        """Return the state and the labels of the last run, (n_patches,) uint8."""
        request = _parse(OpenRequest, content)
        slide = self._slide(resolve(root, request.h5ad))
        session = self._session(slide, request)
        if session.run is None:
            raise RequestError(404, "there are no labels yet; seed every class and run")
        return self._state(slide, session, request), session.run.unpack()

    @_answering
    def scores(self, root: Path, content: Any) -> tuple[dict[str, Any], *tuple[npt.NDArray[Any], ...]]:
        """Return how sure the labels of the last run are, and what a border may be moved on.

        Three arrays of (n_patches,): the score of the patch's own label and that of class 1, both float32,
        and the best other class, uint8.
        """
        request = _parse(ScoresRequest, content)
        h5ad = resolve(root, request.h5ad)
        slide = self._slide(h5ad)
        session = self._seen_session(slide, request)
        run = session.run
        if run is None or not run.can_replay:
            raise RequestError(404, "there are no scores yet; seed every class and run")
        found = self._scores.get(h5ad, request.session, run)
        if found is None:
            slide = self._slide(h5ad, run.embedding)
            # As the run had it: scores are not kept in the session, and come of the same seeds again.
            with (
                self._job(h5ad, request.job) as progress,
                self._room.place(h5ad),
                self._turn(h5ad, progress),
            ):
                _, scores = cluster(
                    slide,
                    session.run_classes,
                    run.seeds,
                    method=run.method,
                    guests=self._guests(slide, run.loans),
                    progress=progress,
                )
            found = self._scores.put(h5ad, request.session, run, scores)
        return {"n_patches": slide.n_patches, "border": run.border}, *found

    @_answering
    def unlike(self, root: Path, content: Any) -> tuple[dict[str, Any], npt.NDArray[np.uint8]]:
        """Return which patches are unlike any seed, borrowed or not, (n_patches,) uint8, and how many."""
        request = _parse(UnlikeRequest, content)
        h5ad = resolve(root, request.h5ad)
        slide = self._slide(h5ad, request.embedding)
        session = self._seen_session(slide, request)
        if not session.loans:
            raise RequestError(404, "nothing is borrowed: every seed is of this slide")
        try:
            with self._room.place(h5ad), self._turn(h5ad):
                found = unlike(slide, session.seeds, self._guests(slide, session.loans))
        except ValueError as error:
            raise RequestError(422, str(error)) from error
        assert found is not None
        return {"n_patches": slide.n_patches, "unlike": int(found.sum())}, found.astype(np.uint8)

    @_answering
    def worklist(self, root: Path, content: Any, *, makes_pages: bool = False) -> dict[str, Any]:
        """Return all slides below the served folder that the same password opens, by path.

        Parameters
        ----------
        root : Path
        content : Any
            The request's JSON.
        makes_pages : bool, default=False
            Whether the server answers ``<slide>.tmap`` for slides that have no such project.
        """
        request = _parse(WorklistRequest, content)
        h5ad, base = resolve(root, request.h5ad), root.resolve()
        try:
            entries = self._worklist.entries(base, session=request.session, auth=nearest_auth(h5ad.parent))
        except OSError as error:
            raise RequestError(507, f"the folder cannot be read ({error.strerror or error})") from error
        here = next((each.spaces for each in entries if each.h5ad == h5ad), frozenset())
        slides = []
        for each in entries:
            relative = each.h5ad.relative_to(base)
            project = each.h5ad.with_suffix(".tmap") if each.has_project or makes_pages else each.h5ad
            slides.append(
                {
                    "h5ad": relative.as_posix(),
                    "name": each.name,
                    "folder": "" if relative.parent == Path() else relative.parent.as_posix(),
                    "page": page(base, project),
                    "n_patches": each.n_patches,
                    "sessions": list(each.sessions),
                    "seeds": each.seeds,
                    "borrowed": each.borrowed,
                    "state": each.state,
                    "problem": each.problem,
                    "lends": bool(each.seeds) and each.h5ad != h5ad and not here.isdisjoint(each.spaces),
                }
            )
        return {"here": h5ad.relative_to(base).as_posix(), "slides": slides}

    @_answering
    def map(self, root: Path, content: Any) -> tuple[dict[str, Any], *tuple[npt.NDArray[Any], ...]]:
        """Return the slide's UMAP.

        Three arrays: x and y, (n_patches, 2) float32; the share of tissue, (n_patches,) float32; and the
        colours, (n_patches, 3) uint8.
        """
        request = _parse(OpenRequest, content)
        found = read_layout(resolve(root, request.h5ad))
        tissue = bool(np.isfinite(found.tissue).all())
        header = {"n_patches": len(found.umap), "tissue": tissue}
        return header, found.umap.astype("<f4"), found.tissue.astype("<f4"), found.colors

    @_answering
    def regions(self, root: Path, content: Any) -> dict[str, Any]:
        """Return the labels as regions, in the order in which classes are listed.

        Polygons with holes in level-0 pixels, areas in mm², shares of all regions.
        """
        request = _parse(WriteRequest, content)
        slide = self._slide(resolve(root, request.h5ad))
        session = self._seen_session(slide, request)
        if session.run is None:
            raise RequestError(404, "there are no labels yet; seed every class and run")
        found, classes = regions_in(slide, session)
        order = listed(len(classes))
        found.sort(key=lambda region: order.index(region.label))
        return {
            "regions": [
                {
                    "name": classes[each.label].name,
                    "color": classes[each.label].color,
                    "area": each.area,
                    "share": each.share,
                    "coordinates": mapping(each.shape)["coordinates"],
                }
                for each in found
            ]
        }

    @_answering
    def compare(self, root: Path, content: Any) -> tuple[dict[str, Any], *tuple[npt.NDArray[Any], ...]]:
        """Return how far the labels of two sessions agree, and where they do not.

        Two arrays of (n_patches,) uint8: 1 where a patch is disputed, and the other session's labels, whose
        ``classes`` are in the header. ``places`` are those of `agreement.disputed_places`.
        """
        request = _parse(CompareRequest, content)
        slide = self._slide(resolve(root, request.h5ad))
        mine = self._seen_session(slide, request)
        other = self._session_of(slide, request.other)
        found = compare(slide, mine, other)
        assert other.run is not None
        header = {
            "n_patches": slide.n_patches,
            # JSON has no NaN.
            "kappa": found.kappa if np.isfinite(found.kappa) else None,
            "n_disputed": int(found.disputed.sum()),
            "classes": [each.model_dump() for each in other.run_classes],
            "is_stale": other.is_stale,
            "places": disputed_places(slide, found.disputed)[:_MOST_PLACES],
        }
        return header, found.disputed.astype(np.uint8), other.run.unpack()

    @_answering
    def merge(self, root: Path, content: Any) -> dict[str, Any]:
        """Save a consensus of sessions as a new one; return its state and how many seeds are disputed."""
        request = _parse(MergeRequest, content)
        h5ad = resolve(root, request.h5ad)
        if len(set(request.sessions)) < len(request.sessions):
            raise RequestError(422, "a session is named twice; name each once")
        with self._editing(h5ad):
            slide = self._slide(h5ad)
            if _path(h5ad, request.session).exists():
                raise RequestError(
                    422, f"there is a session {request.session!r} already; choose another name"
                )
            missing = [name for name in request.sessions if not _path(h5ad, name).exists()]
            if missing:
                raise RequestError(
                    422, f"there is no session {missing[0]!r} of {slide.name}; choose one there is"
                )
            merged, disputed = consensus({name: self._session_of(slide, name) for name in request.sessions})
            self._save(h5ad, merged, request)
            return {**self._state(slide, merged, request), "n_disputed": len(disputed)}

    @_answering
    def export(self, root: Path, content: Any) -> tuple[dict[str, Any], npt.NDArray[np.uint8]]:
        """Return the labels as a file of the asked format, and its name; of several files as a zip.

        Nothing is written into the served folder.
        """
        request = _parse(ExportRequest, content)
        h5ad = resolve(root, request.h5ad)
        slide = self._slide(h5ad)
        session = self._seen_session(slide, request)
        format_ = FORMATS[request.format]
        needed = 0
        if request.format == "h5ad":
            # What is larger need not be copied to know it.
            needed = h5ad.stat().st_size
            _require_sendable(slide, request, needed)
        suffix = f".{request.session}" if request.session else ""
        with _temporary_folder(needed) as folder:
            target = folder / f"{slide.name}{suffix}.{format_.ending}"
            options = ExportOptions(session_name=request.session, link=False)
            with self._room.place(h5ad), self._turn(h5ad):
                format_.write(slide, session, target, None, options)
            sent = _as_one(target)
            _require_sendable(slide, request, sent.stat().st_size)
            written = np.fromfile(sent, np.uint8)
            return {"name": sent.name, "length": len(written)}, written

    @_answering
    def write(self, root: Path, content: Any) -> dict[str, Any]:
        """Write the labels of the last run into the h5ad itself."""
        request = _parse(WriteRequest, content)
        h5ad = resolve(root, request.h5ad)
        with self._editing(h5ad):
            slide = self._slide(h5ad)
            session = self._seen_session(slide, request)
            if session.run is not None:
                slide = self._slide(h5ad, session.run.embedding)
            # The old file must be let go of before systems that lock open files replace it.
            self._slides.forget(h5ad)
            try:
                write_labels(slide, session, h5ad)
            except OSError as error:
                raise RequestError(507, _disk_message(h5ad, error)) from error
        return {"written": h5ad.name}

    def _guests(self, slide: EmbeddedSlide, loans: Iterable[Loan]) -> tuple[Guest, ...]:
        """Return borrowed seeds as a run takes them, from slides that stay open."""
        try:
            return guests_of(slide, loans, opener=self._slides.get)
        except SlideFileError as error:
            raise SessionError(f"{error}; or drop the seeds that are borrowed from it") from error

    def _borrowed(
        self, root: Path, slide: EmbeddedSlide, session: Session, asked: _Borrow, *, user: str
    ) -> Session:
        """Return the session with the seeds of another slide of the same folder and password."""
        path = resolve(root, asked.source)
        if nearest_auth(path.parent) != nearest_auth(slide.path.parent):
            raise _no_such_h5ad(asked.source)
        source, here = self._slide(path), self._slide(slide.path, asked.embedding)
        there = self._session(source, OpenRequest(h5ad=asked.source, session=asked.session))
        loan = lend(source, there.seeds, here, session=asked.session)
        return session.borrow(loan, there.classes, user=user)

    def _nearest_borrowed(self, slide: EmbeddedSlide, session: Session, patch: int) -> list[dict[str, Any]]:
        """Return the borrowed seeds that a patch is most like, as `why`; none of a slide that is gone."""
        nearest = []
        for loan in session.loans:
            try:
                source = self._lender(slide, loan)
                y = seed_vector(source, loan.seeds)
            except (SessionError, SlideFileError):
                continue
            rows = np.flatnonzero(y >= 0)
            similarities = _cosines(slide.X[patch], source.X, rows)
            for label in np.unique(y[rows]):
                of_class = np.flatnonzero(y[rows] == label)
                best = of_class[np.argsort(-similarities[of_class], kind="stable")[:_SHOWN]]
                if np.isfinite(similarities[best]).all():
                    nearest.append(
                        {
                            "label": int(label),
                            "patches": [str(source.patch_names[row]) for row in rows[best]],
                            "similarities": similarities[best].tolist(),
                            "slide": loan.slide,
                        }
                    )
        return nearest

    def _lender(self, slide: EmbeddedSlide, loan: Loan) -> EmbeddedSlide:
        """Return the slide that lends, with the embedding that is like that of the one that borrows."""
        source = self._slides.get(lender_of(slide.path, loan))
        return comparable(source, slide, opener=self._slides.get)

    @_answering
    def progress(self, root: Path, content: Any) -> dict[str, Any]:
        """Return how far a request is: its ``stage`` in words and its ``share``, both None when not known."""
        request = _parse(JobRequest, content)
        stage, share = self._jobs.progress(resolve(root, request.h5ad), request.job) or (None, None)
        return {"stage": stage, "share": share}

    @_answering
    def cancel(self, root: Path, content: Any) -> dict[str, Any]:
        """Stop a request of the same slide, one that comes yet included; ``running`` tells whether it ran."""
        request = _parse(JobRequest, content)
        return {"running": self._jobs.cancel(resolve(root, request.h5ad), request.job)}

    @contextmanager
    def _job(self, h5ad: Path, token: str | None) -> Iterator[Progress]:
        """Let a request be asked about and stopped while the block runs."""
        try:
            with self._jobs.begun(h5ad, token) as job:
                yield job.tell
        except Cancelled as error:
            raise RequestError(_STOPPED, "stopped; the labels are as they were") from error

    @contextmanager
    def _turn(self, h5ad: Path, progress: Progress = _unheard) -> Iterator[None]:
        """Wait for one's turn to cluster, or until `progress` raises: one a slide, and few in all."""
        with self._locks_lock:
            of_slide = self._turns[h5ad]
        with ExitStack() as held:
            # Of one slide only one, or what is found once a slide would be found twice, in twice the memory.
            for gate in (of_slide, self._fitting):
                while not gate.acquire(timeout=_LOOK_SECONDS):
                    progress(_WAITING, 0.0)
                held.callback(gate.release)
            yield

    @contextmanager
    def _editing(
        self, h5ad: Path, progress: Progress = _unheard, *, has_place: bool = False
    ) -> Iterator[None]:
        """Keep everyone else from writing sessions of an h5ad: threads of this process, then other ones.

        Who waits for longer than a moment needs one of the few places for that, and may have it already.
        """
        with self._locks_lock:
            lock = self._locks[h5ad]
        started = time.monotonic()
        with ExitStack() as held, ExitStack() as waiting:

            def wait() -> None:
                nonlocal has_place
                progress(_WAITING, 0.0)
                waited = time.monotonic() - started
                # Where all places are taken nothing is over in a moment.
                if not has_place and (waited >= _MOMENT_SECONDS or self._room.is_full(h5ad)):
                    waiting.enter_context(self._room.place(h5ad, patience=0.0))
                    has_place = True

            # Not for ever, since every thread that waits here is one that serves no tiles.
            timeout = 0.0
            while not lock.acquire(timeout=timeout):
                timeout = min(_LOOK_SECONDS, _PATIENCE_SECONDS)
                wait()
                if time.monotonic() - started >= _PATIENCE_SECONDS:
                    raise RequestError(
                        503, "another page is at work on this slide; try again when it is done"
                    )
            held.callback(lock.release)
            try:
                held.enter_context(editing(h5ad, wait))
            except OSError as error:
                raise RequestError(507, _disk_message(session_path(h5ad), error)) from error
            waiting.close()
            yield

    def _slide(self, h5ad: Path, embedding: str = MAIN) -> EmbeddedSlide:
        return self._slides.get(h5ad, embedding)

    def _session(self, slide: EmbeddedSlide, request: OpenRequest) -> Session:
        return self._session_of(slide, request.session)

    def _session_of(self, slide: EmbeddedSlide, name: str) -> Session:
        path = _path(slide.path, name)
        return self._sessions.get(path, slide) if os.path.lexists(path) else Session.new(slide)

    def _seen_session(self, slide: EmbeddedSlide, request: WriteRequest | ChangeRequest) -> Session:
        session = self._session(slide, request)
        if session.revision != request.revision:
            raise RequestError(
                409, "this slide was changed in another window; its seeds have been loaded again"
            )
        return session

    def _state(self, slide: EmbeddedSlide, session: Session, request: OpenRequest) -> dict[str, Any]:
        run, outdated = session.run, False
        if run is not None and run.sample:
            # An embedding that the file has no longer is told of when the labels are to be written.
            with suppress(SlideFileError):
                outdated = self._slides.get(slide.path, run.embedding).sample != run.sample
            # Nor is one that a slide that lends has no longer, which is told of at the next run.
            with suppress(SlideFileError, SessionError):
                outdated = outdated or any(
                    self._slides.get(lender_of(slide.path, loan), loan.embedding).sample != loan.sample
                    for loan in run.loans
                )
        return _state(slide, session, request, is_outdated=outdated)

    def _save(self, h5ad: Path, session: Session, request: OpenRequest) -> None:
        path = _path(h5ad, request.session)
        try:
            stamp = save_session(path, session)
        except OSError as error:
            raise RequestError(507, _disk_message(path, error)) from error
        self._sessions.put(path, session, stamp)


def resolve(root: Path, relative: str) -> Path:
    """Return the h5ad at `relative` below the served folder.

    Raises
    ------
    RequestError
        When the path leaves the folder, by whatever means, or is no h5ad in it.
    """
    path = find_below(root, relative) if len(relative) <= _LONGEST_PATH else None
    if path is None:
        raise _no_such_h5ad(relative)
    return path


def _as_one(target: Path) -> Path:
    """Return the file that an export is: a zip where there are several files in its folder."""
    files = sorted(target.parent.iterdir())
    if len(files) == 1:
        return target
    packed = target.with_name(f"{target.name}.zip")
    with ZipFile(packed, "w", ZIP_DEFLATED) as file:
        for each in files:
            file.write(each, each.name)
    return packed


def _require_sendable(slide: EmbeddedSlide, request: ExportRequest, n_bytes: int) -> None:
    if n_bytes > _MOST_SENT:
        session = f" --session {slide.name}.{request.session}.sic.json" if request.session else ""
        raise RequestError(
            422,
            f"the file would have {n_bytes / 2**20:.0f} MB, and {_MOST_SENT // 2**20} is the most that goes "
            "through the browser; run this in the slide's folder instead: tissuumaps-sic export "
            f"{slide.path.name} --format {request.format}{session}",
        )


def _no_such_h5ad(relative: str) -> RequestError:
    return RequestError(404, f"no h5ad of that name in the served folder: {relative[:200]!r}")


class SeedLists(Mapping[str, list[int]]):
    """What a page is told of seeds: rows in ascending order, ``patches``, and the class of each, ``labels``.

    They may be half of a large slide, and become lists or JSON only when somebody wants them.
    """

    def __init__(self, rows: npt.NDArray[np.intp], labels: npt.NDArray[np.integer[Any]]) -> None:
        self._arrays = {"patches": rows, "labels": labels}

    def __getitem__(self, key: str) -> list[int]:
        return cast("list[int]", self._arrays[key].tolist())

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def as_json(self) -> str:
        """Return both as JSON."""
        rows, labels = (text_of(self._arrays[key]) for key in ("patches", "labels"))
        return f'{{"patches": [{rows}], "labels": [{labels}]}}'


def text_of(numbers: npt.NDArray[np.integer[Any]]) -> str:
    """Return numbers from 0 to 2**32 - 1 with commas between them, (n,) integer; quick where they ascend."""
    values = numbers.astype(np.uint32)
    widths = np.searchsorted(10 ** np.arange(1, 10), values, side="right") + 1
    pieces = []
    # Numbers of as many digits that follow each other are a table, a line a number.
    starts = np.flatnonzero(np.diff(widths, prepend=0))
    if len(starts) > _MOST_TABLES:
        return ",".join(map(str, values.tolist()))
    for start, end in pairwise([*starts.tolist(), len(values)]):
        rest, width = values[start:end], int(widths[start])
        table = np.full((end - start, width + 1), ord(","), np.uint8)
        for place in range(width - 1, -1, -1):
            higher = rest // 10
            table[:, place] = rest - higher * 10 + ord("0")
            rest = higher
        pieces.append(table.tobytes())
    return b"".join(pieces).decode("ascii").removesuffix(",")


def as_json(answer: dict[str, Any]) -> str:
    """Return an answer as JSON."""
    seeds = answer.get("seeds")
    if not isinstance(seeds, SeedLists):
        return json.dumps(answer)
    others = json.dumps({key: value for key, value in answer.items() if key != "seeds"})
    return f'{{"seeds": {seeds.as_json()}, {others[1:]}'


def pack(header: dict[str, Any], *arrays: npt.NDArray[Any]) -> bytes:
    """Return an answer with arrays as bytes: length of the header (uint32, little-endian), header, arrays."""
    text = as_json(header).encode()
    return len(text).to_bytes(4, "little") + text + b"".join(each.tobytes() for each in arrays)


class _Sessions:
    """The sessions read or written last, as long as their files stay as they were.

    What their actions come to is kept with them, so that a click costs the same whatever came before it.
    Safe to use from many threads.
    """

    _MOST = 16
    # Of all of them together; some ten bytes a patch, for each of a few states of the session.
    _MOST_PATCHES = 2_000_000

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, tuple[Stamp, Session, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, slide: EmbeddedSlide) -> Session:
        """Return the session of a slide that lies at a path.

        Raises
        ------
        SessionFileError
            As `load_session`.
        """
        try:
            stamp = stamp_of(path)
        except OSError:
            return load_session(path, slide)
        with self._lock:
            known = self._kept.get(path)
            if known is not None and known[0] == stamp and known[1].fingerprint == slide.fingerprint:
                self._kept.move_to_end(path)
                return known[1]
        session = load_session(path, slide)
        # Of a file that was replaced meanwhile nobody knows which of the two was read.
        if stamp_of(path) == stamp:
            self._put(path, session, stamp, slide.n_patches)
        return session

    def put(self, path: Path, session: Session, stamp: Stamp | None) -> None:
        """Keep what was written; `stamp` is that of its file, None where another one lies there."""
        if stamp is not None:
            self._put(path, session, stamp, session.n_patches)

    def _put(self, path: Path, session: Session, stamp: Stamp, n_patches: int) -> None:
        with self._lock:
            self._kept.pop(path, None)
            self._kept[path] = stamp, session, n_patches
            while len(self._kept) > 1 and (
                len(self._kept) > self._MOST
                or sum(each for _, _, each in self._kept.values()) > self._MOST_PATCHES
            ):
                self._kept.popitem(last=False)


class _Scores:
    """What was asked of the scores of the last few runs; safe to use from many threads."""

    _MOST = 4

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, str, str], tuple[npt.NDArray[Any], ...]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, h5ad: Path, session: str, run: Run) -> tuple[npt.NDArray[Any], ...] | None:
        with self._lock:
            return self._kept.get((h5ad, session, run.identity))

    def put(
        self, h5ad: Path, session: str, run: Run, scores: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[Any], ...]:
        own = scores[np.arange(len(scores)), run.unpack()]
        found = own.astype("<f4"), scores[:, 1].astype("<f4"), runner_up(scores)
        with self._lock:
            self._kept[h5ad, session, run.identity] = found
            while len(self._kept) > self._MOST:
                self._kept.popitem(last=False)
        return found


def _cosines(row: npt.NDArray[Any], X: Matrix, others: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return the cosine of a row with each of some rows of X, float64; 0 with a row of zeros.

    NaN where either row holds NaN or infinity.
    """
    one = np.asarray(row, np.float64)
    found = np.empty(len(others))
    # Seeds may be half of a slide, whose embeddings in double precision are gigabytes.
    for start in range(0, len(others), _BLOCK_ROWS):
        block = np.asarray(X[others[start : start + _BLOCK_ROWS]], np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            lengths = np.linalg.norm(block, axis=1) * np.linalg.norm(one)
            found[start : start + _BLOCK_ROWS] = block @ one / np.where(lengths == 0, 1, lengths)
    return found


def _path(h5ad: Path, name: str) -> Path:
    """Return where the session lies that a request names; its name cannot leave the h5ad's folder."""
    try:
        path = session_path(h5ad, name)
        is_link = path.is_symlink()
    except SessionError as error:
        raise RequestError(422, str(error)) from error
    except OSError as error:
        # With the slide's the name can be longer than the file system's names.
        raise RequestError(422, f"{name}: {error.strerror}; give it another name") from error
    if is_link:
        raise RequestError(422, f"{path.name}: is a link to another place; put the session itself there")
    return path


def _parse(model: type[Parsed], content: Any) -> Parsed:
    given = [content, content.get("change")] if isinstance(content, dict) else []
    if any(isinstance(each, dict) and len(each) > _MOST_MEMBERS for each in given):
        raise RequestError(422, f"the request is not understood: more than {_MOST_MEMBERS} members")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:200]
        raise RequestError(422, f"the request is not understood: {where}: {first['msg'][:200]}") from error


def _changed(slide: EmbeddedSlide, session: Session, request: ChangeRequest) -> Session:
    user = request.user
    match request.change:
        case _Seed(label=label, patches=patches):
            if len(patches) > slide.n_patches:
                raise SessionError(f"{len(patches)} patches are more than the {slide.n_patches} of the slide")
            if max(patches) >= slide.n_patches:
                raise SessionError(f"there is no patch {max(patches)}; the slide has {slide.n_patches}")
            return session.seed_rows(np.array(patches, np.int64), label, user=user)
        case _Clear():
            return session.clear(user=user)
        case _Undo():
            return session.undo()
        case _Redo():
            return session.redo()
        case _Class(label=label, name=name, color=color):
            return session.with_class(label, make_class(name, color), user=user)
        case _AddClass(name=name):
            return session.add_class(make_class(name, next_color(session.classes)), user=user)
        case _RemoveClass(label=label, into=into):
            return session.remove_class(label, into=into, user=user)
        case _Return(path=path):
            return session.give_back(path, user=user)
        case _Borrow():  # of another slide, which only the annotator can open
            raise AssertionError


def _state(
    slide: EmbeddedSlide, session: Session, request: OpenRequest, *, is_outdated: bool
) -> dict[str, Any]:
    """Return what the page shows; patches are rows of the file.

    `is_outdated` says that the embeddings of the last run are no longer those of the file.
    """
    seeds = _seed_vector(slide, session)
    rows = np.flatnonzero(seeds >= 0)
    run = session.run
    return {
        "slide": slide.name,
        "session": request.session,
        "sessions": session_names(slide.path),
        "n_patches": slide.n_patches,
        "embeddings": [{"name": each.name, "title": each.title} for each in slide.embeddings],
        "classes": [seed_class.model_dump() for seed_class in session.classes],
        "listed": listed(len(session.classes)),
        "seeds": SeedLists(rows, seeds[rows]),
        "borrowed": [_loan_state(loan, len(session.classes)) for loan in session.loans],
        "revision": session.revision,
        "can_undo": session.can_undo,
        "can_redo": session.can_redo,
        "run": run
        and {
            "time": run.time,
            "method": run.method,
            "embedding": run.embedding,
            "border": run.border,
            "scored": run.can_replay,
            "n_iter": run.n_iter,
            "classes": [seed_class.model_dump() for seed_class in session.run_classes],
            "counts": list(run.counts),
            "stale": session.is_stale or is_outdated,
            "outdated": is_outdated,
        },
    }


def _seed_vector(slide: EmbeddedSlide, session: Session) -> npt.NDArray[np.int64]:
    """Return the seeds of a session as `seed_vector`; it is the session's fault where that cannot be."""
    try:
        return seed_vector(slide, session.seeds)
    except SessionError as error:
        raise SessionFileError(str(error)) from error


def _loan_state(loan: Loan, n_classes: int) -> dict[str, Any]:
    counts = np.bincount(list(loan.seeds.values()), minlength=n_classes)
    return {"slide": loan.slide, "path": loan.path, "session": loan.session, "counts": counts.tolist()}


@contextmanager
def _temporary_folder(needed: int) -> Iterator[Path]:
    """Yield a folder for a file of so many bytes, 0 where that is not known, and tell what it lacks."""
    try:
        _require_room(needed)
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    except OSError as error:
        raise RequestError(507, _temporary_message(needed, error)) from error


def _require_room(needed: int) -> None:
    if needed > shutil.disk_usage(tempfile.gettempdir()).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _temporary_message(needed: int, error: OSError) -> str:
    """Return what is wrong with the temporary folder, and what to do."""
    reason, place = error.strerror or error, tempfile.tempdir or "TMPDIR"
    do = "free some space there, or start the server with TMPDIR set to a folder that can be written"
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        free = None
    if free is None or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"exports need a temporary folder, and {place} cannot be used ({reason}); {do}"
    room = f"about {needed / 2**20:.1f} MB are needed" if needed else "more is needed"
    return (
        f"the export does not fit into the temporary folder {place} ({reason}): {room} and "
        f"{free / 2**20:.1f} MB are free; {do}"
    )


def _disk_message(path: Path, error: OSError) -> str:
    reason = error.strerror or error
    return f"{path.name} could not be written ({reason}); free some space or use a folder that can be written"
