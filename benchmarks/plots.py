"""The pictures of the quickstart."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks.series import Forecasting
from qkan import QKANLayer


def plot_forecast(path: Path, data: Forecasting, forecasts: Mapping[str, Tensor], time: str) -> None:
    """The test part and every model's forecasts: the mean over seeds as a line, their range as a band.

    Args:
        path: where the picture goes.
        data: the series.
        forecasts: model name to `(seeds, n)`, in the unit of the series.
        time: what the times of the series are, such as "year".
    """
    times, truth = data.test.times, data.restore(data.test.y)[:, 0]
    low, high = truth.min().item(), truth.max().item()
    figure = Figure(figsize=(9, 2.1 * len(forecasts) + 0.6), layout="constrained")
    axes = figure.subplots(len(forecasts), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axis, (position, (name, values)) in zip(axes, enumerate(forecasts.items()), strict=True):
        colour = f"C{position}"
        axis.plot(times, truth, color="black", linewidth=1, marker=".", markersize=4, label="truth")
        axis.fill_between(times, values.amin(0), values.amax(0), color=colour, alpha=0.3, linewidth=0)
        axis.plot(
            times, values.mean(0), color=colour, linewidth=1.5, label=f"{name}, mean and range of {len(values)} seeds"
        )
        axis.legend(loc="upper left", ncols=2, frameon=False, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_ylim(low - 0.1 * (high - low), high + 0.35 * (high - low))
    axes[len(axes) // 2].set_ylabel(data.unit)
    axes[-1].set_xlabel(time)
    figure.suptitle(f"One-step-ahead forecasts of {data.name}, test part", x=0.01, ha="left")
    _save(figure, path)


@torch.no_grad()
def plot_activations(path: Path, model: nn.Module, x: Tensor, inputs: Sequence[str], columns: int = 6) -> None:
    r"""What every edge of every QKAN layer adds to its output, over the range its input takes on `x`.

    Solid: $w f(x) + b\,\mathrm{base}(x)$; dashed: the quantum part $w f(x)$ alone. Ticks at the bottom are inputs that
    occur.

    Args:
        path: where the picture goes.
        model: holds the layers, one after the other.
        x: inputs of the first layer, `(n, in)`.
        inputs: names of the first layer's inputs.
        columns: panels in a row.
    """
    layers = [module for module in model.modules() if isinstance(module, QKANLayer)]
    rows = sum(-(-layer.in_features // columns) * layer.out_features for layer in layers)
    figure = Figure(figsize=(1.7 * columns, 1.6 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_visible(False)
    row = 0
    for depth, layer in enumerate(layers):
        grid, quantum, total = _edges(layer, x)
        limit = 1.1 * total.abs().max().item()
        for output in range(layer.out_features):
            name = (
                "output" if depth == len(layers) - 1 and layer.out_features == 1 else f"unit {depth + 1}.{output + 1}"
            )
            for feature in range(layer.in_features):
                axis = axes[row + feature // columns, feature % columns]
                axis.set_visible(True)
                axis.plot(grid[:, feature], total[:, output, feature], color=f"C{depth}", linewidth=1.6)
                axis.plot(grid[:, feature], quantum[:, output, feature], color="grey", linewidth=0.9, linestyle="--")
                axis.plot(
                    x[:, feature], torch.full_like(x[:, feature], -limit), "|", color="black", markersize=3, alpha=0.3
                )
                axis.set_ylim(-1.05 * limit, limit)
                axis.tick_params(labelsize=6, length=2, pad=1)
                axis.spines[["top", "right"]].set_visible(False)
                axis.set_title(f"{inputs[feature]} → {name}", fontsize=7, pad=2)
                if feature % columns:
                    axis.set_yticklabels([])
            row += -(-layer.in_features // columns)
        x = layer(x)
        inputs = [f"unit {depth + 1}.{output + 1}" for output in range(layer.out_features)]
    figure.suptitle("Learned activation of every edge: quantum and base (solid), quantum alone (dashed)", fontsize=9)
    _save(figure, path)


def _edges(layer: QKANLayer, x: Tensor, nodes: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    """A grid `(nodes, in)` over the range of x, and the quantum and the whole contribution there `(nodes, out, in)`."""
    low, high = x.amin(0), x.amax(0)
    grid = low + (high - low) * torch.linspace(0, 1, nodes, dtype=x.dtype)[:, None]
    quantum = layer.weight * layer.activation(grid)
    if layer.base is None or layer.base_weight is None:
        return grid, quantum, quantum
    return grid, quantum, quantum + layer.base_weight * layer.base(grid)[:, None, :]


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=130)
