"""What a person did to one slide: classes, seeds in order, undo and redo, and the labels of the last run.

A session is a value: every change returns a new one. On disk it is a small JSON file beside the h5ad.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tissuumaps_sic.clustering import UNLABELLED, SeededIterativeClustering
from tissuumaps_sic.files import replacing
from tissuumaps_sic.slides import MAIN, EmbeddedSlide

SUFFIX = ".sic.json"

Method = Literal["sic", "refine"]
# What the viewer and `run` use unless told otherwise: measured to be better (benchmarks/README.md).
DEFAULT_METHOD: Method = "refine"


class SessionError(Exception):
    """A session cannot be read, or does not fit its slide; the message says what to do."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SeedClass(_Frozen):
    """A class that patches are seeded with."""

    name: str = Field(min_length=1, max_length=60)
    color: str = Field(pattern=r"^#[0-9a-f]{6}$")

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        name = name.strip()
        if not name or re.search(r"[\x00-\x1f<>\"'&]", name):
            raise ValueError("a class name is printable text without quotes, < > or &")
        return name


class SeedAction(_Frozen):
    """Patches were given a class, or (`label` None) lost theirs."""

    kind: Literal["seed"] = "seed"
    time: str = Field(default_factory=_now)
    label: int | None = Field(ge=0)
    patches: tuple[str, ...] = Field(min_length=1)


class ClearAction(_Frozen):
    """All seeds were removed."""

    kind: Literal["clear"] = "clear"
    time: str = Field(default_factory=_now)


Action = Annotated[SeedAction | ClearAction, Field(discriminator="kind")]


class Run(_Frozen):
    """One run of the clustering: what went in, and the labels that came out.

    Attributes
    ----------
    seeds : dict of str to int
        The seeds that it ran on; the session's own go on changing.
    labels : str
        One byte a patch, in the order of the file, zlib-compressed, base64.
    embedding : str
        Which embedding of the file it ran on, as `open_slide_file` names them; runs of before there was a
        choice were on "X".
    """

    time: str
    seeds: dict[str, int]
    embedding: str = Field(default=MAIN, min_length=1, max_length=200)
    method: Method
    parameters: dict[str, Any]
    version: str
    n_iter: int
    counts: tuple[int, ...]
    labels: str

    def unpack(self) -> npt.NDArray[np.uint8]:
        """Return the labels, shape (n_patches,), uint8."""
        return np.frombuffer(zlib.decompress(base64.b64decode(self.labels)), dtype=np.uint8)


# Class 1 is the positive one of the published algorithm. Amber and azure stand out on pink and purple,
# and are told apart by people who do not see red and green.
DEFAULT_CLASSES = (
    SeedClass(name="Other", color="#00a6fb"),
    SeedClass(name="Tumour", color="#ffb000"),
)


class Session(_Frozen):
    """The seeds of one slide and how they came about.

    Attributes
    ----------
    slide, fingerprint : str
        The slide's name, and the fingerprint of the patches that the seeds belong to.
    classes : tuple of SeedClass
        Class 1 is the positive one.
    actions : tuple of SeedAction or ClearAction
        In order; those from `position` on have been undone and can be done again.
    position : int
        How many actions count.
    revision : int
        Grows by one with every change, so that two open pages never overwrite each other unseen.
    run : Run or None
        The last run.
    """

    schema_: Literal["tissuumaps-sic/session/1"] = Field(default="tissuumaps-sic/session/1", alias="schema")
    slide: str
    fingerprint: str
    classes: tuple[SeedClass, ...] = Field(default=DEFAULT_CLASSES, min_length=2, max_length=2)
    actions: tuple[Action, ...] = ()
    position: int = Field(default=0, ge=0)
    revision: int = Field(default=0, ge=0)
    run: Run | None = None

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @classmethod
    def new(cls, slide: EmbeddedSlide) -> Session:
        """Start a session on a slide."""
        return cls(slide=slide.name, fingerprint=slide.fingerprint)

    @property
    def seeds(self) -> dict[str, int]:
        """Class of each seeded patch by the patch's name, in the order they were seeded."""
        seeds: dict[str, int] = {}
        for action in self.actions[: self.position]:
            if isinstance(action, ClearAction):
                seeds.clear()
                continue
            for patch in action.patches:
                seeds.pop(patch, None)
                if action.label is not None:
                    seeds[patch] = action.label
        return seeds

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to take back."""
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is an action to do again."""
        return self.position < len(self.actions)

    def seed(self, patches: Iterable[str], label: int | None) -> Session:
        """Give patches a class, or take it from them (`label` None); what had been undone is dropped."""
        if label is not None and label >= len(self.classes):
            raise SessionError(f"there is no class {label}; there are {len(self.classes)}, from 0")
        return self._act(SeedAction(label=label, patches=tuple(patches)))

    def clear(self) -> Session:
        """Remove all seeds; can be undone."""
        return self._act(ClearAction())

    def undo(self) -> Session:
        """Take the last action back."""
        if not self.can_undo:
            raise SessionError("there is nothing to undo")
        return self._changed(position=self.position - 1)

    def redo(self) -> Session:
        """Do again what was undone last."""
        if not self.can_redo:
            raise SessionError("there is nothing to redo")
        return self._changed(position=self.position + 1)

    def with_class(self, label: int, seed_class: SeedClass) -> Session:
        """Rename or recolour a class."""
        classes = list(self.classes)
        classes[label] = seed_class
        if len({known.name for known in classes}) < len(classes):
            raise SessionError(f"there is a class named {seed_class.name} already; choose another name")
        return self._changed(classes=tuple(classes))

    def with_run(self, run: Run) -> Session:
        """Keep the outcome of a run."""
        return self._changed(run=run)

    def _act(self, action: SeedAction | ClearAction) -> Session:
        actions = (*self.actions[: self.position], action)
        return self._changed(actions=actions, position=len(actions))

    def _changed(self, **changes: Any) -> Session:
        return self.model_copy(update={**changes, "revision": self.revision + 1})


