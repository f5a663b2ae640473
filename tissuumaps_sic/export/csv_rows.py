"""Labels as a CSV: a row a patch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tissuumaps_sic.annotation.runs import Labelled
from tissuumaps_sic.export.review import notes_of_patches
from tissuumaps_sic.slidefile.tables import as_text
from tissuumaps_sic.slidefile.writing import replacing


def write_csv(labelled: Labelled, target: Path) -> None:
    """Write one row a patch: name, centre in level-0 pixels, label, score and seed.

    Names that a spreadsheet would compute are written as `as_text` has them, and as `read_table` reads them.
    The score is that of the patch's own label, in 0.5..1. Where some seeds are borrowed a last column tells
    which patches are unlike any seed, and where readers have noted something on patches or on parts of the
    slide, a column ``note`` has that.

    Parameters
    ----------
    labelled : Labelled
    target : Path

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    # The last one is that of -1: no seed.
    names = [*(as_text(each.name) for each in labelled.classes), ""]
    more: list[tuple[str, Sequence[object]]] = []
    if labelled.unlike is not None:
        more.append(("unlike", [int(each) for each in labelled.unlike]))
    if notes := notes_of_patches(labelled):
        more.append(("note", [as_text(notes.get(row, "")) for row in range(labelled.slide.n_patches)]))
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = ["patch", "x", "y", "label", "score", "seed"]
        writer.writerow([*columns, *(name for name, _ in more)])
        for number, (name, (x, y), label, score, seed) in enumerate(
            zip(
                labelled.slide.patch_names,
                labelled.slide.centres.tolist(),
                labelled.labels.tolist(),
                labelled.scores.tolist(),
                labelled.seeds.tolist(),
                strict=True,
            )
        ):
            # More digits than `g` has by itself: a slide may have more than a million columns.
            place = f"{x:.10g}", f"{y:.10g}"
            row = [as_text(str(name)), *place, names[label], f"{score:.6f}", names[seed]]
            writer.writerow([*row, *(values[number] for _, values in more)])
