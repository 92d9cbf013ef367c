"""The picture of the comparison: what is reached at which cost, a row a cost and a column a task."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.fair.families import FAMILIES, HQKAN_NAME, QKAN_NAME
from benchmarks.fair.report import Row, mean_costs, measured, rows
from benchmarks.fair.tasks import Task
from benchmarks.fair.training import Budget
from benchmarks.report import Results

COSTS = (
    ("parameters", "parameters", 1.0),
    ("operations", "operations a sample", 1.0),
    ("step_seconds", "a step, ms", 1e3),
    ("kept_bytes", "memory kept, KiB", 2**-10),
)

RED = "#E8112D"

STARS: Mapping[str, str] = {QKAN_NAME: "*", HQKAN_NAME: "P"}
"""Markers of those that the picture is about, in a colour that nobody else has, and larger."""

COLOURS = ("black", "#0072B2", "#009E73", "#E69F00", "#8C4FB0")
MARKERS = ("o", "s", "^", "D")
"""Five colours by four markers; a family has no colour and no marker in common with its neighbour."""

Style = Mapping[str, object]

Point = tuple[float, float]


def styles() -> dict[str, Style]:
    """How each family is drawn, unlike any other."""
    others = [family.name for family in FAMILIES if family.name not in STARS]
    found: dict[str, Style] = {
        name: {"color": COLOURS[number % 5], "marker": MARKERS[(number % 5 + number // 5) % 4], "markersize": 5}
        for number, name in enumerate(others)
    }
    return found | {name: {"color": RED, "marker": marker, "markersize": 9} for name, marker in STARS.items()}


def plot(path: Path, results: Results, budget: Budget) -> None:
    """A point a family and size; the line is the Pareto front, below which nobody comes."""
    tasks, shown = measured(results, budget), styles()
    figure = Figure(figsize=(2.4 * len(tasks) + 2.9, 2.1 * len(COSTS) + 0.4), layout="constrained")
    axes = figure.subplots(len(COSTS), len(tasks), sharey="col", squeeze=False)
    for column, task in enumerate(tasks):
        known = {name: points(results, budget, task, name) for name in shown}
        for axis, (cost, label, unit) in zip(axes[:, column], COSTS, strict=True):
            _panel(
                axis, {name: [(unit * row[cost], row["test_error"]) for row in known[name]] for name in shown}, shown
            )
            axis.set_xlabel(label, fontsize=8)
            axis.set_ylabel(task.metric, fontsize=8)
        axes[0, column].set_title(task.label, fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9)
    figure.savefig(path, dpi=120)


def points(results: Results, budget: Budget, task: Task, model: str) -> list[Row]:
    """What a family costs and how wrong it is, by size: means over seeds; what diverged has no place in the picture."""
    found, costs = [], mean_costs(results, budget, model)
    for size in task.sizes:
        known = rows(results, budget, task=task.key, model=model, size=size)
        if known and (task.key, size) in costs:
            means = {name: mean(row[name] for row in known) for name in ("parameters", "test_error")}
            found += [means | costs[task.key, size]] if math.isfinite(means["test_error"]) else []
    return found


def _panel(axis: Axes, known: Mapping[str, Sequence[Point]], shown: Mapping[str, Style]) -> None:
    every = [point for found in known.values() for point in found]
    # An error of 0 has no place on the axis: it is drawn at half of the smallest other one.
    least = min((error for _, error in every if error), default=1.0) / 2
    for name, found in known.items():
        xs, ys = [cost for cost, _ in found], [error or least for _, error in found]
        axis.plot(xs, ys, linestyle="", markeredgewidth=0.5, markeredgecolor="white", label=name, **shown[name])  # pyright: ignore[reportArgumentType]
    line = front([(cost, error or least) for cost, error in every])
    axis.step(
        [cost for cost, _ in line], [error for _, error in line], where="post", color="0.7", linewidth=1, zorder=0
    )
    axis.set_xscale("log")
    axis.set_yscale("log")
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_locator(LogLocator(10, subs=(1, 2, 5), numticks=12))
        ticks.set_major_formatter("{x:g}")
        ticks.set_minor_formatter(NullFormatter())
    axis.tick_params(labelsize=7, length=2, which="both")
    axis.grid(color="0.93", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def front(points: Sequence[Point]) -> list[Point]:
    """Points than which none has both less cost and less error, by cost."""
    found: list[Point] = []
    for cost, error in sorted(points):
        if not found or error < found[-1][1]:
            found.append((cost, error))
    return found
