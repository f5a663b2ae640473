"""Labels as a CSV: a row a patch."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.export.labels import replay
from tissuumaps_sic.slidefile.tables import as_text
from tissuumaps_sic.slidefile.writing import replacing
from tissuumaps_sic.slides.slide import EmbeddedSlide


def write_csv(
    slide: EmbeddedSlide, session: Session, target: Path, columns: pd.DataFrame | None = None
) -> None:
    """Write one row a patch: name, centre in level-0 pixels, label, score and seed.

    Names that a spreadsheet would compute are written as `as_text` has them, and as `read_table` reads them.
    The score is that of the patch's own label, in 0.5..1. Labels are the session's, replayed, unless
    `columns` gives them (`columns_of`).

    Raises
    ------
    ExportError, SessionError, OSError
        When there are no labels, they cannot be replayed, or the file cannot be written.
    """
    columns = replay(slide, session) if columns is None else columns
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        flagged = "sic_unlike" in columns
        writer.writerow(["patch", "x", "y", "label", "score", "seed", *(["unlike"] if flagged else [])])
        unlike = columns["sic_unlike"].tolist() if flagged else [False] * slide.n_patches
        for name, (x, y), label, score, seed, far in zip(
            slide.patch_names,
            slide.centres.tolist(),
            columns["sic_label"],
            columns["sic_score"].tolist(),
            columns["sic_seed"].astype(object).fillna(""),
            unlike,
            strict=True,
        ):
            # More digits than `g` has by itself: a slide may have more than a million columns.
            place = f"{x:.10g}", f"{y:.10g}"
            row = [as_text(str(name)), *place, as_text(label), f"{score:.6f}", as_text(seed)]
            writer.writerow([*row, int(far)] if flagged else row)