def seed_vector(slide: EmbeddedSlide, seeds: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Return seeds by patch name as y, shape (n_patches,), int64, -1 where a patch has none.

    Raises
    ------
    SessionError
        When a seeded patch is not in the slide's file.
    """
    y = np.full(slide.n_patches, UNLABELLED, dtype=np.int64)
    for patch, label in seeds.items():
        if patch not in slide.index:
            raise SessionError(
                f"{slide.path.name}: has no patch named {patch}; the seeds were made on another file"
            )
        y[slide.index[patch]] = label
    return y


def cluster(
    slide: EmbeddedSlide,
    classes: Sequence[SeedClass],
    seeds: Mapping[str, int],
    *,
    method: Method = DEFAULT_METHOD,
) -> tuple[Run, npt.NDArray[np.float32]]:
    """Run the clustering on seeds by patch name.

    Parameters
    ----------
    slide : EmbeddedSlide
    classes : sequence of SeedClass
    seeds : mapping of str to int
    method : "sic" or "refine", default="refine"
        As in `SeededIterativeClustering`.

    Returns
    -------
    run : Run
        The labels and how they were made.
    scores : ndarray of shape (n_patches, n_classes), float32
        As `SeededIterativeClustering.scores_`.

    Raises
    ------
    SessionError
        When a class has no seeds, or the embeddings cannot be clustered.
    """
    y = seed_vector(slide, seeds)
    for label, seed_class in enumerate(classes):
        if not (y == label).any():
            raise SessionError(
                f"“{seed_class.name}” has no seeds yet; choose it and click at least one patch of it"
            )
    estimator = SeededIterativeClustering(method=method)
    try:
        estimator.fit(slide.prepared, y)
    except ValueError as error:
        raise SessionError(f"{slide.path.name}: {error}") from error
    return make_run(estimator, seeds, len(classes), embedding=slide.embedding), estimator.scores_


def make_run(
    estimator: SeededIterativeClustering, seeds: Mapping[str, int], n_classes: int, *, embedding: str = MAIN
) -> Run:
    """Return the outcome of a fitted estimator as it is kept.

    Parameters
    ----------
    estimator : SeededIterativeClustering
        Fitted.
    seeds : mapping of str to int
        What it was fitted on, by patch name.
    n_classes : int
    embedding : str, default="X"
        Name of the embedding that it was fitted on.
    """
    from tissuumaps_sic import __version__

    labels = estimator.labels_.astype(np.uint8)
    return Run(
        time=_now(),
        seeds=dict(seeds),
        embedding=embedding,
        method=cast("Method", estimator.method),
        parameters=estimator.get_params(),
        version=__version__,
        n_iter=estimator.n_iter_,
        counts=tuple(np.bincount(labels, minlength=n_classes).tolist()),
        labels=base64.b64encode(zlib.compress(labels.tobytes(), level=9)).decode(),
    )


def session_path(h5ad: Path) -> Path:
    """Return where the session of an h5ad lies: beside it, as ``<slide>.sic.json``."""
    return h5ad.with_suffix(SUFFIX)


def load_session(path: Path, slide: EmbeddedSlide) -> Session:
    """Read a session and see that it belongs to the slide.

    Raises
    ------
    SessionError
        When the file is damaged, or was made on other patches.
    """
    try:
        session = Session.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise SessionError(
            f"{path.name}: not a session ({reason}); mend it, or move it away to start anew"
        ) from error
    if session.position > len(session.actions):
        raise SessionError(
            f"{path.name}: position {session.position} lies beyond its {len(session.actions)} actions; "
            "mend it, or move it away to start anew"
        )
    if session.fingerprint != slide.fingerprint:
        raise SessionError(
            f"{path.name}: was made on other patches than {slide.path.name} holds now; "
            "move it away to start anew, or put the h5ad that it was made on back"
        )
    return session


def save_session(path: Path, session: Session) -> None:
    """Write a session, so that a reader sees either the old or the new one.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    text = session.model_dump_json(by_alias=True, indent=1)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
