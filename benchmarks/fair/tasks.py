"""What is learned: functions, tables and small images, split, scaled by the training part, and how errors are told."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit
from torch import Tensor
from torch.nn import functional

from benchmarks.functions.targets import BY_KEY

Part = tuple[Tensor, Tensor]

Loss = Callable[[Tensor, Tensor], Tensor]

Load = Callable[..., Any]
"""A loader of scikit-learn."""

F64 = torch.float64


class MissingTable(Exception):
    """A file that a task needs is not there."""


@dataclass(frozen=True)
class Table:
    """Samples that are split anew for every seed.

    Args:
        x: `(n, features)`.
        y: `(n,)`: numbers, or numbers of classes.
        groups: `(n,)`: samples of a group stay together, so that none of them is tested on its twin.
    """

    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Parts:
    """What a seed trains on, chooses by and is tested on; inputs and numbers standardised by the training part.

    Args:
        train: inputs `(n, features)` and targets: `(n, 1)` or classes `(n,)`.
        validation: the same.
        test: the same.
        unit: what an error of 1 is in the unit of the task.
    """

    train: Part
    validation: Part
    test: Part
    unit: float


@dataclass(frozen=True)
class Task:
    """What is learned.

    Args:
        key: names it in rows and on the command line.
        label: what it is, for people.
        metric: what an error is.
        inputs: features of a sample.
        outputs: classes, or 1 for a number.
        sizes: parameters at most.
        parts: from a seed and the folder of files to the parts.
        loss: what training makes small.
        error: from outputs and targets to the error, in units of `Parts.unit`.
        file: what must be in the folder of data; None for nothing.
    """

    key: str
    label: str
    metric: str
    inputs: int
    outputs: int
    sizes: tuple[int, ...]
    parts: Callable[[int, Path | None], Parts] = field(repr=False)
    loss: Loss = functional.mse_loss
    error: Loss = field(default=lambda outputs, targets: functional.mse_loss(outputs, targets).sqrt())
    file: str | None = None

    @property
    def table(self) -> bool:
        """Whether samples are rows of a table, rather than points of a function."""
        return self.key not in BY_KEY

    @property
    def overlap(self) -> float:
        """Samples that are tested over those that are learned from, where both are drawn from the same few anew."""
        return FRACTIONS[2] / (1 - FRACTIONS[2]) if self.table else 0.0


FRACTIONS = (0.6, 0.2, 0.2)
"""Of a table for training, validation and test."""

LIMIT = 5.0
"""Deviations to which inputs of tables are clamped, the same for all: an element that few alloys have is farther."""

POINTS = (600, 200, 1000)
"""Of a function for training, validation and test."""


def _function(key: str, seed: int, _: Path | None) -> Parts:
    """Uniform points of the box, drawn anew for each part."""
    parts = [BY_KEY[key].sample(size, 3 * seed + number) for number, size in enumerate(POINTS)]
    centre, spread = parts[0][1].mean(), parts[0][1].std()
    train, validation, test = ((x, (y - centre) / spread) for x, y in parts)
    return Parts(train, validation, test, unit=1.0)


def _rows(table: Table, seed: int, classes: bool) -> list[np.ndarray]:
    """Row numbers of the parts; those of classes have equal fractions of each, the others keep groups together."""
    _, held_out, test = FRACTIONS
    split = StratifiedShuffleSplit if classes else GroupShuffleSplit
    rows, known = np.arange(len(table.y)), []
    for number, fraction in enumerate((test, held_out / (1 - test))):
        cut = split(n_splits=1, test_size=fraction, random_state=2 * seed + number)
        groups = None if classes else table.groups[rows]
        rest, part = next(cut.split(table.x[rows], table.y[rows], groups))
        known.append(rows[part])
        rows = rows[rest]
    return [rows, known[1], known[0]]


def _split(table: Table, seed: int, classes: bool) -> Parts:
    train, validation, test = (
        (torch.tensor(table.x[rows], dtype=F64), torch.tensor(table.y[rows])) for rows in _rows(table, seed, classes)
    )
    centre, spread = train[0].mean(0), train[0].std(0)
    spread = torch.where(spread > 0, spread, 1.0)
    level, unit = (0.0, 100.0) if classes else (train[1].mean().item(), train[1].std().item())

    def scaled(part: Part) -> Part:
        x = ((part[0] - centre) / spread).clamp(-LIMIT, LIMIT)
        return x, part[1].long() if classes else ((part[1].to(F64) - level) / unit)[:, None]

    return Parts(scaled(train), scaled(validation), scaled(test), unit)


@cache
def _sklearn(load: Load) -> Table:
    x, y = load(return_X_y=True)
    return Table(x, y, np.arange(len(y)))


@cache
def hardness(path: Path) -> Table:
    """Alloys whose Vickers hardness is known; alloys of the same composition, in other phases too, are one group.

    Reference: S. Gorsse et al., Database on the mechanical properties of high entropy alloys and complex concentrated
    alloys, Data in Brief 21, 2664 (2018).
    """
    with path.open(newline="") as lines:
        known = [row for row in csv.DictReader(lines) if row["HV"].strip()]
    names = [name for name in known[0] if name not in ("Phases", "HV")]
    x = np.array([[float(row[name]) for name in names] for row in known])
    fractions = x[:, : names.index("W") + 1].round(6)
    groups = np.unique(fractions, axis=0, return_inverse=True)[1].ravel()
    return Table(x, np.array([float(row["HV"]) for row in known]), groups)


HARDNESS_FILE = "hea_hardness.csv"


def _alloys(seed: int, folder: Path | None) -> Parts:
    path = (folder or Path()) / HARDNESS_FILE
    if folder is None or not path.exists():
        raise MissingTable(f"The hardness of alloys needs --data-dir, a folder with {HARDNESS_FILE}, not {folder}.")
    return _split(hardness(path), seed, classes=False)


def _misclassified(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(-1) != targets).double().mean()


def _function_task(key: str) -> Task:
    target = BY_KEY[key]
    return Task(
        key, target.label, "relative RMSE", target.inputs, 1, (60, 200, 600), lambda *where: _function(key, *where)
    )


def _number_task(key: str, label: str, load: Load, inputs: int) -> Task:
    return Task(key, label, "RMSE", inputs, 1, (150, 600), lambda seed, _: _split(_sklearn(load), seed, classes=False))


def _class_task(
    key: str,
    label: str,
    load: Load,
    inputs: int,
    classes: int,
    sizes: tuple[int, ...],
) -> Task:
    return Task(
        key,
        label,
        "misclassified, %",
        inputs,
        classes,
        sizes,
        lambda seed, _: _split(_sklearn(load), seed, classes=True),
        functional.cross_entropy,
        _misclassified,
    )


TASKS: tuple[Task, ...] = (
    _function_task("ellipkinc"),
    _function_task("sphharm11"),
    _function_task("exp"),
    _number_task("diabetes", "progression of diabetes", datasets.load_diabetes, 10),
    _class_task("cancer", "breast cancer", datasets.load_breast_cancer, 30, 2, (300, 1000)),
    _class_task("wine", "wines", datasets.load_wine, 13, 3, (150, 600)),
    Task(
        "hardness",
        "hardness of alloys",
        "MAE, HV",
        34,
        1,
        (300, 1000),
        _alloys,
        functional.l1_loss,
        functional.l1_loss,
        HARDNESS_FILE,
    ),
    _class_task("digits", "digits", datasets.load_digits, 64, 10, (1500, 5000)),
)
"""Functions of arXiv:2404.19756, tables and images that come with scikit-learn, and the alloys of a file."""

QUICK = ("ellipkinc", "wine", "hardness")
"""Keys of one task of each kind."""

BY_NAME = {task.key: task for task in TASKS}
