"""The whole benchmark, group after group, on disk as soon as it is known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.report import Results, progress_bars, write
from benchmarks.speed.cases import Case, LayerCase
from benchmarks.speed.contestants import peers_python
from benchmarks.speed.groups import TRAINABLE, UNIT, Group, everything, quick
from benchmarks.speed.plots import plot_sweeps
from benchmarks.speed.process import Limits
from benchmarks.speed.race import NOT_RUN, Contestant, race
from benchmarks.speed.report import report, tables

MOST_SECONDS, MOST_GIB = 6.0, 8.0
"""Where a contestant leaves a sweep."""


def run(
    out: Path,
    peers: bool = False,
    small: bool = False,
    rounds: int = 5,
    file: Path | None = None,
    resume: bool = False,
    groups: Sequence[Group] | None = None,
) -> None:
    """Write `report.md`, `results.jsonl` and, if there are sweeps, `speed.png` to `out`, and print the tables.

    Args:
        out: folder of the report.
        peers: whether others take part, from their own environment.
        small: whether to take seconds instead of hours, for a test.
        rounds: in each of which everybody is timed once.
        file: of the results, instead of `results.jsonl` in `out`.
        resume: whether cases that the file has already are left as they are.
        groups: what to run; None for everything.
    """
    console, seconds = Console(), 0.02 if small else 0.2
    if groups is None:
        groups = (quick if small else everything)(peers_python() if peers else None)
    path = file or out / "results.jsonl"
    results = Results.opened(path, resume)
    with progress_bars(console) as progress:
        for group in groups:
            task = progress.add_task(group.name, total=len(group.cases))
            for case in _measure(group, rounds, seconds, results):
                progress.update(task, description=f"{group.name}: {case.label}", advance=1)
    for table in tables(results):
        console.print(table.rich())
    out.mkdir(parents=True, exist_ok=True)
    write(out / "report.md", report(results, seconds))
    if any(group.axis for group in groups):
        plot_sweeps(out / "speed.png", results)
    console.print(f"Written to {out}; the rows are in {path}.")


def _measure(group: Group, rounds: int, seconds: float, results: Results) -> Iterator[Case]:
    """Race in all cases whose rows are not there yet, each of which is handed out when it is done."""
    leaving: dict[str, str] = {}
    for case, following in zip_longest(group.cases, group.cases[1:]):
        rows = results.where(group=group.name, label=case.label)
        if {row["contestant"] for row in rows} != {contestant.name for contestant in group.contestants}:
            results.drop(rows)
            contestants = [_leaving(contestant, leaving.get(contestant.name)) for contestant in group.contestants]
            rows = race(case, contestants, min(rounds, group.rounds), seconds, Limits.of_this_machine())
            origin = _origin(group, case)
            for row in rows:
                results.add(**origin, **row)
        if group.axis and isinstance(case, LayerCase) and isinstance(following, LayerCase):
            leaving |= _too_slow(rows, following.work / case.work)
        yield case


def _origin(group: Group, case: Case) -> dict[str, Any]:
    """What a row says beside what was measured."""
    variant = {True: TRAINABLE, False: UNIT}[case.trainable] if isinstance(case, LayerCase) else None
    origin = {"group": group.name, "axis": group.axis, "variant": variant, "label": case.label}
    return origin | {"seed": case.spec()["seed"], "case": case.spec()}


def _leaving(contestant: Contestant, reason: str | None) -> Contestant:
    return contestant if reason is None else replace(contestant, refuse=lambda case: reason)


def _too_slow(rows: Sequence[Mapping[str, Any]], growth: float) -> dict[str, str]:
    """Who leaves before the next case of a sweep, which is `growth` times the work, and why."""
    leaving = {}
    for row in rows:
        if row["reason"] is not None and row["reason"].startswith(NOT_RUN):
            leaving[row["contestant"]] = row["reason"].removeprefix(NOT_RUN)
        elif row["step_ms"]:
            seconds, gib = growth * median(row["step_ms"]) / 1e3, growth * (row["peak_mib"] or 0.0) / 1024
            if seconds > MOST_SECONDS or gib > MOST_GIB:
                leaving[row["contestant"]] = f"a step would take about {seconds:.0f} s and {gib:.0f} GiB"
    return leaving
