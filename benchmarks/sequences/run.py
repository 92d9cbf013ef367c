"""The whole benchmark: trials on validation, then fresh seeds, several at a time, on disk when they are done."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.pool import carry_out, processors
from benchmarks.report import Results, progress_bars, write
from benchmarks.sequences.plots import plot_curves, plot_epochs
from benchmarks.sequences.report import report, tables
from benchmarks.sequences.studies import EPOCHS, QUICK, Studies, Study, followed, studies
from benchmarks.sequences.tasks import naive


def run(
    out: Path,
    seeds: int = 5,
    small: bool = False,
    folder: Path | None = None,
    file: Path | None = None,
    resume: bool = False,
    workers: int | None = None,
    chosen: Sequence[str] = (),
) -> None:
    """Write `report.md`, `results.jsonl` and pictures to `out`, and print the tables.

    Args:
        out: folder of the report.
        seeds: of every model that was chosen.
        small: whether to take seconds, for a test.
        folder: of the files of Milan's telecommunications; None for synthetic traffic.
        file: of the results, instead of `results.jsonl` in `out`.
        resume: whether rows are kept that the file has already.
        workers: trainings at a time, each on one thread; None for as many as there are processors, 0 for this process.
        chosen: keys of the studies that are carried out; none for all.

    Raises:
        ValueError: for a key that there is not.
    """
    console, path = Console(), file or out / "results.jsonl"
    results = Results.opened(path, resume)
    everything = _picked(QUICK if small else studies(folder), chosen)
    workers = processors(workers)
    with progress_bars(console) as progress:
        for study in everything:
            carry_out(f"{study.key}: trials", study.trials(folder), results, workers, progress)
            carry_out(f"{study.key}: seeds", study.finals(results, seeds, folder), results, workers, progress)
        for study in everything:
            if study.key == "papers":
                epochs = (1, 2) if small else (1, 15, 30, 100)
                carry_out(EPOCHS, followed(study, results, epochs), results, workers, progress)
    yardsticks(everything, folder, results)
    for table in tables(results):
        console.print(table.rich())
    out.mkdir(parents=True, exist_ok=True)
    plot_curves(out / "sequences.png", results)
    plot_epochs(out / "sequences_epochs.png", results)
    write(out / "report.md", report(results))
    console.print(f"Written to {out}; the rows are in {path}.")


def _picked(everything: Studies, keys: Sequence[str]) -> Studies:
    known = {study.key: study for study in everything}
    if unknown := [key for key in keys if key not in known]:
        raise ValueError(f"Argument `chosen` must name studies among {', '.join(known)}, but has {unknown}.")
    return tuple(study for key, study in known.items() if not keys or key in keys)


def yardsticks(everything: Iterable[Study], folder: Path | None, results: Results) -> None:
    """What needs no training."""
    for task in dict.fromkeys(task for study in everything for task in study.tasks):
        for name, errors in naive(task, folder).items():
            row = {"stage": "yardstick", "task": task, "model": name}
            if not results.where(**row):
                results.add(**row, parameters=0, **{f"test_{key}": value for key, value in errors.items()})
