"""Trainings, several at a time, whose rows are on disk when they are done."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, Protocol

import torch
from rich.progress import Progress

from benchmarks.report import Results


class Job(Protocol):
    """What makes rows in a process of its own, which it can be sent to."""

    @property
    def row(self) -> Mapping[str, Any]:
        """What its rows are known by."""
        ...

    def run(self) -> Sequence[Mapping[str, Any]]:
        """The rows."""
        ...


def processors(workers: int | None) -> int:
    """Jobs at a time: as many as there are processors, if nobody says."""
    return (os.cpu_count() or 1) if workers is None else workers


def carry_out(label: str, jobs: Sequence[Job], results: Results, workers: int, progress: Progress) -> None:
    """Add the rows of those jobs that are not known; with 0 workers in this process."""
    missing = [job for job in jobs if not results.where(**job.row)]
    task = progress.add_task(label, total=len(jobs), completed=len(jobs) - len(missing))
    for rows in _done(missing, workers):
        for row in rows:
            results.add(**row)
        progress.advance(task)


def _done(jobs: Sequence[Job], workers: int) -> Iterator[Sequence[Mapping[str, Any]]]:
    if not workers:
        yield from map(_run, jobs)
        return
    # Not a fork, which may inherit a lock that a thread of torch holds.
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        try:
            yield from (each.result() for each in as_completed([pool.submit(_run, job) for job in jobs]))
        finally:
            # After an error, or Ctrl-C, nobody would put down what the others do for hours.
            pool.shutdown(wait=False, cancel_futures=True)


def _run(job: Job) -> Sequence[Mapping[str, Any]]:
    return job.run()
