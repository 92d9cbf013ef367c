"""The two kinds of tables, of classes and of numbers: how they are split, predicted and measured, and by what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.selectors import peers
from benchmarks.selectors.peers import Peer
from classical.selectors import KANClassificationSelector, KANRegressionSelector, KANSelector

LINEAR, FOREST, BOOSTING = "linear", "random forest", "gradient boosting"


@dataclass(frozen=True)
class Kind:
    """What is the same for all tables whose targets are of one kind.

    Args:
        metric: as tables show it.
        target: from the targets of a training part to what others' selectors see.
        score: from targets and predictions to the metric, at most 1.
        folds: from the number of folds and a seed to what splits.
        predictors: from a number of trees and a seed to an estimator of which nothing is tuned.
        selector: ours.
        peers: others'.
    """

    metric: str
    target: Callable[[np.ndarray], np.ndarray]
    score: Callable[[np.ndarray, np.ndarray], float]
    folds: Callable[[int, int], Any]
    predictors: Mapping[str, Callable[[int, int], Any]]
    selector: type[KANSelector]
    peers: Mapping[str, Peer]


CLASSES = Kind(
    "macro-F1",
    lambda y: y,
    lambda y, predicted: float(f1_score(y, predicted, average="macro")),
    lambda folds, seed: StratifiedKFold(folds, shuffle=True, random_state=seed),
    {
        LINEAR: lambda trees, seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        FOREST: lambda trees, seed: RandomForestClassifier(trees, random_state=seed),
        BOOSTING: lambda trees, seed: GradientBoostingClassifier(n_estimators=trees, random_state=seed),
    },
    KANClassificationSelector,
    {
        peers.LASSO: peers.logistic_path,
        peers.FOREST: peers.forest_of_classes,
        peers.INFORMATION: peers.information_on_classes,
        peers.ELIMINATION: peers.elimination_of_classes,
    },
)

NUMBERS = Kind(
    "R²",
    lambda y: (y - y.mean()) / y.std(),
    lambda y, predicted: float(r2_score(y, predicted)),
    lambda folds, seed: KFold(folds, shuffle=True, random_state=seed),
    {
        LINEAR: lambda trees, seed: make_pipeline(StandardScaler(), Ridge()),
        FOREST: lambda trees, seed: RandomForestRegressor(trees, random_state=seed),
        BOOSTING: lambda trees, seed: GradientBoostingRegressor(n_estimators=trees, random_state=seed),
    },
    KANRegressionSelector,
    {
        peers.LASSO: peers.lasso_path,
        peers.FOREST: peers.forest_of_numbers,
        peers.INFORMATION: peers.information_on_numbers,
        peers.ELIMINATION: peers.elimination_of_numbers,
    },
)
