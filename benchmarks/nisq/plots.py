"""The picture: test error against shots on every device, and the quality of gradients against shots."""

from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from benchmarks.nisq.devices import BACKENDS
from benchmarks.nisq.gradients import RULES
from benchmarks.nisq.task import WAYS
from benchmarks.report import Results

COLOURS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7")


def plot(path: Path, results: Results) -> None:
    """Solid lines are raw values, dashed ones corrected; bands are the range over seeds."""
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    *left, right = figure.subplots(1, len(BACKENDS) + 1)
    for axis, backend in zip(left, BACKENDS, strict=True):
        for way, colour in zip(WAYS, COLOURS, strict=False):
            for treatment, line in (("raw", "-"), ("corrected", "--")):
                rows = [
                    row
                    for row in results.where(stage="device", backend=backend, way=way, treatment=treatment)
                    if row["shots"]
                ]
                shots = sorted({row["shots"] for row in rows})
                errors = [[row["test_mse"] for row in rows if row["shots"] == count] for count in shots]
                axis.fill_between(shots, list(map(min, errors)), list(map(max, errors)), color=colour, alpha=0.12, lw=0)
                axis.plot(
                    shots, list(map(median, errors)), line, color=colour, marker="o", ms=4, label=f"{way}, {treatment}"
                )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("shots a value")
        axis.set_title(backend, fontsize=10)
    left[0].set_ylabel("test MSE, standardised")
    low, high = min(axis.get_ylim()[0] for axis in left), max(axis.get_ylim()[1] for axis in left)
    for axis in left:
        axis.set_ylim(low, high)
    left[0].legend(fontsize=7, frameon=False)
    for rule, colour, marker in zip(RULES, COLOURS, "osD^", strict=True):
        rows = results.where(stage="gradient", rule=rule)
        budgets, cosines = zip(*((row["budget"], row["cosine"]) for row in rows), strict=True)
        right.plot(budgets, cosines, color=colour, marker=marker, ms=4, label=rule)
    right.set_xscale("log", base=2)
    right.set_ylim(0, 1.02)
    right.set_xlabel("shots a gradient of one circuit")
    right.set_ylabel("cosine to the exact gradient")
    right.set_title("Gradients", fontsize=10)
    right.legend(fontsize=7, frameon=False)
    for axis in (*left, right):
        axis.grid(color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
