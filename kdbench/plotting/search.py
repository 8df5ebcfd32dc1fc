"""Pictures of a search: how it went on, which settings mattered, and how good each of their values was."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from kdbench.plotting.style import COLOURS, png_figure
from kdbench.recipes.search_space import Range
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 46
_DARK = "#222222"
_COLUMNS = 3
_BLUE, _RED = COLOURS[0], COLOURS[3]


def draw(trials: list[FrozenTrial], space: Mapping[str, Range], folder: Path, *, title: str, metric: str) -> list[Path]:
    """Draws `history.png`, `slices.png` and, where it can be told, `importance.png`; returns what was drawn.

    Args:
        trials: The trials that count.
        space: What was tried.
        folder: Where the pictures go.
        title: Heading.
        metric: What the values are.

    Raises:
        RunFailed: A picture cannot be written.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        return []
    best = max(complete, key=lambda trial: (trial.value or 0.0, -trial.number))
    measured = f"validation {metric.replace('_', ' ')}"
    history, slices, shares = (folder / f"{name}.png" for name in ("history", "slices", "importance"))
    with png_figure(history, 8.0, 3.8, title=title) as figure:
        _history(figure, trials, best, measured)
    columns = min(_COLUMNS, len(space))
    rows = -(-len(space) // columns)
    with png_figure(slices, max(4.6, 3.5 * columns), 0.8 + 2.7 * rows, title=title) as figure:
        _slices(figure, figure.subplots(rows, columns, squeeze=False, sharey=True), complete, best, space, measured)
    explained = importance(complete)
    if not explained:
        return [history, slices]
    with png_figure(shares, 8.0, 1.3 + 0.38 * len(explained), title=title) as figure:
        _importance(figure.subplots(), explained, len(complete))
    return [history, slices, shares]


def importance(complete: list[FrozenTrial]) -> dict[str, float]:
    """Share of the variance of the values that each setting explains (functional ANOVA; Hutter et al., ICML 2014).

    Empty where it cannot be told: less than four finished trials, a single setting, or values that are all equal.
    """
    values = {trial.value for trial in complete}
    if len(complete) < 4 or len(values) < 2 or len(complete[0].params) < 2:
        return {}
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    # Trials of one study only, whatever another process adds meanwhile.
    finished = optuna.create_study(direction="maximize")
    finished.add_trials(complete)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(get_param_importances(finished, evaluator=FanovaImportanceEvaluator(seed=0)))


def _history(figure: Figure, trials: list[FrozenTrial], best: FrozenTrial, measured: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots()
    complete = [(i, t.value) for i, t in enumerate(trials, 1) if t.state == TrialState.COMPLETE and t.value is not None]
    numbers, values = [i for i, _ in complete], [value for _, value in complete]
    axes.plot(numbers, values, "o", color=_BLUE, markersize=4, label="trial", clip_on=False)
    axes.step(numbers, np.maximum.accumulate(values), where="post", color=_DARK, label="best so far")
    stopped = [
        (i, list(t.intermediate_values.values())[-1])
        for i, t in enumerate(trials, 1)
        if t.state == TrialState.PRUNED and t.intermediate_values
    ]
    if stopped:
        where, last = zip(*stopped, strict=True)
        axes.plot(where, last, "x", color="#7F7F7F", markersize=5, label="pruned, last epoch")
    if failed := [i for i, trial in enumerate(trials, 1) if trial.state == TrialState.FAIL]:
        # A trial that failed has no value: it is marked at the foot.
        low = axes.get_ylim()[0]
        axes.plot(failed, [low] * len(failed), "x", color=_RED, markersize=6, clip_on=False, label="failed")
    axes.plot([trials.index(best) + 1], [best.value or 0.0], "o", ms=9, mfc="none", mec=_RED, mew=1.5, label="chosen")
    axes.set_xlim(0.5, len(trials) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(measured)
    _per_cent(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=5, fontsize=8)


def _importance(axes: Axes, shares: Mapping[str, float], count: int) -> None:
    names = [_short(name) for name in shares][::-1]
    values = list(shares.values())[::-1]
    bars = axes.barh(names, values, color=_BLUE, height=0.62)
    axes.bar_label(bars, [f"{100 * value:.0f} %" for value in values], padding=3, fontsize=8)
    axes.set_xlim(0, max(values) * 1.12)
    axes.set_xlabel(f"share of the variance that the setting explains (fANOVA over {counted(count, 'trial')})")
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)


def _slices(
    figure: Figure,
    panels: np.ndarray,
    complete: list[FrozenTrial],
    best: FrozenTrial,
    space: Mapping[str, Range],
    measured: str,
) -> None:
    dots: Any = None
    for panel, (key, values) in zip(panels.flat, space.items(), strict=False):
        tried = [_place(trial.params[key], values) for trial in complete]
        dots = panel.scatter(
            tried,
            [trial.value for trial in complete],
            c=range(1, len(complete) + 1),
            cmap="viridis_r",
            s=22,
            zorder=3,
        )
        panel.plot([_place(best.params[key], values)], [best.value], "o", ms=9, mfc="none", mec=_RED, mew=1.5, zorder=4)
        if values.choices is not None:
            panel.set_xticks(range(len(values.choices)), ["null" if c is None else str(c) for c in values.choices])
            panel.set_xlim(-0.5, len(values.choices) - 0.5)
        else:
            panel.set_xscale("log" if values.log else "linear")
            panel.update_datalim([(values.low or 0.0, best.value or 0.0), (values.high or 0.0, best.value or 0.0)])
            panel.autoscale_view()
            panel.xaxis.set_major_formatter("{x:g}")
        panel.set_xlabel(_short(key))
        _per_cent(panel)
    for panel in panels.flat[len(space) :]:
        panel.set_visible(False)
    for row in panels:
        row[0].set_ylabel(measured)
    if len(complete) > 1:
        bar = figure.colorbar(dots, ax=panels, shrink=0.8, aspect=30, pad=0.01)
        bar.set_label("trial (early to late)")
        bar.set_ticks([])
        bar.outline.set_visible(False)


def _place(value: Any, values: Range) -> Any:
    return values.choices.index(value) if values.choices is not None else value


def _short(key: str) -> str:
    """A key without what all keys share; the whole one stands in the report."""
    text = key.replace(".losses.", ".").replace(".train.", ".").removeprefix("student.")
    return text if len(text) <= _WIDTH else f"…{text[-_WIDTH:]}"


def _per_cent(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(lambda share, _: f"{round(100 * share, 2):g} %")
