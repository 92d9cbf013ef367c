"""The picture: loss against tokens, and the last loss against the size of the feed-forwards."""

from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from benchmarks.language.report import Setting, by_family
from benchmarks.report import Results

STYLES = (("black", "o"), ("#CC79A7", "P"), ("#999999", "v"), ("#0072B2", "s"), ("#009E73", "D"), ("#D55E00", "^"))
"""Okabe and Ito's colours, and a marker for those who see none; a family each."""


def plot(path: Path, results: Results, setting: Setting) -> None:
    """Lines are medians over seeds, bands and bars their range."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for (name, rows), (colour, marker) in zip(by_family(results, setting).items(), STYLES, strict=False):
        tokens = [point[0] / 1e6 for point in rows[0]["curve"]]
        losses = list(zip(*([point[2] for point in row["curve"]] for row in rows), strict=True))
        left.fill_between(tokens, list(map(min, losses)), list(map(max, losses)), color=colour, alpha=0.15, lw=0)
        left.plot(tokens, list(map(median, losses)), color=colour, marker=marker, ms=4, lw=1.4, label=name)
        ends = [row["validation"] for row in rows]
        middle, size = median(ends), rows[0]["feed_forward"] / 1e3
        bar = [[middle - min(ends)], [max(ends) - middle]]
        right.errorbar([size], [middle], bar, color=colour, marker=marker, ms=6, capsize=3)
    left.set_xlabel("training tokens, millions")
    left.set_ylabel("validation loss, nats a character")
    left.legend(frameon=False, fontsize=9)
    right.set_xlabel("feed-forward parameters, thousands")
    right.set_ylabel("validation loss at the end")
    right.margins(x=0.1, y=0.1)
    for axis in (left, right):
        axis.grid(color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
