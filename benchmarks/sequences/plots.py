"""Pictures of a run: error against parameters, and forecasts after few and many epochs."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.report import Results
from benchmarks.sequences.families import GRU_NAME, HYBRID_NAME, LSTM_NAME, MLP_NAME, QKAN_NAME, QLSTM_NAME
from benchmarks.sequences.report import Rows, finals, middle, title
from benchmarks.sequences.tasks import data

LINES: tuple[tuple[str, str, str], ...] = (
    (MLP_NAME, "#999999", "v"),
    (LSTM_NAME, "black", "D"),
    (GRU_NAME, "#009E73", "^"),
    (QLSTM_NAME, "#E69F00", "s"),
    (QKAN_NAME, "#56B4E9", "P"),
    (HYBRID_NAME, "#0072B2", "o"),
)
"""Family, Okabe and Ito's colour, and a marker for those who see none; the last is drawn on top."""


def plot_curves(path: Path, results: Results) -> None:
    """Medians as lines, the range over seeds as bands, a panel a series; nothing without rows."""
    found = finals(results, "adam")
    tasks = list(dict.fromkeys(task for task, _, _ in found))
    if not tasks:
        return
    figure = Figure(figsize=(3.6 * len(tasks) + 0.4, 3.6), layout="constrained")
    axes = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axis, task in zip(axes, tasks, strict=True):
        for name, colour, marker in LINES:
            _line(
                axis, [rows for key, rows in found.items() if key[0] == task and key[2] == name], name, colour, marker
            )
        axis.set_title(title(task), fontsize=10)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks([20, 50, 100, 200, 500], ["20", "50", "100", "200", "500"])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_locator(LogLocator(numticks=8))
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=len(LINES), frameon=False, fontsize=9)
    figure.supxlabel("trained parameters", fontsize=10)
    axes[0].set_ylabel("test MSE, 30 epochs of Adam")
    figure.savefig(path, dpi=130)


def _line(axis: Axes, cells: list[Rows], name: str, colour: str, marker: str) -> None:
    cells = sorted(cells, key=lambda rows: rows[0]["parameters"])
    x = [rows[0]["parameters"] for rows in cells]
    low, high = ([choose(row["test_mse"] for row in rows) for rows in cells] for choose in (min, max))
    axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    axis.plot(x, [middle(rows) for rows in cells], color=colour, marker=marker, markersize=4, linewidth=1.4, label=name)


def plot_epochs(path: Path, results: Results) -> None:
    """The forecasts of the test part, a row a model, a column a number of epochs; nothing without rows."""
    rows = [dict(row) for row in results.where(stage="final", study="epochs")]
    if not rows:
        return
    models = list(dict.fromkeys(row["model"] for row in rows))
    settings = sorted({_epochs(row) for row in rows})
    _, known = data(rows[0]["task"])
    truth = known.restore(known.test.y)[:, 0]
    figure = Figure(figsize=(2.7 * len(settings) + 0.4, 1.5 * len(models) + 0.6), layout="constrained")
    axes = figure.subplots(len(models), len(settings), sharex=True, sharey=True, squeeze=False)
    colours = {name: colour for name, colour, _ in LINES}
    for row in rows:
        axis = axes[models.index(row["model"]), settings.index(_epochs(row))]
        axis.plot(known.test.times, truth, color="black", linewidth=0.8)
        axis.plot(known.test.times, row["forecast"], color=colours[row["model"]], linewidth=1.4)
        axis.text(0.98, 0.96, f"MSE {row['test_mse']:.1e}", transform=axis.transAxes, ha="right", va="top", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_ylim(1.15 * truth.min().item(), 1.5 * truth.max().item())
    for axis, epochs in zip(axes[0], settings, strict=True):
        axis.set_title(f"{epochs} epoch{'s' if epochs > 1 else ''}", fontsize=10)
    for axis, name in zip(axes[:, 0], models, strict=True):
        size = next(row["parameters"] for row in rows if row["model"] == name)
        axis.set_ylabel(f"{name}\n{size} parameters", fontsize=8)
    figure.supxlabel(f"{title(rows[0]['task'])}: time, test part; black: truth", fontsize=10)
    figure.savefig(path, dpi=130)


def _epochs(row: dict) -> int:
    return int(row["setting"].rpartition(", ")[2].split()[0])
