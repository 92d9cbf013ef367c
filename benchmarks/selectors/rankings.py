"""Everybody's order of the columns of a training part, the best one first."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from benchmarks.selectors.kinds import Kind
from benchmarks.selectors.peers import NAMES
from circuits import rpz
from classical.importance import SCORES, Loss
from classical.selectors import spline_network
from qkan import QKAN

RANDOM = "random"


@dataclass(frozen=True)
class Network:
    """A network that is trained once for all of its scores.

    Args:
        name: as tables show it.
        make: from numbers of inputs and outputs.
        scores: names in `SCORES`.
        penalty: of its training.
        learning_rate: of its training.
    """

    name: str
    make: Callable[[int, int], nn.Module]
    scores: Sequence[str]
    penalty: float = 1.0
    learning_rate: float = 1e-2

    def label(self, score: str) -> str:
        """Of the selector that takes this score."""
        return f"{self.name}, {score}"


def circuit_network(inputs: int, outputs: int) -> QKAN:
    """As wide as the network of splines, with 6 parameters an edge instead of 5."""
    return QKAN([inputs, 2 * inputs + 1, outputs], circuit=rpz(1))


ANY_EDGES = ("L1", "L2", "SI", "KO")
"""Scores that do not ask for coefficients."""

KAN = Network("KAN", spline_network, tuple(SCORES))
QUANTUM = Network("QKAN", circuit_network, ANY_EDGES)
PUBLISHED = Network("KAN as published", spline_network, ANY_EDGES, penalty=0.0, learning_rate=1e-3)
NETWORKS = (KAN, QUANTUM, PUBLISHED)

SELECTORS = (RANDOM, *NAMES, *(network.label(score) for network in NETWORKS for score in network.scores))
"""Names of all, in the order of tables."""


@dataclass(frozen=True)
class Ranking:
    """What a selector has found.

    Args:
        name: of the selector.
        order: numbers of the columns.
        seconds: that it took.
    """

    name: str
    order: list[int]
    seconds: float


def rankings(kind: Kind, x: np.ndarray, y: np.ndarray, seed: int, epochs: int) -> Iterator[Ranking]:
    """Of all selectors, one after the other, by these samples alone."""
    yield Ranking(RANDOM, np.random.default_rng(seed).permutation(x.shape[1]).tolist(), 0.0)
    scaled, target = StandardScaler().fit_transform(x), kind.target(y)
    for name, peer in kind.peers.items():
        start = time.perf_counter()
        scores = peer(scaled, target, seed)
        yield Ranking(name, _order(scores), time.perf_counter() - start)
    for network in NETWORKS:
        yield from _ours(kind, network, x, y, seed, epochs)


def _ours(kind: Kind, network: Network, x: np.ndarray, y: np.ndarray, seed: int, epochs: int) -> Iterator[Ranking]:
    """Of all scores of one trained network; each takes the seconds of the training and its own."""
    found: dict[str, tuple[Tensor, float]] = {}

    def every_score(model: nn.Module, inputs: Tensor, loss: Loss) -> Tensor:
        for name in network.scores:
            start = time.perf_counter()
            found[name] = SCORES[name](model, inputs, loss), time.perf_counter() - start
        return found["L2"][0]

    start = time.perf_counter()
    selector = kind.selector(
        importance=every_score,
        network=network.make,
        penalty=network.penalty,
        epochs=epochs,
        learning_rate=network.learning_rate,
        random_state=seed,
    )
    selector.fit(x, y)
    training = time.perf_counter() - start - sum(seconds for _, seconds in found.values())
    for name, (scores, seconds) in found.items():
        yield Ranking(network.label(name), _order(scores.numpy()), training + seconds)


def _order(scores: np.ndarray) -> list[int]:
    return np.argsort(-np.asarray(scores), kind="stable").tolist()
