"""The figures of a training: its loss, and what its encoder knows that the one it started from did not."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from embedder.pretraining.probes import Probe

# Okabe and Ito's blue, orange and grey, told apart by people who do not see red and green.
_START, _TRAINED, _CHANCE = "#e69f00", "#0072b2", "0.4"
_DPI = 160


def loss_figure(loss: Sequence[float], *, steps_per_epoch: int) -> Figure:
    """Draw the loss of every step, and its mean over every epoch.

    Parameters
    ----------
    loss : sequence of float
        One for each step.
    steps_per_epoch : int

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    values = np.asarray(loss)
    axes.plot(np.arange(1, len(values) + 1), values, color="0.75", linewidth=0.8, label="step")
    ends = np.arange(steps_per_epoch, len(values) + 1, steps_per_epoch)
    means = [values[end - steps_per_epoch : end].mean() for end in ends]
    axes.plot(
        ends - (steps_per_epoch - 1) / 2, means, "o-", color=_TRAINED, markersize=3, label="mean of an epoch"
    )
    axes.set_xlabel("step")
    axes.set_ylabel("NT-Xent")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def probe_figure(probes: Mapping[str, Probe]) -> Figure:
    """Draw each probe of the start and of the trained encoder, with what chance would give.

    Parameters
    ----------
    probes : mapping of str to Probe
        From what was asked.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.5 + 2 * len(probes), 4), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    for place, probe in enumerate(probes.values()):
        for offset, value, color, name in (
            (-0.2, probe.start, _START, "start"),
            (0.2, probe.trained, _TRAINED, "trained"),
        ):
            axes.bar(place + offset, value, 0.36, color=color, label=name if place == 0 else None)
            axes.annotate(
                f"{value:.3f}", (place + offset, value), (0, 2), textcoords="offset points", ha="center"
            )
        across = [place - 0.42, place + 0.42]
        axes.plot(across, [probe.chance] * 2, "--", color=_CHANCE, label="chance" if place == 0 else None)
    axes.set_xticks(range(len(probes)), [textwrap.fill(name, 24) for name in probes])
    axes.set_xlim(-0.6, len(probes) - 0.4)
    axes.set_ylim(0, 1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    return figure
