"""The figures of an evaluation: F1 by the number of seeds, as the paper's figure 2, and by clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by people who do not see red and green; the yellow is left out, being
# too light for a line on white.
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000")
# With more encoders and methods than colours, the line's style tells them apart.
_STYLES = ("-", "--", ":", "-.")
_INCHES = 4.2
_DPI = 160
# Lines that a legend names.
_MOST_NAMED = 12


# How labels are drawn finer than a patch, by the style of a line; all other ways are fine's rivals.
_WAYS = {"blocks": ":", "interpolated": "--", "fine": "-"}


def f1_by_seeds(per_slide: pd.DataFrame, *, repeats: int, pixels: pd.DataFrame | None = None) -> Figure:
    """Draw the F1 of every slide by the number of seeds, for each encoder and method.

    Parameters
    ----------
    per_slide : DataFrame
        ``encoder``, ``method``, ``n_seeds``, ``mean_f1``, ``best_f1``; one row a slide and combination.
    repeats : int
        How many draws the mean and the best are of.
    pixels : DataFrame, optional
        ``encoder``, ``method``, ``n_seeds``, ``way``, ``pixel_f1``; one row a combination.

    Returns
    -------
    Figure
        Left the best of the repeats, right their mean: a box from quartile to quartile with the median, and
        a dot for every slide. Beside them, where pixels were compared, the mean F1 by pixel of each way in
        which labels are drawn.
    """
    numbers = sorted(per_slide["n_seeds"].unique())
    series = _series(per_slide)
    width = 0.8 / len(series)
    finer = pixels is not None and not pixels.empty
    figure, panels = _panels(3 if finer else 2, widest=max(1.0, 0.08 * len(numbers) * len(series)))
    for panel, column, title in (
        (panels[0], "best_f1", f"Best of {repeats} draws of seeds"),
        (panels[1], "mean_f1", f"Mean of {repeats} draws of seeds"),
    ):
        for position, (name, rows) in enumerate(series):
            offset = (position + 0.5) * width - 0.4
            values = [rows.loc[rows["n_seeds"] == number, column].to_numpy() for number in numbers]
            _boxes(panel, np.arange(len(numbers)) + offset, values, width * 0.8, _look(position)["color"])
            panel.plot([], [], "s", markersize=9, color=_look(position)["color"], label=name)
        # Thin lines part the groups, so that a box is never taken for the neighbour's.
        for line in range(1, len(numbers)):
            panel.axvline(line - 0.5, color="0.85", linewidth=0.8, zorder=0)
        panel.set_xticks(range(len(numbers)), [str(number) for number in numbers])
        panel.set_xlim(-0.5, len(numbers) - 0.5)
        panel.set_xlabel("seeds per class")
        panel.set_title(title, fontsize=11)
    if pixels is not None and finer:
        _draw_ways(panels[2], pixels, "n_seeds", "pixel_f1", numbers)
        panels[2].set_xticks(range(len(numbers)), [str(number) for number in numbers])
        panels[2].set_xlabel("seeds per class")
        panels[2].set_title("By pixel, mean of slides", fontsize=11)
    slides = per_slide["slide"].nunique()
    return _finish(figure, panels, note=f"a dot is a slide ({slides} in all); a box spans their middle half")


def _draw_ways(panel: Axes, table: pd.DataFrame, key: str, value: str, numbers: Sequence[Any]) -> None:
    """Draw means by a number, a line an encoder, method and way; colours are those of the other panels."""
    for position, (_, rows) in enumerate(_series(table)):
        for way, style in _WAYS.items():
            means = rows[rows["way"] == way].groupby(key)[value].mean().reindex(list(numbers))
            color = _look(position)["color"]
            panel.plot(range(len(numbers)), means.to_numpy(), style, color=color, linewidth=1.8)
    for way, style in _WAYS.items():
        panel.plot([], [], style, color="0.3", label=way)
    panel.legend(frameon=False, fontsize=8, loc="lower right")


def f1_by_clicks(clicks: pd.DataFrame) -> Figure:
    """Draw F1 by the number of clicks, one panel a strategy.

    Parameters
    ----------
    clicks : DataFrame
        ``slide``, ``encoder``, ``method``, ``strategy``, ``repeat``, ``clicks``, ``f1``, and where pixels
        were compared ``pixel_f1_<way>``.

    Returns
    -------
    Figure
        The median over slides and repeats, and a band from quartile to quartile. Where pixels were compared
        a further panel a strategy, of the mean F1 by pixel of each way in which labels are drawn.
    """
    from matplotlib.ticker import MaxNLocator

    strategies = list(dict.fromkeys(clicks["strategy"]))
    ways = [way for way in _WAYS if f"pixel_f1_{way}" in clicks]
    figure, panels = _panels(len(strategies) * (2 if ways else 1))
    for panel, strategy in zip(panels[: len(strategies)], strategies, strict=True):
        for position, (name, rows) in enumerate(_series(clicks[clicks["strategy"] == strategy])):
            look = _look(position)
            by_clicks = rows.groupby("clicks")["f1"]
            low, median, high = (by_clicks.quantile(share) for share in (0.25, 0.5, 0.75))
            counts = median.index.to_numpy()
            panel.fill_between(counts, low, high, color=look["color"], alpha=0.18, linewidth=0)
            panel.plot(counts, median, linewidth=2, label=name, **look)
        panel.set_xlim(clicks["clicks"].min(), max(clicks["clicks"].max(), clicks["clicks"].min() + 1))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_xlabel("clicks in all")
        panel.set_title(f"strategy: {strategy}", fontsize=11)
    if ways:
        keys = ["encoder", "method", "strategy", "clicks"]
        long = pd.concat(
            [
                clicks[keys].assign(way=way, pixel_f1=clicks[f"pixel_f1_{way}"])  # a row a way
                for way in ways
            ]
        )
        numbers = sorted(clicks["clicks"].unique())
        for panel, strategy in zip(panels[len(strategies) :], strategies, strict=True):
            _draw_ways(panel, long[long["strategy"] == strategy], "clicks", "pixel_f1", numbers)
            places = [each for each in range(len(numbers)) if numbers[each] % 5 == 0]
            panel.set_xticks(places, [str(numbers[each]) for each in places])
            panel.set_xlabel("clicks in all")
            panel.set_title(f"by pixel, strategy: {strategy}", fontsize=11)
    runs = clicks.groupby(["slide", "repeat"]).ngroups
    return _finish(
        figure, panels, note=f"line: median of {runs} runs (slides and repeats); band: their middle half"
    )


def f1_of_sessions(curve: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw F1 by the number of clicks that people made, one panel a class.

    Parameters
    ----------
    curve : sequence of mapping
        ``slide``, ``session``, ``clicks``, ``class``, ``f1``, and ``f1_low`` and ``f1_high``, which may be
        None: as `real_use.follow_session` gives them.

    Returns
    -------
    Figure
        A line a slide and session, in a band where there are ends.
    """
    from matplotlib.ticker import MaxNLocator

    classes = list(dict.fromkeys(row["class"] for row in curve))
    sessions = list(dict.fromkeys((row["slide"], row["session"]) for row in curve))
    figure, panels = _panels(len(classes))
    for panel, name in zip(panels, classes, strict=True):
        for position, (slide, session) in enumerate(sessions):
            rows = [
                row for row in curve if (row["slide"], row["session"], row["class"]) == (slide, session, name)
            ]
            clicks, look = [row["clicks"] for row in rows], _look(position)
            banded = [row for row in rows if row["f1_low"] is not None]
            low, high = ([row[end] for row in banded] for end in ("f1_low", "f1_high"))
            band = [row["clicks"] for row in banded]
            panel.fill_between(band, low, high, color=look["color"], alpha=0.18, linewidth=0)
            label = None if len(sessions) > _MOST_NAMED else f"{slide}, {session}" if session else slide
            panel.plot(clicks, [row["f1"] for row in rows], linewidth=2, marker=".", label=label, **look)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_xlabel("clicks in all")
        panel.set_title(name, fontsize=11)
    is_banded = any(row["f1_low"] is not None for row in curve)
    note = f"{len(sessions)} sessions" + ("; band: 95 % interval by a check's answers" if is_banded else "")
    return _finish(figure, panels, note=note)


