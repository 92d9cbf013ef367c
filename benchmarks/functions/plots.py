"""The picture of the comparison: error against parameters, a panel a target."""

from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.functions.families import FOURIER_NAME, MLP_NAME, QKAN_NAME, SPLINE_NAME
from benchmarks.functions.protocol import Study
from benchmarks.functions.report import finals, measured
from benchmarks.functions.targets import Target
from benchmarks.report import Results

LINES: tuple[tuple[str, str, str], ...] = (
    (MLP_NAME, "black", "v"),
    (SPLINE_NAME, "#009E73", "^"),
    (FOURIER_NAME, "#E69F00", "s"),
    (QKAN_NAME, "#0072B2", "o"),
)
"""Family, Okabe and Ito's colour, and a marker for those who see none; the last is drawn on top."""

COLUMNS = 5

LEGEND = 5.5
"""Inches that the legend takes."""


def plot(path: Path, results: Results, study: Study) -> None:
    """Medians as lines, the range over seeds as bands, logarithmic scales that all panels share."""
    targets = measured(results, study)
    columns = min(COLUMNS, len(targets))
    rows = -(-len(targets) // columns)
    figure = Figure(figsize=(max(2.15 * columns + 0.5, LEGEND), 1.75 * rows + 1.1), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axis, target in zip(axes.flat, targets, strict=False):
        _panel(axis, target, results, study)
    for axis in axes.flat[len(targets) :]:
        axis.set_visible(False)
    for axis in axes.flat[len(targets) - columns : len(targets)]:
        axis.tick_params(labelbottom=True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=len(LINES), frameon=False, fontsize=10)
    figure.supxlabel("trained parameters", fontsize=10)
    figure.supylabel("relative error on test points", fontsize=10)
    figure.savefig(path, dpi=130)


def _panel(axis: Axes, target: Target, results: Results, study: Study) -> None:
    for name, colour, marker in LINES:
        rows = finals(results, study, target=target.key, model=name)
        sizes = sorted({row["size"] for row in rows})
        cells = [[row for row in rows if row["size"] == size] for size in sizes]
        x = [median(row["parameters"] for row in cell) for cell in cells]
        errors = [[row["test_error"] for row in cell] for cell in cells]
        axis.fill_between(x, list(map(min, errors)), list(map(max, errors)), color=colour, alpha=0.13, linewidth=0)
        axis.plot(x, list(map(median, errors)), color=colour, marker=marker, markersize=4, linewidth=1.4, label=name)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks([30, 100, 300], ["30", "100", "300"])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_locator(LogLocator(numticks=8))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.tick_params(labelsize=8, length=2)
    axis.set_title(f"{target.key}:  {target.label}" if target.key[0] == "I" else target.label, fontsize=8.5, pad=3)
    axis.grid(color="0.92", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
