"""The whole benchmark, fold after fold, on disk as soon as it is known."""

from pathlib import Path

from rich.console import Console

from benchmarks.report import Results, progress_bars, write
from benchmarks.selectors.protocol import Study, measure
from benchmarks.selectors.rankings import SELECTORS
from benchmarks.selectors.report import report, tables
from benchmarks.selectors.sets import SETS

QUICK = Study(sets=("wine", "diabetes"), folds=2, epochs=1, trees=3)


def run(out: Path, seeds: int = 5, small: bool = False, file: Path | None = None, resume: bool = False) -> None:
    """Write `report.md` and `results.jsonl` to `out`, and print the tables.

    Args:
        out: folder of the report.
        seeds: of splits, networks and predictors.
        small: whether to take seconds, for a test.
        file: of the results, instead of `results.jsonl` in `out`.
        resume: whether the folds that the file has are left as they are.
    """
    console, study = Console(), QUICK if small else Study()
    path = file or out / "results.jsonl"
    results = Results.opened(path, resume)
    with progress_bars(console) as progress:
        for name in study.sets:
            bar = progress.add_task(name, total=seeds * study.folds * len(SELECTORS))
            for seed in range(seeds):
                for fold in range(study.folds):
                    place = {"dataset": name, "seed": seed, "fold": fold, **study.setting}
                    if results.where(**place):
                        progress.advance(bar, len(SELECTORS))
                        continue
                    found = measure(study, SETS[name], seed, fold, lambda bar=bar: progress.advance(bar))
                    results.add(**place, **found)
    for table in tables(results, study):
        console.print(table.rich())
    out.mkdir(parents=True, exist_ok=True)
    write(out / "report.md", report(results, study))
    console.print(f"Written to {out}; the rows are in {path}.")
