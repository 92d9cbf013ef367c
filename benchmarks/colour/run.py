"""The whole benchmark, seed after seed, on disk as soon as it is known."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from benchmarks.colour.matchers import LIGHT, MATCHERS
from benchmarks.colour.report import report, tables
from benchmarks.colour.task import Sizes, Task, tasks
from benchmarks.colour.train import Budget, measure, measure_few
from benchmarks.report import Results, progress_bars, write

QUICK = Sizes(train=4, validation=2, test=2, few=2, side=12), Budget(steps=2, batch=2, rates=(3e-3,), tuning_steps=1)


def run(out: Path, seeds: int = 5, small: bool = False, file: Path | None = None, resume: bool = False) -> None:
    """Write `report.md` and `results.jsonl` to `out`, and print the tables.

    Args:
        out: folder of the report.
        seeds: of scenes, cameras, weights and batches.
        small: whether to take seconds, for a test.
        file: of the results, instead of `results.jsonl` in `out`.
        resume: whether the rows that the file has are left as they are.
    """
    console = Console()
    sizes, budget = QUICK if small else (Sizes(), Budget())
    path = file or out / "results.jsonl"
    results = Results.opened(path, resume)
    setting = _setting(sizes, budget)
    with progress_bars(console) as progress:
        bars = {
            each.name: progress.add_task(each.name, total=seeds * (len(budget.rates) if each.trained else 1))
            for each in MATCHERS
        }
        for seed in range(seeds):
            many, few = tasks(seed, sizes)
            for matcher in MATCHERS:
                origin = {"task": "pairs", "model": matcher.name, "seed": seed}
                needed = matcher is LIGHT and not _known(results, {"task": "few pairs", "seed": seed}, setting)
                if _known(results, origin, setting) and not needed:
                    progress.advance(bars[matcher.name], len(budget.rates) if matcher.trained else 1)
                    continue
                _forget(results, origin | setting)
                rows, model = measure(matcher, many, seed, budget, lambda bar=bars[matcher.name]: progress.advance(bar))
                for row in rows:
                    results.add(**origin, engine=matcher.engine, **row, **setting)
                if matcher is LIGHT:
                    _few(results, model, few, seed, budget, setting)
    for table in tables(results, setting):
        console.print(table.rich())
    out.mkdir(parents=True, exist_ok=True)
    write(out / "report.md", report(results, setting))
    console.print(f"Written to {out}; the rows are in {path}.")


def _few(results: Results, light: nn.Module, task: Task, seed: int, budget: Budget, setting: dict[str, Any]) -> None:
    origin = {"task": "few pairs", "seed": seed}
    _forget(results, origin | setting)
    for row in measure_few(light, task, budget):
        results.add(**origin, engine=LIGHT.engine, **row, **setting)


def _known(results: Results, origin: dict[str, Any], setting: dict[str, Any]) -> bool:
    return bool(results.where(**origin, **setting, stage="final"))


def _forget(results: Results, values: dict[str, Any]) -> None:
    """Rows of a seed that was interrupted."""
    stale = results.where(**values)
    results.drop(stale)


def _setting(sizes: Sizes, budget: Budget) -> dict[str, Any]:
    """What rows must agree in to be of one run, as the file has it."""
    rates = {"rates": list(budget.rates), "tuning_rates": list(budget.tuning_rates)}
    return {"sizes": asdict(sizes), "budget": asdict(budget) | rates}
