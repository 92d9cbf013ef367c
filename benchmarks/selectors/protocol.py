"""One fold: everybody ranks the columns by the training part, then predictors see the best of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.selectors.rankings import rankings
from benchmarks.selectors.sets import SETS, TableSet

PERCENTS = (20, 40, 60)
"""Of the columns that are kept."""


@dataclass(frozen=True)
class Study:
    """What is compared, and at which expense.

    Args:
        sets: names of the tables.
        folds: of which each is a test part once for every seed.
        epochs: of networks.
        trees: of the predictors that have trees.
    """

    sets: Sequence[str] = tuple(SETS)
    folds: int = 5
    epochs: int = 100
    trees: int = 50

    @property
    def setting(self) -> dict[str, int]:
        """What rows must agree in to be of one study."""
        return {"folds": self.folds, "epochs": self.epochs, "trees": self.trees}


def kept(columns: int, percent: int) -> int:
    """How many columns a percentage is, one at least."""
    return max(1, round(columns * percent / 100))


def measure(study: Study, table: TableSet, seed: int, fold: int, advance: Callable[[], None]) -> dict[str, Any]:
    """What a row says of a fold: scores of every predictor, with all columns and with what each selector keeps."""
    x, y = table.load()
    train, test = list(table.kind.folds(study.folds, seed).split(x, y))[fold]
    own = 1000 * seed + fold
    known: dict[frozenset[int], Mapping[str, float]] = {}

    def scores(columns: Sequence[int]) -> Mapping[str, float]:
        """Selectors that agree share what is measured: predictors see the columns in the order of the table."""
        if frozenset(columns) not in known:
            among = sorted(columns)
            known[frozenset(columns)] = _scores(study, table, x[:, among], y, train, test, own)
        return known[frozenset(columns)]

    everything, selections = scores(range(x.shape[1])), {}
    for ranking in rankings(table.kind, x[train], y[train], own, study.epochs):
        best = {str(percent): scores(ranking.order[: kept(x.shape[1], percent)]) for percent in PERCENTS}
        selections[ranking.name] = {"order": ranking.order, "seconds": ranking.seconds, "scores": best}
        advance()
    return {"samples": [len(train), len(test)], "all": everything, "selections": selections}


def _scores(
    study: Study, table: TableSet, x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int
) -> Mapping[str, float]:
    found = {}
    for name, make in table.kind.predictors.items():
        predicted = make(study.trees, seed).fit(x[train], y[train]).predict(x[test])
        found[name] = table.kind.score(y[test], predicted)
    return found
