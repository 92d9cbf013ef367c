"""Telecommunication activity in Milan, from the official files of the Telecom Italia Big Data Challenge."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.series.series import Series

COLUMNS = ("square", "interval", "country", "sms_in", "sms_out", "call_in", "call_out", "internet")
"""Separated by tabs; the interval is its start, in milliseconds since 1970 UTC."""

ACTIVITIES = COLUMNS[3:]
PATTERN = "sms-call-internet-mi-????-??-??.txt"
INTERVAL = 600_000
"""Milliseconds: ten minutes."""

SOURCE = "Telecom Italia, Telecommunications - SMS, Call, Internet - MI, 2015, doi:10.7910/DVN/EGZHFV"


def milan(folder: Path, squares: Sequence[int], activity: str = "internet", minutes: int = 60) -> dict[int, Series]:
    """The activity in squares of Milan's grid, over all days whose files are in the folder.

    A row of a file is a square, ten minutes and a country; countries are summed. An empty cell, or no row for a square
    at a time that other squares have, is activity too small to be recorded, 0. Times are UTC, an hour behind Milan's
    winter; one season is a week. Lines of squares that are not asked for are checked for their columns and time only.

    Args:
        folder: of the files `sms-call-internet-mi-YYYY-MM-DD.txt`, as they are published, unpacked.
        squares: numbers from 1 to 10,000.
        activity: one of sms_in, sms_out, call_in, call_out, internet.
        minutes: of a step, 10 or 60.

    Returns:
        A series for each square.

    Raises:
        FileNotFoundError: if there are no such files.
        ValueError: if a line is malformed, with file and line; if no square has a row for some ten minutes between the
            first and the last; or if a square is in no file.

    Reference: G. Barlacchi et al., A multi-source dataset of urban life in the city of Milan and the Province of
    Trentino, Scientific Data 2, 150055 (2015).
    """
    if activity not in ACTIVITIES:
        raise ValueError(f"Argument `activity` must be one of {', '.join(ACTIVITIES)}, but is {activity!r}.")
    if minutes not in (10, 60):
        raise ValueError(f"Argument `minutes` must be 10 or 60, but is {minutes!r}.")
    files = sorted(Path(folder).glob(PATTERN))
    if not files:
        raise FileNotFoundError(
            f"There are no files sms-call-internet-mi-YYYY-MM-DD.txt in {folder}: get them from doi:10.7910/DVN/EGZHFV."
        )
    records = _Records(frozenset(squares), COLUMNS.index(activity))
    for file in files:
        records.read(file)
    first, count = _span(records.intervals)
    return {square: _series(records, square, activity, minutes, first, count) for square in squares}


@dataclass
class _Records:
    """What has been read: the activity of each chosen square by interval, and the intervals of all squares."""

    squares: Collection[int]
    column: int
    activity: dict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))
    intervals: set[int] = field(default_factory=set)

    def read(self, path: Path) -> None:
        names = {str(square): square for square in self.squares}
        intervals: dict[str, int] = {}
        with path.open(encoding="ascii", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    cells = _cells(line)
                    if cells[1] not in intervals:  # files have millions of lines, and 144 intervals
                        intervals[cells[1]] = _interval(cells[1])
                    if (square := names.get(cells[0])) is not None:
                        self.activity[square][intervals[cells[1]]] += _value(cells[self.column])
                except ValueError as error:
                    raise ValueError(f"{path}, line {number}: {error}") from None
        self.intervals.update(intervals.values())


def _cells(line: str) -> list[str]:
    cells = line.rstrip("\r\n").split("\t")
    if len(cells) != len(COLUMNS):
        raise ValueError(f"it must have {len(COLUMNS)} columns between tabs, but has {len(cells)}.")
    return cells


def _interval(text: str) -> int:
    interval = int(text) if text.isdecimal() else -1
    if interval < 0 or interval % INTERVAL:
        raise ValueError(f"its interval must be ten minutes, in milliseconds since 1970, but is {text!r}.")
    return interval


def _value(text: str) -> float:
    if not text:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"its activity must be a number that is not negative, or empty, but is {text!r}.")
    return value


def _span(intervals: Iterable[int]) -> tuple[int, int]:
    """The first interval and how many there are, if none is missing."""
    ordered = sorted(intervals)
    if not ordered:
        raise ValueError("The files must have lines, but all are empty.")
    for before, after in pairwise(ordered):
        if after - before != INTERVAL:
            raise ValueError(
                f"Between {_time(before)} and {_time(after)} UTC, {(after - before) // INTERVAL - 1} intervals of ten "
                "minutes are missing: put the files of all days from first to last into the folder."
            )
    return ordered[0], len(ordered)


def _series(records: _Records, square: int, activity: str, minutes: int, first: int, count: int) -> Series:
    if square not in records.activity:
        raise ValueError(f"Square {square} is in no file: squares of Milan have numbers from 1 to 10000.")
    values = np.zeros(count)
    for interval, value in records.activity[square].items():
        values[(interval - first) // INTERVAL] = value
    steps = minutes * 60_000 // INTERVAL
    if first % (minutes * 60_000) or count % steps:
        last = _time(first + (count - 1) * INTERVAL)
        raise ValueError(f"The files must begin and end with an hour, but go from {_time(first)} to {last} UTC.")
    times = _time(first) + np.arange(count // steps) * np.timedelta64(minutes, "m")
    name = f"Milan, square {square}, {activity}"
    return Series(name, "activity", values.reshape(-1, steps).sum(-1), times, SOURCE, season=7 * 24 * 60 // minutes)


def _time(interval: int) -> np.datetime64:
    return np.datetime64(interval // 60_000, "m")
