"""Seeds of other slides of the folder, as pages borrow and use them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tissuumaps_sic.annotation.lending import comparable, guests_of, lend, lender_of
from tissuumaps_sic.annotation.session import Guest, Loan, Session, SessionError, seed_vector
from tissuumaps_sic.slides.slide import EmbeddedSlide, SlideFileError
from tissuumaps_sic.viewer.opened import Opened
from tissuumaps_sic.viewer.requests import BorrowChange


def open_guests(opened: Opened, slide: EmbeddedSlide, loans: Iterable[Loan]) -> tuple[Guest, ...]:
    """Return borrowed seeds as a run takes them, from slides that stay open."""
    try:
        return guests_of(slide, loans, opener=opened.slide)
    except SlideFileError as error:
        raise SessionError(f"{error}; or drop the seeds that are borrowed from it") from error


def borrow_seeds(
    opened: Opened, slide: EmbeddedSlide, session: Session, source: Path, asked: BorrowChange, *, user: str
) -> Session:
    """Return the session with the seeds of another slide, whose file is `source`."""
    there = opened.slide(source)
    lent = opened.session(there, asked.session)
    loan = lend(there, lent.seeds, opened.slide(slide.path, asked.embedding), session=asked.session)
    return session.borrow(loan, lent.classes, user=user)


def open_lenders(
    opened: Opened, slide: EmbeddedSlide, session: Session
) -> Iterator[tuple[Loan, EmbeddedSlide, npt.NDArray[np.int64]]]:
    """Yield each loan with its slide, of an embedding like that of the one that borrows, and its seeds.

    The seeds are (n_patches of that slide,), int64, -1 where a patch has none. A slide that is gone is left
    out.
    """
    for loan in session.loans:
        try:
            source = opened.slide(lender_of(slide.path, loan))
            source = comparable(source, slide, opener=opened.slide)
            y = seed_vector(source, loan.seeds)
        except (SessionError, SlideFileError):
            continue
        yield loan, source, y
