"""The whole benchmark, family after family, on disk as soon as it is known."""

from pathlib import Path

from rich.console import Console

from benchmarks.language.data import MissingText, Text, read, synthetic
from benchmarks.language.families import FAMILIES
from benchmarks.language.plots import plot
from benchmarks.language.report import report, tables
from benchmarks.language.train import QUICK, RATES, Budget, measure, setting, tune
from benchmarks.report import Results, progress_bars, write


def run(
    out: Path,
    seeds: int = 5,
    small: bool = False,
    folder: Path | None = None,
    file: Path | None = None,
    resume: bool = False,
) -> None:
    """Write `report.md`, `results.jsonl` and `language.png` to `out`, and print the tables.

    Args:
        out: folder of the report.
        seeds: of every family.
        small: whether to take seconds, for a test; then there need not be a text.
        folder: where the text is.
        file: of the results, instead of `results.jsonl` in `out`.
        resume: whether trainings that the file has already are left as they are.
    """
    budget = QUICK if small else Budget()
    text, console, path = _text(folder, small, budget), Console(), file or out / "results.jsonl"
    results = Results.opened(path, resume)
    of_this_run = setting(text, budget)
    with progress_bars(console) as progress:
        for family in FAMILIES:
            task = progress.add_task(family, total=len(RATES) + seeds)
            rate = tune(family, text, budget, results, lambda task=task: progress.advance(task))
            for seed in range(seeds):
                measure("final", family, rate, seed, text, budget, results)
                progress.advance(task)
    for table in tables(results, of_this_run):
        console.print(table.rich())
    out.mkdir(parents=True, exist_ok=True)
    plot(out / "language.png", results, of_this_run)
    write(out / "report.md", report(results, of_this_run))
    console.print(f"Written to {out}; the rows are in {path}.")


def _text(folder: Path | None, small: bool, budget: Budget) -> Text:
    if folder is None and not small:
        raise MissingText("There is no text to learn: give --data-dir, a folder with tinyshakespeare.txt, or --quick.")
    text = synthetic() if folder is None else read(folder)
    if min(len(text.train), len(text.validation), len(text.test)) < budget.context:
        raise MissingText(f"The text is too short: 5 % of it must be {budget.context} characters or more.")
    return text
