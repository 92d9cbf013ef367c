"""One rule for every family: equal trials on validation points, then fresh seeds, the test points once."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.functions.families import FAMILIES
from benchmarks.functions.targets import TARGETS, Target
from benchmarks.provenance import ran_on
from benchmarks.report import Results
from benchmarks.sizes import Family, build, count, fitting, growth
from qkan import fit

TUNING_SEEDS = (1000, 1001)
"""Each trial is trained with both; not among the seeds that are reported."""


@dataclass(frozen=True)
class Study:
    """What is compared, and at which expense.

    Args:
        targets: the functions.
        sizes: numbers of parameters at most.
        points: for training, validation and test.
        steps: outer steps of L-BFGS, of up to 20 iterations.
        tuning_steps: the same for a trial.
        most_steps: the same for a goal, at most.
    """

    targets: tuple[Target, ...] = TARGETS
    sizes: tuple[int, ...] = (30, 80, 200, 500)
    points: tuple[int, int, int] = (1000, 500, 1000)
    steps: int = 14
    tuning_steps: int = 5
    most_steps: int = 300

    @property
    def cells(self) -> list[tuple[Target, int, Family]]:
        """Target, size and family wherever the family has a model so small."""
        return [
            (target, size, family)
            for target in self.targets
            for size in self.sizes
            for family in FAMILIES
            if fitting(family, target.inputs, size)
        ]


def measure(
    study: Study, target: Target, size: int, family: Family, seeds: int, results: Results, advance: Callable[[], None]
) -> None:
    """Choose the variant with the smallest mean validation error, then train all seeds; known rows stay."""
    cell = {"target": target.key, "size": size, "model": family.name}
    variants = fitting(family, target.inputs, size)
    for variant in variants:
        for seed in TUNING_SEEDS:
            _once(study, target, cell, variants, variant, seed, results)
            advance()

    def mean_error(variant: str) -> float:
        trials = results.where(stage="tuning", **cell, variant=variant, steps=study.tuning_steps)
        return mean(row["validation_error"] for row in trials)

    chosen = min(variants, key=mean_error)
    for seed in range(seeds):
        _once(study, target, cell, variants, chosen, seed, results)
        advance()


def _once(
    study: Study,
    target: Target,
    cell: Mapping[str, Any],
    variants: Mapping[str, Any],
    variant: str,
    seed: int,
    results: Results,
) -> None:
    """One row, unless it is there: a trial has its own seeds and fewer steps, and sees no test points."""
    stage, steps = ("tuning", study.tuning_steps) if seed in TUNING_SEEDS else ("final", study.steps)
    row = {"stage": stage, **cell, "variant": variant, "seed": seed, "steps": steps}
    if results.where(**row):
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(variants[variant], target.inputs, cell["size"])
    row |= _trained(study, target, model, seed, steps, test=stage == "final")
    row |= {"grown": growth(variants[variant], target.inputs, cell["size"])}
    results.add(**row)


def _trained(study: Study, target: Target, model: nn.Module, seed: int, steps: int, test: bool) -> dict[str, Any]:
    """What is known of a model after training; errors are in units of the deviation of the training values."""
    train, validation, unseen = (target.sample(size, 3 * seed + part) for part, size in enumerate(study.points))
    center, deviation = train[1].mean(), train[1].std()

    def scaled(points: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return points[0], (points[1] - center) / deviation

    row: dict[str, Any] = {"parameters": count(model)}
    try:
        outcome = fit(model, scaled(train), scaled(validation), optimizer="lbfgs", epochs=steps, progress=False)
    except FloatingPointError:
        row |= {"validation_error": math.inf, "test_error": math.inf if test else None, "seconds": None}
        return row | {"engine": ran_on(model)}
    row |= {"engine": ran_on(model), "validation_error": error(model, scaled(validation)), "seconds": outcome.seconds}
    return row | {"test_error": error(model, scaled(unseen)) if test else None, "deviation": deviation.item()}


@torch.no_grad()
def error(model: nn.Module, points: tuple[Tensor, Tensor]) -> float:
    """Root mean squared error."""
    return (model(points[0]) - points[1]).square().mean().sqrt().item()
