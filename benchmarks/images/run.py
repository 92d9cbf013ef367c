"""The whole benchmark of a set, head after head, on disk as soon as it is known."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.images.heads import HEADS
from benchmarks.images.report import last_settings, report, tables
from benchmarks.images.sets import SETS
from benchmarks.images.task import Task, task
from benchmarks.images.train import Budget, measure
from benchmarks.report import Results, progress_bars, write

QUICK, FEW = Budget(epochs=1, rates=(3e-3,)), 60


def run(
    out: Path,
    dataset: str = "digits",
    seeds: int = 5,
    epochs: int = 40,
    small: bool = False,
    file: Path | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> None:
    """Write `report.md` and `results.jsonl` to `out`, and print the tables.

    Args:
        out: folder of the report.
        dataset: a name in `SETS`.
        seeds: of splits and weights.
        epochs: of a training, at most.
        small: whether to take seconds, for a test.
        file: of the results, instead of `results.jsonl` in `out`.
        folder: where the data are, instead of where they are published.
        resume: whether the rows that the file has, of this set and of others, are left as they are.
    """
    console, images = Console(), SETS[dataset]
    known, test = images.load(folder)
    budget, most = (QUICK, FEW) if small else (Budget(epochs), None)
    path = file or out / "results.jsonl"
    results = Results.opened(path, resume)
    setting = _setting(task(known, test, 0, most), budget)
    with progress_bars(console) as progress:
        for head in HEADS:
            bar = progress.add_task(f"{dataset}: {head.name}", total=seeds * len(budget.rates))
            for seed in range(seeds):
                origin = {"dataset": dataset, "head": head.name, "seed": seed}
                parts = task(known, test, seed, most)
                if results.where(**origin, **setting, stage="final"):
                    progress.advance(bar, len(budget.rates))
                    continue
                results.drop(results.where(**origin, **setting))  # of a seed that was interrupted
                for row in measure(head, parts, images.classes, seed, budget, lambda bar=bar: progress.advance(bar)):
                    results.add(**origin, **row, **setting)
    settings = {**last_settings(results), dataset: setting}
    for table in tables(results, settings):
        console.print(table.rich())
    out.mkdir(parents=True, exist_ok=True)
    write(out / "report.md", report(results, settings))
    console.print(f"Written to {out}; the rows are in {path}.")


def _setting(parts: Task, budget: Budget) -> dict[str, Any]:
    """What rows of a set must agree in to be of one run."""
    counts = [len(y) for _, y in (parts.train, parts.validation, parts.test)]
    return {"images": counts, "budget": asdict(budget) | {"rates": list(budget.rates)}}
