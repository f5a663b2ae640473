"""Two or more readers of one slide: how far they agree, where they do not, and what they agree on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from tissuumaps_sic.annotation.classes import drop_repeated
from tissuumaps_sic.annotation.records import SessionError
from tissuumaps_sic.annotation.session import Session, seed_vector

if TYPE_CHECKING:
    import pandas as pd

    from tissuumaps_sic.slides.slide import EmbeddedSlide


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far the labels of two sessions agree.

    Attributes
    ----------
    kappa : float
        Cohen's kappa over all patches: 1 where they agree everywhere, 0 where no more than by chance; nan
        where both have one class alone, the same, so that there is nothing to agree on.
    share : float
        Of the patches that have the same label in both.
    disputed : ndarray of shape (n_patches,), bool
        Which patches have not.
    table : DataFrame
        Patches by class of the first session (rows) and of the second (columns).
    """

    kappa: float
    share: float
    disputed: npt.NDArray[np.bool_]
    table: pd.DataFrame

    @property
    def word(self) -> str:
        """What the kappa is called (`name_kappa`)."""
        return name_kappa(self.kappa)


# From which kappa on it is called so, as Landis and Koch have it.
_KAPPAS = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"), (0.0, "slight"))


def name_kappa(kappa: float) -> str:
    """Return the word for a kappa, such as "moderate" (above 0.4, to 0.6).

    Parameters
    ----------
    kappa : float
        -1 to 1, or nan.

    Returns
    -------
    str
        "" for nan.

    References
    ----------
    J. R. Landis, G. G. Koch, "The measurement of observer agreement for categorical data", Biometrics 33,
    1977.
    """
    if np.isnan(kappa):
        return ""
    return next((word for least, word in _KAPPAS if kappa > least or kappa == least == 0.0), "poor")


def compare(slide: EmbeddedSlide, first: Session, second: Session) -> Agreement:
    """Compare the labels of the last runs of two sessions; classes are the same when their names are.

    Parameters
    ----------
    slide : EmbeddedSlide
    first, second : Session
        Of this slide, each with a run.

    Returns
    -------
    Agreement
        Cohen's kappa, -1 to 1, the share of equal labels, 0 to 1, and which patches differ.

    Raises
    ------
    SessionError
        When one has no labels, or labels of other patches.

    References
    ----------
    J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20,
    1960.
    """
    import pandas as pd
    from sklearn.metrics import cohen_kappa_score, confusion_matrix

    named = [_names(slide, session) for session in (first, second)]
    known = sorted({name for names, labels in named for name in names[np.unique(labels)]})
    # Numbers, since names of a million patches take seconds to compare.
    one, other = (np.array([_place(known, name) for name in names])[labels] for names, labels in named)
    labels = np.arange(len(known))
    table = pd.DataFrame(confusion_matrix(one, other, labels=labels), index=known, columns=known)
    # Of one class alone scikit-learn divides nothing by nothing, and warns of it.
    kappa = float(cohen_kappa_score(one, other, labels=labels)) if len(known) > 1 else float("nan")
    disputed = np.asarray(one != other, dtype=np.bool_)
    return Agreement(kappa, float(1 - disputed.mean()), disputed, table)


