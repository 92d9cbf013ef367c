"""The whole benchmark, stage after stage, on disk as soon as it is known."""

from pathlib import Path

from rich.console import Console

from benchmarks.nisq import gradients, rates
from benchmarks.nisq.devices import BACKENDS, SHOTS, Device, agreement, evaluate
from benchmarks.nisq.plots import plot
from benchmarks.nisq.report import report, tables
from benchmarks.nisq.task import RATES, WAYS, task, trained
from benchmarks.report import Results, progress_bars, write


def run(out: Path, seeds: int = 5, epochs: int = 1000, small: bool = False, file: Path | None = None) -> None:
    """Write `report.md`, `results.jsonl` and `nisq.png` to `out`, and print the tables.

    Args:
        out: folder of the report.
        seeds: of models.
        epochs: of training, at most.
        small: whether to take seconds, for a test.
        file: of the results, instead of `results.jsonl` in `out`.
    """
    console = Console()
    results = Results(file or out / "results.jsonl")
    data = task(*(32, 32, 32) if small else ())
    shots = SHOTS[:2] if small else SHOTS
    devices = [Device(name) for name in BACKENDS]
    models = {}
    with progress_bars(console) as progress:
        for way in WAYS:
            bar = progress.add_task(f"train, {way}", total=len(RATES) + seeds)
            models[way] = trained(
                way, devices[-1].noise, data, seeds, epochs, results, lambda bar=bar: progress.advance(bar)
            )
        bar = progress.add_task("evaluate on devices", total=len(WAYS) * seeds)
        evaluate(models, devices, data, shots, results, lambda: progress.advance(bar))
        agreement(devices, results)
        rounds = 1 if small else 5
        racing = progress.add_task("circuits a second", total=rounds + 1)
        rates.race(devices, rounds, 100 if small else 1, results, lambda: progress.advance(racing))
        comparing = progress.add_task("gradients", total=len(gradients.RULES) * len(gradients.BUDGETS))
        gradients.compare(results, 5 if small else 200, lambda: progress.advance(comparing))
    for table in tables(results):
        console.print(table.rich())
    plot(out / "nisq.png", results)
    write(out / "report.md", report(results, seeds, epochs))
    console.print(f"Written to {out}: report.md, results.jsonl, nisq.png.")
