"""Single QKANs and the errors they are to reach, and what it depends on."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.functions.protocol import Study
from benchmarks.functions.targets import BESSEL, EXPONENTIAL, Target
from benchmarks.provenance import ran_on
from benchmarks.report import Results
from benchmarks.sizes import count
from circuits import pz
from qkan import QKAN, extend, fit
from qkan.training import UNITS


@dataclass(frozen=True)
class Goal:
    """A QKAN, how it is started and trained, and what it is to reach.

    Args:
        name: as tables show it.
        target: the function, in its own unit.
        widths: of the QKAN.
        reps: repetitions of its pz circuits; several: it is extended from each to the next.
        steps: outer steps of L-BFGS with each.
        bound: on the median test error; None for an ablation, which is compared on validation points.
        seconds: bound on the median time of a seed; None if there is none.
        init_scale: where scales start; with pi the slowest frequency makes one period on [-1, 1].
        history: curvature pairs that L-BFGS keeps.
        unit: what the loss is multiplied by, on top of what `fit` does.
        dtype: of everything.
    """

    name: str
    target: Target
    widths: tuple[int, ...]
    reps: tuple[int, ...]
    steps: int = 50
    bound: float | None = None
    seconds: float | None = None
    init_scale: float = math.pi
    history: int = 100
    unit: float = 1.0
    dtype: torch.dtype = torch.float64

    def budget(self, study: Study) -> int:
        """Outer steps that a seed may take, those of all extensions together."""
        return len(self.reps) * min(self.steps, study.most_steps)

    def known(self, study: Study, results: Results, **values: object) -> list[Mapping[str, Any]]:
        """The rows of this goal at the expense of that study; one that has no budget ran all of its steps."""
        rows = results.where(stage="goal", target=self.target.key, setting=self.name, **values)
        return [row for row in rows if row.get("budget", row["steps"]) == self.budget(study)]


CHOSEN = Goal("as above", EXPONENTIAL, (2, 5, 1), (3,), bound=1e-5)
GOALS = (
    CHOSEN,
    replace(CHOSEN, name="trained longer", steps=300, bound=1e-7, seconds=60.0),
    replace(CHOSEN, name="extended", reps=(3, 6, 10, 20), steps=50, bound=1e-7, seconds=60.0),
    replace(CHOSEN, name="one edge", target=BESSEL, widths=(1, 1), reps=(6,), bound=1e-6),
)
ABLATIONS = (
    CHOSEN,
    replace(CHOSEN, name="scales start at 1", init_scale=1.0, bound=None),
    replace(CHOSEN, name="10 curvature pairs", history=10, bound=None),
    replace(CHOSEN, name="loss as it is", unit=1 / UNITS["lbfgs"], bound=None),
    replace(CHOSEN, name="float32", dtype=torch.float32, bound=None),
)
"""One thing changed at a time, compared on validation points."""

EVERYTHING = (*GOALS, *ABLATIONS[1:])


def reach(goal: Goal, study: Study, seeds: int, results: Results, advance: Callable[[], None]) -> None:
    """Train all seeds; rows that are there are kept."""
    for seed in range(seeds):
        if not goal.known(study, results, seed=seed):
            row = {"stage": "goal", "target": goal.target.key, "setting": goal.name, "seed": seed}
            results.add(**row, budget=goal.budget(study), **_trained(goal, study, seed))
        advance()


def _trained(goal: Goal, study: Study, seed: int) -> dict[str, object]:
    def points(part: int) -> tuple[Tensor, Tensor]:
        x, y = goal.target.sample(study.points[part], 3 * seed + part)
        return x.to(goal.dtype), y.to(goal.dtype)

    def loss(prediction: Tensor, y: Tensor) -> Tensor:
        return goal.unit * (prediction - y).square().mean()

    train, validation, test = points(0), points(1), points(2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = QKAN(goal.widths, pz(goal.reps[0]), init_scale=goal.init_scale, dtype=goal.dtype)
    outcomes = [
        fit(
            extend(model, reps),
            train,
            validation,
            optimizer="lbfgs",
            history=goal.history,
            loss=loss,
            epochs=min(goal.steps, study.most_steps),
            progress=False,
        )
        for reps in goal.reps
    ]
    with torch.no_grad():
        error = None if goal.bound is None else (model(test[0]) - test[1]).square().mean().item()
    return {
        "model": f"QKAN{list(goal.widths)}, pz({' → '.join(map(str, goal.reps))})",
        "engine": ran_on(model),
        "parameters": count(model),
        "validation_mse": outcomes[-1].best_validation_loss / goal.unit,
        "test_mse": error,
        "steps": sum(outcome.epochs for outcome in outcomes),
        "seconds": sum(outcome.seconds for outcome in outcomes),
    }
