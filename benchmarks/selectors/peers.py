"""What is usually taken to select features: each gives a score to every column, the largest to the best.

They see samples `(n, features)` that are standardised, targets `(n,)`, numbers standardised too, and a seed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import RFE, mutual_info_classif, mutual_info_regression
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import lasso_path as coefficients_of_lasso
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC, SVR, l1_min_c

Peer = Callable[[np.ndarray, np.ndarray, int], np.ndarray]

LASSO, FOREST, INFORMATION, ELIMINATION = "LASSO", "forest permutation", "mutual information", "SVM-RFE"
NAMES = (LASSO, FOREST, INFORMATION, ELIMINATION)

PENALTIES = 25
"""Along a path, of which the smallest is this part of the one that leaves nothing:"""
SMALLEST = 1e-3

TREES, REPEATS = 100, 5


def lasso_path(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """How long a coefficient of the LASSO survives as the penalty grows; among equals, how large it became."""
    strongest = np.abs(x.T @ y).max() / len(y)
    _, coefficients, *_ = coefficients_of_lasso(x, y, alphas=strongest * np.geomspace(1, SMALLEST, PENALTIES))
    return _survival(np.abs(coefficients.T))


def logistic_path(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """The same for logistic regressions with an L1 penalty, one a class: what counts is the largest coefficient."""

    def largest(strength: float) -> np.ndarray:
        logistic = LogisticRegression(
            C=strength, l1_ratio=1, solver="liblinear", max_iter=1000, tol=1e-3, random_state=seed
        )
        fitted: Any = OneVsRestClassifier(logistic).fit(x, y)
        return np.abs([each.coef_[0] for each in fitted.estimators_]).max(axis=0)

    weakest = l1_min_c(x, y, loss="log")
    return _survival(np.stack([largest(weakest * growth) for growth in np.geomspace(1, 1 / SMALLEST, PENALTIES)]))


def _survival(sizes: np.ndarray) -> np.ndarray:
    """From sizes of coefficients `(penalties, features)`, the weakest penalty last."""
    return (sizes > 0).sum(axis=0) + sizes[-1] / (1 + sizes[-1].sum())


def forest_of_classes(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """How much a random forest loses in likelihood on a quarter of the samples, kept from it, if a column is mixed."""
    return _permuted(RandomForestClassifier(TREES, random_state=seed), x, y, seed, y, "neg_log_loss")


def forest_of_numbers(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """The same for squared errors."""
    return _permuted(RandomForestRegressor(TREES, random_state=seed), x, y, seed, None, "neg_mean_squared_error")


def _permuted(
    forest: Any, x: np.ndarray, y: np.ndarray, seed: int, strata: np.ndarray | None, scoring: str
) -> np.ndarray:
    seen, unseen, known, unknown = train_test_split(x, y, test_size=0.25, random_state=seed, stratify=strata)
    found: Any = permutation_importance(
        forest.fit(seen, known), unseen, unknown, scoring=scoring, n_repeats=REPEATS, random_state=seed
    )
    return found.importances_mean


def information_on_classes(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Mutual information with the class, estimated from nearest neighbours."""
    return mutual_info_classif(x, y, random_state=seed)


def information_on_numbers(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Mutual information with the target, estimated from nearest neighbours."""
    return mutual_info_regression(x, y, random_state=seed)


def elimination_of_classes(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """How long a column survives if a linear support vector machine drops the one of least weight, again and again."""
    return -RFE(SVC(kernel="linear"), n_features_to_select=1).fit(x, y).ranking_


def elimination_of_numbers(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """The same for regression."""
    return -RFE(SVR(kernel="linear"), n_features_to_select=1).fit(x, y).ranking_
