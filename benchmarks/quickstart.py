"""Sunspots: a QKAN, an MLP and an LSTM under one protocol, then the trained QKAN on every engine."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from statistics import mean, median, stdev
from time import perf_counter

import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.plots import plot_activations, plot_forecast
from benchmarks.protocol import PATIENCE, RATES, TUNING_SEEDS, Family, predict, rmse, train, tune
from benchmarks.provenance import ran_on
from benchmarks.report import Results, Table, at_edges, origin, progress_bars, write
from benchmarks.series import Forecasting, forecasting, sunspots
from circuits import engines, pz
from circuits.calibration import fake_backend, samplers_of
from circuits.engines import Engine
from classical import LSTM, MLP
from qkan import QKAN, set_engine


def _qkan(*hidden: int, base: str) -> Callable[[int], nn.Module]:
    # One activation a unit, shared by the unit's inputs: a window has one physical quantity, seen at several lags.
    return lambda window: QKAN([window, *hidden, 1], circuit=pz(3), base=base, share="in", dtype=torch.float64)


def _mlp(size: int, activation: str) -> Callable[[int], nn.Module]:
    return lambda window: MLP([window, size, 1], activation=activation, dtype=torch.float64)


def _lstm(*sizes: int) -> Callable[[int], nn.Module]:
    return lambda window: nn.Sequential(nn.Unflatten(-1, (window, 1)), LSTM([1, *sizes, 1], dtype=torch.float64))


WINDOW = 12
"""Years that a forecast sees."""

BASES = ("silu", "identity")
LSTM_SIZES = ((4,), (8,), (16,), (32,), (8, 8), (16, 16))

FAMILIES = (
    Family(
        "QKAN",
        {
            f"{sum(hidden)} hidden, {base} base": _qkan(*hidden, base=base)
            for hidden in ((), (2,), (4,))
            for base in BASES
        },
    ),
    Family("MLP", {f"{size} hidden, {name}": _mlp(size, name) for size in (4, 8, 16) for name in ("silu", "tanh")}),
    Family("LSTM", {f"{'+'.join(map(str, sizes))} hidden": _lstm(*sizes) for sizes in LSTM_SIZES}),
)


def _manila(corrected: bool) -> Engine:
    """All five qubits of FakeManilaV2 side by side, on Aer with the noise of its calibration."""
    backend = fake_backend("FakeManilaV2")
    return engines.get(
        "sampler",
        sampler=samplers_of(backend),
        backend=backend,
        shots=4096,
        qubits="all",
        readout_correction=corrected,
        seed=0,
    )


DESTINATIONS: Mapping[str, tuple[Callable[[], Engine], int]] = {
    "ours, dense matrices": (lambda: engines.get("reference"), 3),
    "ours, state vector": (lambda: engines.get("statevector"), 3),
    "ours, Bloch vector": (lambda: engines.get("bloch"), 3),
    "PennyLane default.qubit": (lambda: engines.get("pennylane"), 3),
    "Qiskit Aer, exact": (lambda: engines.get("qiskit"), 3),
    "Qiskit Aer, 4096 shots": (lambda: engines.get("qiskit", shots=4096, seed=0), 3),
    "FakeManilaV2, 4096 shots, raw": (lambda: _manila(corrected=False), 0),
    "FakeManilaV2, 4096 shots, corrected": (lambda: _manila(corrected=True), 0),
}
"""Where the trained QKAN is carried: a label, what makes the engine, and how often it is timed when warm. The first one
is what others meet."""


def run(out: Path, seeds: int = 5, epochs: int = 1000) -> None:
    """Write `report.md`, `results.jsonl`, `forecast.png` and `activations.png` to `out`, and print the tables.

    `results.jsonl` grows row by row, so that an interrupted run keeps what it has measured.
    """
    console = Console()
    data = forecasting(sunspots(), WINDOW)
    results = Results(out / "results.jsonl")
    trained: dict[str, list[nn.Module]] = {}
    with progress_bars(console) as progress:
        for family in FAMILIES:
            tuning = progress.add_task(f"{family.name}: tune on the validation part", total=len(family.trials))
            variant, rate = tune(family, data, epochs, results, lambda task=tuning: progress.advance(task))
            training = progress.add_task(f"{family.name}: train {seeds} seeds", total=seeds)
            trained[family.name] = []
            for seed in range(seeds):
                trained[family.name].append(train(family, variant, rate, seed, data, epochs, results))
                progress.advance(training)
        rows = results.where(stage="final", model="QKAN")
        seed = min(range(seeds), key=lambda index: rows[index]["validation_rmse"])
        model = trained["QKAN"][seed]
        carrying = progress.add_task("carry a QKAN to every engine", total=len(DESTINATIONS))
        carry(model, seed, data, results, lambda: progress.advance(carrying))
    yardsticks(data, results)

    for table in tables(results):
        console.print(table.rich())
    forecasts = {name: torch.stack([predict(m, data.test, data) for m in models]) for name, models in trained.items()}
    plot_forecast(out / "forecast.png", data, forecasts, time="year")
    lags = [f"{WINDOW - position} years ago" for position in range(WINDOW - 1)] + ["last year"]
    plot_activations(out / "activations.png", model, data.train.x, lags)
    write(out / "report.md", report(data, results, seeds, epochs))
    console.print(f"Written to {out}: report.md, results.jsonl, forecast.png, activations.png.")


def carry(model: nn.Module, seed: int, data: Forecasting, results: Results, advance: Callable[[], None]) -> None:
    """Evaluate the test part with one trained QKAN on every engine, its parameters unchanged."""
    expected: Tensor | None = None
    for label, (engine, calls) in DESTINATIONS.items():
        carried = set_engine(deepcopy(model), engine())
        output, seconds = _timed(carried, data.test.x, calls)
        expected = output if expected is None else expected
        results.add(
            stage="engine",
            model="QKAN",
            destination=label,
            engine=ran_on(carried),
            seed=seed,
            difference=(output - expected).abs().max().item(),
            test_rmse=(output - data.test.y).square().mean().sqrt().item() * data.scale.spread,
            seconds=seconds,
        )
        advance()


@torch.no_grad()
def _timed(model: nn.Module, x: Tensor, calls: int) -> tuple[Tensor, float]:
    """The output, and the median time of more calls, when everything is built; of the first one if there are none."""
    start = perf_counter()
    output = model(x)
    seconds = [perf_counter() - start]
    for _ in range(calls):
        start = perf_counter()
        model(x)
        seconds.append(perf_counter() - start)
    return output, median(seconds[1:] or seconds)


def yardsticks(data: Forecasting, results: Results) -> None:
    """What needs no training loop: the last value again, and linear autoregression by least squares."""
    x, y = (nn.functional.pad(data.train.x, (0, 1), value=1.0), data.train.y)
    coefficients = torch.linalg.lstsq(x, y).solution
    for name, parameters, model in (
        ("last value", 0, lambda x: x[:, -1:]),
        ("linear autoregression", len(coefficients), lambda x: nn.functional.pad(x, (0, 1), value=1.0) @ coefficients),
    ):
        error = rmse(model, data.test, data)
        results.add(stage="yardstick", model=name, seed=None, engine="torch", parameters=parameters, test_rmse=error)


def tables(results: Results) -> list[Table]:
    """What a run has found."""
    return [accuracy_table(results), engine_table(results)]


def accuracy_table(results: Results) -> Table:
    """Parameters, test error and training time of every model."""
    lines = []
    for family in FAMILIES:
        rows = results.where(stage="final", model=family.name)
        errors, seconds = [row["test_rmse"] for row in rows], [row["seconds"] for row in rows]
        spread = f"{stdev(errors):.2f}" if len(errors) > 1 else "-"
        validation = mean(row["validation_rmse"] for row in rows)
        chosen = f"{rows[0]['variant']}, lr {rows[0]['lr']:g}"
        lines.append(
            [
                family.name,
                chosen,
                str(rows[0]["parameters"]),
                f"{validation:.2f}",
                f"{mean(errors):.2f}",
                spread,
                f"{mean(seconds):.1f}",
            ]
        )
    for row in results.where(stage="yardstick"):
        lines.append([row["model"], "-", str(row["parameters"]), "-", f"{row['test_rmse']:.2f}", "-", "-"])
    columns = ["model", "chosen on validation", "parameters", "validation RMSE", "test RMSE", "std", "seconds a seed"]
    return Table("Next year's sunspot number", columns, lines)


def engine_table(results: Results) -> Table:
    """Largest difference to the reference and test error of one QKAN on every engine."""
    rows = results.where(stage="engine")
    lines = [
        [row["destination"], f"{row['difference']:.1e}", f"{row['test_rmse']:.4f}", f"{row['seconds']:.3f}"]
        for row in rows
    ]
    title = f"The QKAN of seed {rows[0]['seed']} on every engine"
    return Table(title, ["engine", "largest difference to the first", "test RMSE", "seconds, warm"], lines)


def report(data: Forecasting, results: Results, seeds: int, epochs: int) -> str:
    """The Markdown report."""
    years = " and ".join(
        f"{name} {part.times[0]}-{part.times[-1]}"
        for name, part in (("train", data.train), ("validation", data.validation), ("test", data.test))
    )
    edges = at_edges([(results.where(stage="final", model=family.name)[0]["lr"], RATES) for family in FAMILIES])
    return f"""# Quickstart: yearly sunspots

Forecast of the next year from the last {WINDOW}. Targets: {years}; the scale is fitted on the training
years. Full-batch Adam, at most {epochs} epochs, early stopping after {PATIENCE} epochs without a better validation
error. Each model's variant and learning rate (of {", ".join(f"{rate:g}" for rate in RATES)}) are chosen on the
validation part from {len(FAMILIES[0].trials)} trials, as many for each model, with {len(TUNING_SEEDS)} seeds of their
own ({edges}); then {seeds} seeds are trained anew and see the test part once. The QKANs have pz(3) circuits, one a
unit, shared by its inputs. Parameters are counted by one rule, trainable scalars. RMSE is in sunspot numbers. It is one
split of one series: differences of a standard deviation mean little.

{accuracy_table(results).markdown()}

![Forecasts](forecast.png)

{engine_table(results).markdown()}

Differences are of the standardised output. The exact engines agree to rounding; shots scatter as measurements do.

![The learned activation of every edge](activations.png)

{origin(results.rows)}
"""
