"""A regression, and QKANs trained for it in three ways: exactly, under a device's noise, and by shots."""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from statistics import mean

import torch
from torch import Tensor

from benchmarks.functions.targets import EXPONENTIAL
from benchmarks.provenance import ran_on
from benchmarks.report import Results
from benchmarks.sizes import count
from circuits import engines, pz
from circuits.engines import Engine
from circuits.noise import Noise
from qkan import QKAN, fit, set_engine

RATES = (0.01, 0.03, 0.1)
TUNING_SEED = 1000
PATIENCE = 100

Data = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Task:
    """Points and standardised values of a function, in three parts.

    Args:
        train: what is fitted.
        validation: what chooses.
        test: what is looked at once.
    """

    train: Data
    validation: Data
    test: Data


def task(train: int = 256, validation: int = 256, test: int = 512) -> Task:
    """exp(sin(pi x) + y^2) on [-1, 1]^2; the scale is that of the training part."""
    parts = [EXPONENTIAL.sample(count, seed) for seed, count in enumerate((train, validation, test))]
    centre, deviation = parts[0][1].mean(), parts[0][1].std()
    return Task(*((x, (y - centre) / deviation) for x, y in parts))


WAYS: Mapping[str, Callable[[Noise], Engine]] = {
    "exact": lambda noise: engines.get("auto"),
    "noise-aware": lambda noise: engines.get("spectral", nodes=engines.get("noisy", noise=noise)),
    "shot-based": lambda noise: engines.get("sampled", shots=256, seed=0),
}
"""How models are trained: what evaluates them meanwhile."""


def trained(
    way: str, noise: Noise, data: Task, seeds: int, epochs: int, results: Results, advance: Callable[[], None]
) -> list[QKAN]:
    """One model a seed, at the learning rate whose validation error is least, as the way itself sees it."""
    scores = {}
    for rate in RATES:
        scores[rate] = _train(way, noise, data, rate, TUNING_SEED, epochs, results, "tuning")[1]
        advance()
    best = min(RATES, key=scores.__getitem__)
    models = []
    for seed in range(seeds):
        models.append(_train(way, noise, data, best, seed, epochs, results, "final")[0])
        advance()
    return models


def _train(
    way: str, noise: Noise, data: Task, rate: float, seed: int, epochs: int, results: Results, stage: str
) -> tuple[QKAN, float]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = QKAN([2, 4, 1], circuit=pz(2), base=None, init_scale=math.pi / 2, dtype=torch.float64)
    set_engine(model, WAYS[way](noise))
    outcome = fit(
        model,
        data.train,
        data.validation,
        lr=rate,
        epochs=epochs,
        patience=PATIENCE,
        seed=seed,
        progress=False,
    )
    results.add(
        stage=stage,
        way=way,
        lr=rate,
        seed=seed,
        engine=ran_on(model),
        parameters=count(model),
        validation_mse=outcome.best_validation_loss,
        epochs=outcome.epochs,
        seconds=outcome.seconds,
    )
    return model, outcome.best_validation_loss


@torch.no_grad()
def error(model: QKAN, engine: Callable[[int], Engine], data: Data, repeats: int = 1) -> float:
    """The mean squared error on an engine, over `repeats` of its shots; the engine is made of a seed."""
    x, y = data
    carried = deepcopy(model)
    return mean((set_engine(carried, engine(seed))(x) - y).square().mean().item() for seed in range(repeats))
