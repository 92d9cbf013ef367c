"""What a benchmark shows and keeps: tables for the terminal, Markdown and JSON from the same rows, and progress."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """Rows of one run, on disk as soon as they are known: an interrupted run keeps what it has measured."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def add(self, **row: Any) -> None:
        """Append a row, with its commit and machine."""
        self.rows.append(row | provenance())
        write(self.path, json.dumps({"rows": self.rows}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Results of an earlier run."""
        results = cls(path)
        results.rows = json.loads(path.read_text())["rows"]
        return results

    def where(self, **values: Any) -> list[Mapping[str, Any]]:
        """The rows that have these values."""
        return [row for row in self.rows if all(row.get(key) == value for key, value in values.items())]


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
