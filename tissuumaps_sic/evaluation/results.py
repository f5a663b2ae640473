"""What an evaluation is asked for, and what comes out of it: tables, and what they sum up to."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from tissuumaps_sic.slidefile.provenance import MAIN
from tissuumaps_sic.truth.classes import TruthClasses


@dataclass(frozen=True)
class Design:
    """What is done with every slide.

    Attributes
    ----------
    classes, methods, seeds_per_class, repeats, clicks, strategies, random_state
    slide_size, embeddings, pixels
        The parameters of `evaluate`.
    """

    classes: TruthClasses
    methods: tuple[str, ...]
    seeds_per_class: tuple[int, ...]
    repeats: int
    clicks: int
    strategies: tuple[str, ...]
    random_state: int
    slide_size: tuple[int, int] | None
    embeddings: tuple[str, ...] = (MAIN,)
    pixels: bool = True


@dataclass(frozen=True)
class Failure:
    """A slide, or an embedding of it, that took no part.

    Attributes
    ----------
    file : str
        Name of the h5ad.
    message : str
        Why, and what to do.
    """

    file: str
    message: str


@dataclass(frozen=True)
class Evaluation:
    """What came out, in the order of the files.

    Attributes
    ----------
    design : Design
    slides : DataFrame
        One row a slide and encoder: ``slide``, ``encoder``, ``file``, ``embedding`` (of the file),
        ``truth``, ``n_patches``, ``n_counted`` (patches that have a class in the truth) and
        ``share_<class>`` of those.
    runs : DataFrame
        One row a run: ``slide``, ``encoder``, ``method``, ``n_seeds`` (asked for, for each class),
        ``n_seeds_drawn`` (in all), ``repeat``, and over the counted patches ``f1``, ``macro_f1``,
        ``precision``, ``recall``, ``balanced_accuracy``. F1, precision and recall are of the positive
        class, and of three or more classes the mean over the classes.
    clicks : DataFrame
        One row a number of clicks: ``slide``, ``encoder``, ``method``, ``strategy``, ``repeat``,
        ``clicks`` (in all), ``f1``; and where pixels are compared ``pixel_f1_<way>`` for each of
        `pixels.WAYS`.
    failures : tuple of Failure
    pixels : DataFrame
        One row a run and way of drawing its labels (``way``, of `pixels.WAYS`): ``slide``, ``encoder``,
        ``method``, ``n_seeds``, ``repeat``, and what `pixels.measure_pixels` returns. Empty where pixels
        are not compared.
    """

    design: Design
    slides: pd.DataFrame
    runs: pd.DataFrame
    clicks: pd.DataFrame
    failures: tuple[Failure, ...]
    pixels: pd.DataFrame = field(default_factory=pd.DataFrame)

    def per_slide(self) -> pd.DataFrame:
        """Return the mean and the best F1 of the repeats, one row a slide, encoder, method and n_seeds.

        Returns
        -------
        DataFrame
        """
        keys = ["slide", "encoder", "method", "n_seeds"]
        grouped = self.runs.groupby(keys, sort=False)["f1"]
        return grouped.agg(mean_f1="mean", best_f1="max").reset_index()

    def summary(self) -> pd.DataFrame:
        """Return mean and standard deviation over the slides of both, one row an encoder, method, n_seeds.

        The best of the repeats is what the paper reports, to stand for an expert's choice of seeds; the
        mean is what a random choice gives.

        Returns
        -------
        DataFrame
        """
        grouped = self.per_slide().groupby(["encoder", "method", "n_seeds"], sort=False)
        return grouped.agg(
            slides=("slide", "nunique"),
            mean_f1=("mean_f1", "mean"),
            mean_f1_sd=("mean_f1", "std"),
            best_f1=("best_f1", "mean"),
            best_f1_sd=("best_f1", "std"),
        ).reset_index()

    def pixels_summary(self) -> pd.DataFrame:
        """Return means over the slides, of the means of the repeats, by encoder, method, n_seeds and way.

        Returns
        -------
        DataFrame
        """
        if self.pixels.empty:
            return self.pixels
        keys = ["encoder", "method", "n_seeds", "way"]
        figures = ["pixel_f1", "pixel_macro_f1", "iou", "boundary_f1"]
        by_slide = self.pixels.groupby(["slide", *keys], sort=False)[figures].mean().reset_index()
        return by_slide.groupby(keys, sort=False)[figures].mean().reset_index()

    def clicks_summary(self) -> pd.DataFrame:
        """Return mean and standard deviation over the slides of F1 (the mean of the repeats) by clicks.

        Returns
        -------
        DataFrame
        """
        keys = ["encoder", "method", "strategy", "clicks"]
        by_slide = self.clicks.groupby(["slide", *keys], sort=False)["f1"].mean().reset_index()
        grouped = by_slide.groupby(keys, sort=False)
        return grouped.agg(slides=("slide", "nunique"), f1=("f1", "mean"), f1_sd=("f1", "std")).reset_index()
