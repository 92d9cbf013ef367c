"""The whole benchmark, goal after goal and target after target, on disk as soon as it is known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.functions.goals import EVERYTHING, reach
from benchmarks.functions.plots import plot
from benchmarks.functions.protocol import TUNING_SEEDS, Study, measure
from benchmarks.functions.report import report, tables
from benchmarks.functions.targets import BESSEL, BY_KEY, EXPONENTIAL
from benchmarks.report import Results, progress_bars, write
from benchmarks.sizes import fitting

QUICK = Study((EXPONENTIAL, BESSEL), sizes=(30, 80), points=(64, 32, 32), steps=1, tuning_steps=1, most_steps=1)


def run(
    out: Path,
    seeds: int = 5,
    small: bool = False,
    targets: Sequence[str] = (),
    file: Path | None = None,
    resume: bool = False,
) -> None:
    """Write `report.md`, `results.jsonl` and `functions.png` to `out`, and print the tables.

    Args:
        out: folder of the report.
        seeds: of models and points.
        small: whether to take seconds instead of an hour, for a test.
        targets: keys of what is compared; none for all.
        file: of the results, instead of `results.jsonl` in `out`.
        resume: whether rows are kept that the file has already.
    """
    console, study = Console(), QUICK if small else Study()
    if targets:
        study = replace(study, targets=tuple(BY_KEY[key] for key in targets))
    path = file or out / "results.jsonl"
    results = Results.opened(path, resume)
    with progress_bars(console) as progress:
        _goals(study, seeds, results, progress)
        _comparison(study, seeds, results, progress)
    for table in tables(results, study):
        console.print(table.rich())
    out.mkdir(parents=True, exist_ok=True)
    plot(out / "functions.png", results, study)
    write(out / "report.md", report(results, study, seeds))
    console.print(f"Written to {out}; the rows are in {path}.")


def _goals(study: Study, seeds: int, results: Results, progress: Progress) -> None:
    for goal in EVERYTHING:
        task = progress.add_task(f"{goal.target.key}, {goal.name}", total=seeds)
        reach(goal, study, seeds, results, lambda task=task: progress.advance(task))


def _comparison(study: Study, seeds: int, results: Results, progress: Progress) -> None:
    for target in study.targets:
        cells = [cell for cell in study.cells if cell[0] is target]
        fits = sum(len(TUNING_SEEDS) * len(fitting(family, target.inputs, size)) + seeds for _, size, family in cells)
        task = progress.add_task(target.label, total=fits)
        for _, size, family in cells:
            measure(study, target, size, family, seeds, results, lambda task=task: progress.advance(task))
