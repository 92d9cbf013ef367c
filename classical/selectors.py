r"""Selection of features by Kolmogorov-Arnold networks, as transformers of scikit-learn, which this file is about.

>>> from sklearn.datasets import load_wine
>>> from classical.selectors import KANClassificationSelector
>>> x, y = load_wine(return_X_y=True)
>>> selector = KANClassificationSelector(n_features_to_select=4, epochs=5, random_state=0)
>>> selector.fit_transform(x, y).shape
(178, 4)
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from classical.checks import checked_choice, checked_number, checked_size
from classical.importance import SCORES, Score, contribution_penalty
from classical.spline import BSplineKAN
from classical.training import train

try:
    from sklearn.base import BaseEstimator
    from sklearn.feature_selection import SelectorMixin
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    line = "Package 'sklearn' is not installed: run `pip install 'daruan[selectors]'`."
    raise ModuleNotFoundError(line, name="sklearn") from None

MakeNetwork = Callable[[int, int], nn.Module]
"""A network from its numbers of inputs and outputs; it has `reset_parameters(generator)`."""


@runtime_checkable
class Drawn(Protocol):
    """A module that can draw its parameters from a generator."""

    def reset_parameters(self, generator: torch.Generator | None = None) -> None: ...


@dataclass(frozen=True)
class Target:
    """What a network learns.

    Args:
        values: a target for every sample.
        outputs: numbers that the network gives for a sample.
        loss: from outputs and values to the mean over samples.
        strata: classes that splits keep the fractions of, or None.
    """

    values: Tensor
    outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]
    strata: np.ndarray | None


def spline_network(inputs: int, outputs: int) -> BSplineKAN:
    """Piecewise linear edges with one inner knot and twice as many hidden units as inputs, and one.

    Its domain is (-3, 3), of standardised features: published is (-1, 1), so that no spline sees what is beyond two
    deviations, and coefficients say nothing about it.
    """
    return BSplineKAN([inputs, 2 * inputs + 1, outputs], grid_size=2, degree=1, domain=(-3.0, 3.0))


class KANSelector(SelectorMixin, BaseEstimator):
    r"""Keeps the features on which a trained Kolmogorov-Arnold network depends most.

    Features are standardised, a network is trained, and the `importance` of each feature is taken from the network, see
    `classical.importance`. Use `KANClassificationSelector` or `KANRegressionSelector`.

    Published are a `learning_rate` of 1e-3 and no `penalty`. In so short a training edges stay close to how they were
    drawn, whether their feature matters or not, and norms and knock-outs see little else; sensitivities suffer less.

    Args:
        n_features_to_select: How many features are kept if an int, which part of them if a float in (0, 1], where at
            least one is; None for half of them.
        importance: Name in `classical.importance.SCORES`, or a function of network, inputs and loss: "L1" and "L2" for
            what the edges of a feature add to the first layer, "L1 of coefficients" and "L2 of coefficients" for
            networks with coefficients, "SI" for the sensitivity of outputs, "KO" for the loss without the feature.
        network: A function of the numbers of features and outputs that makes the network, which must have
            `reset_parameters(generator)` and begin with a layer that has `edge_values`; None for `spline_network`. Its
            parameters say which device and dtype are used.
        epochs: Passes over the samples.
        penalty: Factor of `contribution_penalty`, which is added to the loss: larger ones silence more features. With 0
            "SI" is there for networks of any kind.
        learning_rate: Of Adam.
        batch_size: Samples a step.
        validation_fraction: Which part of the samples, in [0, 1), is neither scaled by nor trained on, but decides on
            the importance; with 0 all samples do both.
        random_state: An int, a `numpy.random.RandomState` or None, for weights, splits and the order of samples.
            Torch's global generator is neither needed nor changed.

    Attributes:
        scores_: Importance of each feature, `(n_features_in_,)`.
        support_: Which features are kept, booleans `(n_features_in_,)`. Among equals the first ones are.
        network_: The trained network.
        scaler_: The `StandardScaler` in front of it.
        n_features_in_: Number of features.
        feature_names_in_: Their names, if they have some.

    Reference:
        C. Akazan and V. Mbingui, arXiv:2509.23366, 2025.
    """

    def __init__(
        self,
        n_features_to_select: int | float | None = None,
        *,
        importance: str | Score = "L2",
        network: MakeNetwork | None = None,
        penalty: float = 1.0,
        epochs: int = 100,
        learning_rate: float = 1e-2,
        batch_size: int = 64,
        validation_fraction: float = 0.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_features_to_select = n_features_to_select
        self.importance = importance
        self.network = network
        self.penalty = penalty
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train the network on samples `X` of shape `(n, n_features)` and targets `y` of shape `(n,)`.

        Raises:
            TypeError: If an option has the wrong type, or the network has no `reset_parameters(generator)`.
            ValueError: If an option has an impossible value, samples are NaN or infinite, or targets of the wrong kind.
            FloatingPointError: If training diverged.
        """
        importance = self._checked_importance()
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        kept, target = self._kept(X.shape[1]), self._target(y)
        random = check_random_state(self.random_state)
        seen, judging = self._split(target, random)
        generator = torch.Generator().manual_seed(int(random.randint(2**31 - 1)))
        self.scaler_ = StandardScaler().fit(X[seen])
        self.network_ = self._drawn(X.shape[1], target.outputs, generator)
        x, values = self._tensors(X, target)
        train(
            self.network_,
            x[seen],
            values[seen],
            self._objective(target),
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            generator=generator,
        )
        scores = importance(self.network_, x[judging], lambda outputs: target.loss(outputs, values[judging]))
        if scores.shape != (X.shape[1],):
            raise ValueError(
                f"Argument `importance` must give {X.shape[1]} numbers, one a feature, but gives shape "
                f"{tuple(scores.shape)}."
            )
        self.scores_ = scores.detach().to("cpu", torch.float64).numpy()
        if not np.isfinite(self.scores_).all():
            raise FloatingPointError(f"The importance is not finite: lower `learning_rate`, {self.learning_rate}.")
        self.support_ = np.isin(np.arange(len(self.scores_)), np.argsort(-self.scores_, kind="stable")[:kept])
        return self

    @abstractmethod
    def _target(self, y: np.ndarray) -> Target:
        """What the network learns."""

    def _get_support_mask(self) -> Any:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def _checked_importance(self) -> Score:
        checked_size("epochs", self.epochs, at_least=1)
        checked_size("batch_size", self.batch_size, at_least=1)
        checked_number("learning_rate", self.learning_rate, above=0.0)
        if checked_number("penalty", self.penalty, above=-math.inf) < 0:
            raise ValueError(f"Argument `penalty` must be 0 or positive, but is {self.penalty}.")
        if not isinstance(self.validation_fraction, Real) or not 0 <= self.validation_fraction < 1:
            raise ValueError(f"Argument `validation_fraction` must be in [0, 1), but is {self.validation_fraction!r}.")
        if isinstance(self.importance, str):
            return SCORES[checked_choice("importance", self.importance, tuple(SCORES))]
        if not callable(self.importance):
            raise TypeError(f"Argument `importance` must be a name or a function, but is {self.importance!r}.")
        return self.importance

    def _kept(self, features: int) -> int:
        match self.n_features_to_select:
            case None:
                return max(1, features // 2)
            case bool():
                pass
            case Integral() as count if 1 <= count <= features:
                return int(count)
            case Real() as part if not isinstance(part, Integral) and 0 < part <= 1:
                return max(1, round(features * part))
        raise ValueError(
            f"Argument `n_features_to_select` must be an int from 1 to the {features} features of `X`, a float in "
            f"(0, 1] or None, but is {self.n_features_to_select!r}."
        )

    def _split(self, target: Target, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the samples that are trained on, and of those that decide."""
        rows = np.arange(len(target.values))
        if not self.validation_fraction:
            return rows, rows
        seen, judging = train_test_split(
            rows, test_size=self.validation_fraction, random_state=random, stratify=target.strata
        )
        return np.asarray(seen), np.asarray(judging)

    def _drawn(self, inputs: int, outputs: int, generator: torch.Generator) -> nn.Module:
        with torch.random.fork_rng(devices=[]):  # of what constructors draw
            network = (self.network or spline_network)(inputs, outputs)
        if not isinstance(network, Drawn):
            raise TypeError(
                "Argument `network` must make a module with `reset_parameters(generator)`, such as BSplineKAN, but "
                f"makes a {type(network).__name__}."
            )
        network.reset_parameters(generator)
        return network

    def _objective(self, target: Target) -> Callable[[Tensor, Tensor], Tensor]:
        network, penalty = self.network_, self.penalty

        def objective(x: Tensor, values: Tensor) -> Tensor:
            loss = target.loss(network(x), values)
            return loss + penalty * contribution_penalty(network, x) if penalty else loss

        return objective

    def _tensors(self, X: np.ndarray, target: Target) -> tuple[Tensor, Tensor]:
        """What the network sees and learns, with its dtype where they are numbers, and on its device."""
        like = next(self.network_.parameters())
        values = target.values.to(like.dtype) if target.values.is_floating_point() else target.values
        return torch.as_tensor(self.scaler_.transform(X)).to(like), values.to(like.device)


class KANClassificationSelector(KANSelector):
    """Keeps the features on which a network that tells classes apart depends most; see `KANSelector`.

    The network has an output a class and is trained by cross entropy.
    """

    def _target(self, y: np.ndarray) -> Target:
        check_classification_targets(y)
        classes, numbers = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"Argument `y` must have two classes or more, but has only one class, {classes[0]!r}.")
        return Target(torch.as_tensor(numbers), len(classes), functional.cross_entropy, y)


class KANRegressionSelector(KANSelector):
    """Keeps the features on which a network that predicts numbers depends most; see `KANSelector`.

    Targets are standardised; the network has one output and is trained by squared errors.
    """

    def _target(self, y: np.ndarray) -> Target:
        values = StandardScaler().fit_transform(np.asarray(y, dtype=np.float64)[:, None])
        return Target(torch.as_tensor(values), 1, functional.mse_loss, None)
