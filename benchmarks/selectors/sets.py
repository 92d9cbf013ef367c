"""Tables that scikit-learn ships: a new one is one row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from benchmarks.selectors.kinds import CLASSES, NUMBERS, Kind


@dataclass(frozen=True)
class TableSet:
    """Samples and what is predicted of them.

    Args:
        name: as reports show it.
        kind: of its targets.
        load: to samples `(n, features)` and targets `(n,)`.
    """

    name: str
    kind: Kind
    load: Callable[[], tuple[np.ndarray, np.ndarray]]


def _shipped(load: Any) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    return lambda: load(return_X_y=True)


SETS: Mapping[str, TableSet] = {
    each.name: each
    for each in (
        TableSet("breast cancer", CLASSES, _shipped(load_breast_cancer)),
        TableSet("wine", CLASSES, _shipped(load_wine)),
        TableSet("diabetes", NUMBERS, _shipped(load_diabetes)),
    )
}
