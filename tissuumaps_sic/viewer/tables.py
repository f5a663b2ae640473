"""What a page lets a person choose from: made of the one home of each, and sent when a slide is opened."""

from __future__ import annotations

from typing import Any

from tissuumaps_sic.annotation.classes import MOST_CLASSES, sign_of
from tissuumaps_sic.export.formats import FORMATS
from tissuumaps_sic.labelling.methods import METHOD_TITLES, METHODS
from tissuumaps_sic.labelling.typical import FEWEST_SEEDS


def page_tables() -> dict[str, Any]:
    """Return the tables of a page, in the order in which it shows them.

    Returns
    -------
    tables : dict
        ``methods``, a list of ``{name, words}``, the first of which a page begins with; ``exports``, a list
        of ``{name, words, use}``, without those that need what is not installed; ``most_classes``, an int;
        ``fewest_seeds``, from which on suggestions are of what is in doubt, an int; and ``signs``, the letter
        of each class by its place in the list, "" of those that colours tell. ``name`` is what a request
        says, ``words`` what a person reads, and ``use`` what they read beside it.
    """
    return {
        "methods": [{"name": name, "words": METHOD_TITLES[name]} for name in reversed(METHODS)],
        "exports": [
            {"name": each.name, "words": each.title, "use": each.use}
            for each in FORMATS.values()
            if each.is_offered
        ],
        "most_classes": MOST_CLASSES,
        "fewest_seeds": FEWEST_SEEDS,
        "signs": [sign_of(place) for place in range(MOST_CLASSES)],
    }