def _series(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of each encoder and method, named by what differs."""
    encoders, methods = (list(dict.fromkeys(table[key])) for key in ("encoder", "method"))
    series = []
    for encoder in encoders:
        for method in methods:
            rows = table[(table["encoder"] == encoder) & (table["method"] == method)]
            if len(rows):
                series.append((f"{encoder}, {method}", rows))
    return series


def _look(position: int) -> dict[str, Any]:
    style = _STYLES[position // len(_COLORS) % len(_STYLES)]
    return {"color": _COLORS[position % len(_COLORS)], "linestyle": style}


def _panels(count: int, *, widest: float = 1.0) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with panels side by side that share their F1 axis.

    Not through pyplot, which keeps every figure and looks for a screen.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(_INCHES * count * widest, 6.0), 4.4), dpi=_DPI, layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    panels[0].set_ylim(0, 1)
    panels[0].set_yticks(np.linspace(0, 1, 6))
    panels[0].set_ylabel("F1")
    for panel in panels:
        panel.grid(axis="y", color="0.9", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _boxes(panel: Axes, positions: Any, values: Sequence[Any], width: float, color: str) -> None:
    filled = [(position, each) for position, each in zip(positions, values, strict=True) if len(each)]
    panel.boxplot(
        [each for _, each in filled],
        positions=[position for position, _ in filled],
        widths=width,
        whis=(0, 100),
        showfliers=False,
        showcaps=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": color, "alpha": 0.35, "edgecolor": color},
        whiskerprops={"color": color},
        medianprops={"color": color, "linewidth": 2.5},
    )
    for position, each in filled:
        # Spread evenly and not at random, in the order of the slides: the same figure every time.
        spread = np.linspace(-0.25, 0.25, len(each)) * width if len(each) > 1 else np.zeros(1)
        panel.plot(
            position + spread, each, "o", color=color, markersize=4, markeredgecolor="white",
            markeredgewidth=0.4, clip_on=False, zorder=3,
        )  # fmt: skip


def _finish(figure: Figure, panels: Sequence[Axes], *, note: str) -> Figure:
    """Add the legend and a note below the panels, where they cover no data."""
    handles, labels = panels[0].get_legend_handles_labels()
    legend = figure.legend(
        handles,
        labels,
        loc="outside lower center",
        # Two long names still fit beside each other below a single panel.
        ncols=min(len(labels), 2 if len(panels) < 3 else 3),
        frameon=False,
        title=note,
        title_fontsize=9,
    )
    legend.get_title().set_color("0.35")
    return figure
