"""The picture of the sweeps: time of a training step against batch, width and repetitions."""

from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import Results
from benchmarks.speed.contestants import AUTO, BLOCH, CUTN, EXACT, LINEAR, PYKAN, SPLINE
from benchmarks.speed.groups import AXES, TRAINABLE

LINES: tuple[tuple[str, str, str, str, str], ...] = (
    (AUTO, TRAINABLE, "ours, auto", "#0072B2", "o"),
    (BLOCH, TRAINABLE, "ours, bloch", "#56B4E9", "s"),
    (SPLINE, TRAINABLE, "B-splines, ours", "#009E73", "^"),
    (LINEAR, TRAINABLE, "nn.Linear", "black", "v"),
    (EXACT, TRAINABLE, "qkan 0.2.3, exact", "#D55E00", "D"),
    (CUTN, TRAINABLE, "qkan 0.2.3, cutn", "#E69F00", "P"),
    (PYKAN, TRAINABLE, "pykan 0.2.8", "#CC79A7", "X"),
)
"""Contestant, variant, name in the legend, and Okabe and Ito's colour and a marker for those who see none."""

TITLES = {
    "batch": ("batch", "64→64, 3 repetitions"),
    "width": ("inputs and outputs", "batch 1024, 3 repetitions"),
    "reps": ("repetitions", "batch 1024, 64→64"),
}
FIELDS = {"batch": "batch", "width": "in_features", "reps": "reps"}


def plot_sweeps(path: Path, results: Results) -> None:
    """A panel an axis, everything trainable, logarithmic scales; a line stops where its contestant became too slow."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots(1, len(AXES), sharey=True)
    for axis, name in zip(axes, AXES, strict=True):
        _panel(axis, name, results)
    axes[0].set_ylabel("training step, ms")
    handles = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle("Time of a training step: median and range over rounds", x=0.01, ha="left")
    figure.savefig(path, dpi=130)


def _panel(axis: Axes, name: str, results: Results) -> None:
    for contestant, variant, label, colour, marker in LINES:
        rows = results.where(axis=name, variant=variant, contestant=contestant)
        points = [(row["case"][FIELDS[name]], row["step_ms"]) for row in rows if row["step_ms"]]
        if not points:
            continue
        x, steps = zip(*points, strict=True)
        axis.fill_between(x, list(map(min, steps)), list(map(max, steps)), color=colour, alpha=0.2, linewidth=0)
        axis.plot(x, list(map(median, steps)), color=colour, marker=marker, markersize=5, linewidth=1.5, label=label)
    ticks = [shape[0] if name == "batch" else shape[1] if name == "width" else shape[3] for shape in AXES[name]]
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel(TITLES[name][0])
    axis.set_title(TITLES[name][1], fontsize=10)
    axis.grid(color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
