"""What a benchmark shows and keeps: tables for the terminal, Markdown and JSON from the same rows, and progress."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from benchmarks.provenance import provenance


@dataclass(frozen=True)
class Table:
    """A table of texts with a title; the first column is left-aligned, the others right-aligned."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def rich(self) -> RichTable:
        """For the terminal."""
        table = RichTable(title=self.title, title_justify="left")
        for position, column in enumerate(self.columns):
            table.add_column(column, justify="right" if position else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """For a report."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(line)} |" for line in lines)])


def progress_bars(console: Console) -> Progress:
    """Bars for the parts of a benchmark, gone through one after the other."""
    columns = (TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


class Results:
    """Rows of one run as lines of JSON, on disk as soon as they are known: what was measured survives an interruption.

    The first row of a new run does not overwrite those of an older one: their file becomes `<name>.bak` before, or
    `<name>.bak1` and so on where there is one. Numbers that are not finite, which JSON does not have, are null in the
    file, and numbers again when it is loaded.

    One run writes a file at a time: if another one has moved it or added to it, the next row is refused.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._known = False
        self._left: tuple[int, int] | None = None

    def add(self, **row: Any) -> None:
        """Append a row, with its commit and machine.

        Raises:
            RuntimeError: If another run writes the same file.
        """
        row |= provenance()
        line = _packed(row)
        if not self._known:
            self._put_aside()
        elif _state(self.path) != self._left:
            raise RuntimeError(f"Another run writes {self.path}, too: let it end and then --resume, or take --json.")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
        self.rows.append(row)
        self._known, self._left = True, _state(self.path)

    def _put_aside(self) -> None:
        if self.path.exists():
            names = (self.path.with_name(f"{self.path.name}.bak{number or ''}") for number in count())
            backup = next(name for name in names if not name.exists())
            self.path.replace(backup)
            Console().print(f"The rows of an older run are kept in {backup}.")

    def drop(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Forget rows, in the file too."""
        if rows:
            self.rows = [row for row in self.rows if row not in rows]
            self.save(self.path)
            self._left = _state(self.path)

    def save(self, path: Path) -> None:
        """Write the rows to a file, whole or not at all."""
        write(path, "".join(map(_packed, self.rows)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Results of an earlier run, which new rows join; a last line that was cut off is forgotten.

        Raises:
            ValueError: If another line is not that of a row.
        """
        results = cls(path)
        *lines, rest = path.read_text(encoding="utf-8").split("\n")
        results.rows, results._known = [_unpacked(path, *line) for line in enumerate(lines, 1)], True
        if rest:
            results.save(path)
        results._left = _state(path)
        return results

    @classmethod
    def opened(cls, path: Path, resume: bool) -> Self:
        """Results for a run, with the rows that the file has if it is resumed."""
        return cls.load(path) if resume and path.exists() else cls(path)

    def where(self, **values: Any) -> list[Mapping[str, Any]]:
        """The rows that have these values."""
        return [row for row in self.rows if all(row.get(key) == value for key, value in values.items())]


def _state(path: Path) -> tuple[int, int] | None:
    """Which file this is and how long, so that whoever left it knows whether anybody was here since."""
    if not path.exists():
        return None
    known = path.stat()
    return known.st_ino, known.st_size


INFINITE = "not_finite"
"""Column of what JSON cannot say: names and values of the columns that are null instead."""


def _packed(row: dict[str, Any]) -> str:
    """The line of a row, in which the values that are not finite are null, and beside them."""
    lost = {} if _is_json(row) else {key: json.dumps(value) for key, value in row.items() if not _is_json(value)}
    return json.dumps(row | dict.fromkeys(lost) | ({INFINITE: lost} if lost else {}), allow_nan=False) + "\n"


def _unpacked(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        lost = {key: json.loads(text) for key, text in row.get(INFINITE, {}).items()}
    except (ValueError, AttributeError):
        raise ValueError(
            f"Line {number} of {path} is not a row, but {line[:40]!r}: remove it, or run without --resume."
        ) from None
    return {key: value for key, value in (row | lost).items() if key != INFINITE}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def origin(rows: Sequence[Mapping[str, Any]]) -> str:
    """Where rows come from: all of their commits and machines, each once."""
    commits, machines = (list(dict.fromkeys(str(row[key]) for row in rows)) for key in ("commit", "machine"))
    return f"Commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}; {'; '.join(machines)}."


def at_edges(choices: Sequence[tuple[float, Sequence[float]]]) -> str:
    """How many learning rates that were chosen, beside those there were, a wider search might have changed."""
    count = sum(chosen in (min(rates), max(rates)) for chosen, rates in choices)
    return f"{count} of {len(choices)} chosen learning rates are the smallest or the largest one"


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
