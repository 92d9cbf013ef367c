"""The whole comparison, several searches at a time, on disk as soon as they are done."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.fair.costs import Costing
from benchmarks.fair.families import BY_NAME as FAMILY
from benchmarks.fair.families import FAMILIES
from benchmarks.fair.plots import plot
from benchmarks.fair.report import report, rows, tables
from benchmarks.fair.tasks import BY_NAME, TASKS, Task
from benchmarks.fair.tasks import QUICK as QUICK_TASKS
from benchmarks.fair.training import Budget, Search
from benchmarks.fair.yardsticks import NAMES, Yardstick
from benchmarks.pool import Job, carry_out, processors
from benchmarks.report import Results, progress_bars, write

QUICK = Budget(trials=1, epochs=2, patience=2)


def run(
    out: Path,
    seeds: int = 5,
    small: bool = False,
    folder: Path | None = None,
    file: Path | None = None,
    resume: bool = False,
    workers: int | None = None,
    keys: Sequence[str] = (),
) -> None:
    """Write `report.md`, `results.jsonl` and `fair.png` to `out`, and print the tables.

    Args:
        out: folder of the report.
        seeds: of splits, trials and weights.
        small: whether to take seconds, for a test.
        folder: of data; without it tasks that need a file are left out.
        file: of the results, instead of `results.jsonl` in `out`.
        resume: whether rows are kept that the file has already.
        workers: searches at a time, each on one thread; None for as many as there are processors, 0 for this process.
        keys: of the tasks; none for all.

    Raises:
        KeyError: for a key that there is not.
        MissingTable: if a task is asked for whose file is not there.
    """
    console, path, budget = Console(), file or out / "results.jsonl", QUICK if small else Budget()
    chosen = _chosen(keys, folder, small)
    for task in chosen:
        if task.file is not None:
            task.parts(0, folder)  # What is missing is said before anything is trained.
    results = Results.opened(path, resume)
    with progress_bars(console) as progress:
        for task in chosen:
            jobs = searches(task, seeds, budget, folder, small)
            carry_out(task.label, jobs, results, processors(workers), progress)
        # Measured here and one after the other: beside trainings in other processes a time means nothing.
        carry_out("costs", costings(results, budget), results, 0, progress)
    for table in tables(results, budget):
        console.print(table.rich())
    out.mkdir(parents=True, exist_ok=True)
    plot(out / "fair.png", results, budget)
    write(out / "report.md", report(results, budget))
    console.print(f"Written to {out}; the rows are in {path}.")


def _chosen(keys: Sequence[str], folder: Path | None, small: bool) -> list[Task]:
    if keys:
        return [BY_NAME[key] for key in keys]
    return [
        task for task in TASKS if (task.file is None or folder is not None) and (task.key in QUICK_TASKS or not small)
    ]


def searches(task: Task, seeds: int, budget: Budget, folder: Path | None, small: bool = False) -> list[Job]:
    """Every family at every size that it has a model of, and on tables what scikit-learn has."""
    jobs: list[Job] = [
        Search(task.key, family.name, size, seed, budget, folder)
        for size in task.sizes[: 1 if small else None]
        for family in FAMILIES
        if family.candidates(task.inputs, task.outputs, size)
        for seed in range(seeds)
    ]
    if task.table:
        jobs += [Yardstick(task.key, name, seed, budget, folder) for name in NAMES for seed in range(seeds)]
    return jobs


def costings(results: Results, budget: Budget) -> list[Job]:
    """Of every model that a search has chosen, of families that there still are."""
    known = [row for row in rows(results, budget) if row["model"] in FAMILY and row["task"] in BY_NAME]
    return [Costing.of(row) for row in known]
