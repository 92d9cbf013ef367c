"""The picture of the comparison: what is reached at which cost, a row a cost and a column a task."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.fair.families import FAMILIES
from benchmarks.fair.report import measured, rows
from benchmarks.fair.tasks import Task
from benchmarks.fair.training import Budget
from benchmarks.report import Results

COSTS = (
    ("parameters", "parameters", 1.0),
    ("operations", "operations a sample", 1.0),
    ("step_seconds", "a step, ms", 1e3),
    ("kept_bytes", "memory kept, KiB", 2**-10),
)

COLOURS = ("black", "#009E73", "#E69F00", "#0072B2", "#D55E00", "#CC79A7", "#56B4E9", "0.55")
MARKERS = ("v", "^", "s", "o", "D", "P", "X", "*")
"""Eight families have both of the same number; the next eight have other markers in the same colours."""


def plot(path: Path, results: Results, budget: Budget) -> None:
    """A point a family and size; the line is the Pareto front, below which nobody comes."""
    tasks = measured(results, budget)
    figure = Figure(figsize=(2.3 * len(tasks) + 0.6, 1.9 * len(COSTS) + 1.3), layout="constrained")
    axes = figure.subplots(len(COSTS), len(tasks), sharey="col", squeeze=False)
    for line, (column, label, unit) in zip(axes, COSTS, strict=True):
        for axis, task in zip(line, tasks, strict=True):
            _panel(axis, task, column, unit, results, budget)
            axis.set_xlabel(label, fontsize=8)
    for axis, task in zip(axes[0], tasks, strict=True):
        axis.set_title(task.label, fontsize=9)
    for axis, task in zip(axes[:, 0], [tasks[0]] * len(COSTS), strict=True):
        axis.set_ylabel(task.metric, fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 6), frameon=False, fontsize=9)
    figure.savefig(path, dpi=120)


def _panel(axis: Axes, task: Task, column: str, unit: float, results: Results, budget: Budget) -> None:
    points = []
    for number, family in enumerate(FAMILIES):
        cells = [rows(results, budget, task=task.key, model=family.name, size=size) for size in task.sizes]
        known = [
            (unit * mean(row[column] for row in cell), mean(row["test_error"] for row in cell))
            for cell in cells
            if cell
        ]
        colour, marker = COLOURS[number % 8], MARKERS[(number + 3 * (number // 8)) % 8]
        axis.plot(*zip(*known, strict=True), marker, color=colour, linestyle="", markersize=5, label=family.name)
        points += known
    axis.step(*zip(*front(points), strict=True), where="post", color="0.7", linewidth=1, zorder=0)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.tick_params(labelsize=7, length=2, which="both")
    axis.grid(color="0.93", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points than which none has both less cost and less error, by cost."""
    found: list[tuple[float, float]] = []
    for cost, error in sorted(points):
        if not found or error < found[-1][1]:
            found.append((cost, error))
    return found