def list_disputed(slide: EmbeddedSlide, disputed: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where disputed patches lie together: a patch in the middle of each, and how many they are.

    Patches lie together when they touch, at a corner too. The largest place comes first, so that whoever
    settles them begins where most is at stake.

    Parameters
    ----------
    slide : EmbeddedSlide
    disputed : ndarray of shape (n_patches,), bool

    Returns
    -------
    list of (int, int)
        The row of the patch, and how many lie together.
    """
    return [(row, len(rows)) for row, rows in _group(slide, disputed)]


def _group(slide: EmbeddedSlide, disputed: npt.NDArray[np.bool_]) -> list[tuple[int, npt.NDArray[np.intp]]]:
    """Return the places of `list_disputed`, each with all its rows."""
    rows = np.flatnonzero(disputed)
    if not rows.size:
        return []
    centres = slide.centres[rows]
    # Half a stride beyond the diagonal neighbour, whose place is rounded to level-0 pixels.
    pairs = cKDTree(centres).query_pairs(1.9 * slide.spacing, output_type="ndarray")
    links = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(rows.size, rows.size))
    n_places, place = connected_components(links, directed=False)
    sizes = np.bincount(place, minlength=n_places)
    middles = np.column_stack([np.bincount(place, centres[:, axis]) for axis in (0, 1)]) / sizes[:, None]
    distances = np.linalg.norm(centres - middles[place], axis=1)
    # The nearest to the middle of each, which itself may lie in a hole.
    order = np.lexsort((rows, distances, place))
    first = order[np.searchsorted(place[order], np.arange(n_places))]
    largest = np.lexsort((rows[first], -sizes))
    members = np.split(rows[order], np.cumsum(sizes)[:-1])
    return [(int(rows[first[each]]), members[each]) for each in largest]


def consensus(sessions: Mapping[str, Session]) -> tuple[Session, list[str]]:
    """Return a new session of the seeds that nobody disputes, and the patches that somebody does.

    A patch keeps its seed when every other session that seeded it gave it the same class, by name, and every
    other session's labels, where it has some, say the same there. Classes are those of the sessions in order,
    each named once, in the first session's colours. The session names its `readers`, so that what is left out
    can be decided (`decisions`).

    Parameters
    ----------
    sessions : mapping of str to Session
        Two or more of one slide, by name; the name is kept with each seed as its user.

    Returns
    -------
    session : Session
    disputed : list of str
        Names of the patches that are left out.

    Raises
    ------
    SessionError
        When they are fewer than two, of different slides, or of too many classes together.
    """
    if len(sessions) < 2:
        raise SessionError("a consensus needs two sessions or more; name another one")
    every = list(sessions.values())
    if len({session.fingerprint for session in every}) > 1:
        raise SessionError("the sessions belong to different patches; choose sessions of one slide")
    first, second, *more = classes = drop_repeated(each for session in every for each in session.classes)
    merged = every[0].anew((first, second)).model_copy(update={"readers": tuple(sessions)})
    for each in more:
        merged = merged.add_class(each)
    agreed, disputed = _count_votes(sessions)
    for reader, (label, seed_class) in product(sessions, enumerate(classes)):
        if patches := agreed.get((reader, seed_class.name)):
            merged = merged.seed(patches, label, user=reader)
    return merged, disputed


def _count_votes(sessions: Mapping[str, Session]) -> tuple[dict[tuple[str, str], list[str]], list[str]]:
    """Return patches that nobody disputes, by who seeded them first and their class, and those in dispute."""
    votes: dict[str, dict[str, str]] = {}
    for reader, session in sessions.items():
        classes = session.classes
        for patch, label in session.seeds.items():
            votes.setdefault(patch, {})[reader] = classes[label].name
    told = {reader: _tell_labels(session, votes) for reader, session in sessions.items()}
    agreed: dict[tuple[str, str], list[str]] = {}
    disputed = []
    for patch, given in votes.items():
        others = {told[reader][patch] for reader in sessions if reader not in given and patch in told[reader]}
        if len({*given.values(), *others}) > 1:
            disputed.append(patch)
        else:
            agreed.setdefault(next(iter(given.items())), []).append(patch)
    return agreed, disputed


def _tell_labels(session: Session, patches: Iterable[str]) -> dict[str, str]:
    """Return the class of some patches in a session's labels, by their names; empty without labels."""
    if session.run is None:
        return {}
    labels, classes = session.run.unpack(), session.run_classes
    named = list(patches)
    # A patch that the slide has not, of a session of another file, has no label.
    rows = session.rows_of(named).tolist()
    return {
        patch: classes[labels[row]].name for patch, row in zip(named, rows, strict=True) if row < len(labels)
    }


@dataclass(frozen=True)
class Decision:
    """A place that readers label or seed otherwise, and that nobody has decided.

    Attributes
    ----------
    row : int
        Of the patch to look at.
    size : int
        How many patches are disputed there.
    said : tuple of (str, str)
        Each reader with the class that they gave the patch: their seed where there is one, else their label.
    """

    row: int
    size: int
    said: tuple[tuple[str, str], ...]


def decisions(slide: EmbeddedSlide, session: Session, readers: Mapping[str, Session]) -> list[Decision]:
    """Return what is to be decided of a consensus: disputed seeds first, then places of disputed labels.

    A seed of the consensus decides its patch and, of a place of disputed labels, the whole place.

    Parameters
    ----------
    slide : EmbeddedSlide
    session : Session
        The consensus.
    readers : mapping of str to Session
        By name; those that have neither seeds nor labels say nothing.

    Returns
    -------
    list of Decision
    """
    said = {reader: _say(slide, each) for reader, each in readers.items()}
    decided = seed_vector(slide, session.seeds) >= 0
    seeded = np.zeros(slide.n_patches, np.bool_)
    for each in readers.values():
        seeded |= seed_vector(slide, each.seeds) >= 0
    disputed = _differ(list(said.values()), slide.n_patches)

    def ask(row: int, size: int) -> Decision:
        given = tuple((reader, str(each[row])) for reader, each in said.items() if each[row] is not None)
        return Decision(row, size, given)

    of_seeds = np.flatnonzero(disputed & seeded & ~decided)
    found = [ask(int(row), 1) for row in of_seeds]
    for row, rows in _group(slide, disputed):
        if not (decided | seeded)[rows].any():
            found.append(ask(row, len(rows)))
    return found


def _say(slide: EmbeddedSlide, session: Session) -> npt.NDArray[np.object_]:
    """Return the class that a reader gives each patch, by name, (n_patches,); None where they give none."""
    said = np.full(slide.n_patches, None, dtype=object)
    if session.run is not None:
        names, labels = _names(slide, session)
        said[:] = names[labels]
    seeds = seed_vector(slide, session.seeds)
    of_seeds = np.array([each.name for each in session.classes], dtype=object)
    said[seeds >= 0] = of_seeds[seeds[seeds >= 0]]
    return said


def _differ(said: list[npt.NDArray[np.object_]], n_patches: int) -> npt.NDArray[np.bool_]:
    """Return where some readers say one class and others another."""
    import pandas as pd

    differ = np.zeros(n_patches, np.bool_)
    for place, one in enumerate(said):
        for other in said[place + 1 :]:
            both = pd.notna(one) & pd.notna(other)
            differ |= both & np.asarray(one != other, np.bool_)
    return differ


def _place(known: list[str], name: str) -> int:
    """Return where a name is among those that patches have; -1 where no patch has it."""
    return known.index(name) if name in known else -1


def _names(slide: EmbeddedSlide, session: Session) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.uint8]]:
    """Return the names of a session's classes, and its labels, (n_patches,) uint8."""
    if session.run is None:
        raise SessionError("one of the sessions has no labels yet; run the clustering there first")
    labels = session.run.unpack()
    if len(labels) != slide.n_patches:
        raise SessionError(
            f"{slide.path.name}: the labels of a session belong to other patches; run the clustering there "
            "again"
        )
    return np.array([each.name for each in session.run_classes], dtype=object), labels
