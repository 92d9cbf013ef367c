"""What is compared with what: series, sizes and trainings, and who is chosen by the trials."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean

from benchmarks.report import Results
from benchmarks.sequences.families import GRU_NAME, HYBRID_NAME, LSTM_NAME, MLP_NAME, QKAN_NAME, QLSTM_NAME, families
from benchmarks.sequences.tasks import data, inputs, task
from benchmarks.sequences.training import Setting, Training
from benchmarks.sizes import fitting

TUNING_SEEDS = (1000, 1001)
"""Each trial is trained with both; not among the seeds that are reported."""

EPOCHS = "after few and many epochs"
FOLLOWED = (LSTM_NAME, QLSTM_NAME, QKAN_NAME, HYBRID_NAME)
"""Whose forecasts are drawn."""


@dataclass(frozen=True)
class Study:
    """A comparison of all families at the same sizes, by the same trainings.

    Args:
        key: its name in rows.
        title: as tables show it.
        tasks: keys of the series.
        sizes: numbers of parameters at most.
        settings: ways of training, all of which are tried.
        others: sizes of families that are compared at others.
    """

    key: str
    title: str
    tasks: tuple[str, ...]
    sizes: tuple[int, ...]
    settings: tuple[Setting, ...]
    others: Mapping[str, tuple[int, ...]]

    def cells(self, folder: Path | None) -> list[tuple[str, str, int, tuple[str, ...]]]:
        """Series, family, size and variants, wherever a family has a model so small."""
        found = []
        for key in self.tasks:
            features = inputs(data(key, folder)[1].train).shape[-1]
            for name, family in families(task(key, folder).window).items():
                for size in self.others.get(name, self.sizes):
                    if variants := tuple(fitting(family, features, size)):
                        found.append((key, name, size, variants))
        return found

    def trials(self, folder: Path | None) -> list[Training]:
        """All trainings that choose."""
        return [
            Training("tuning", self.key, key, name, size, variant, setting, seed, folder)
            for key, name, size, variants in self.cells(folder)
            for variant, setting, seed in product(variants, self.settings, TUNING_SEEDS)
        ]

    def finals(self, results: Results, seeds: int, folder: Path | None) -> list[Training]:
        """The trainings of what the trials have chosen."""
        return [
            replace(best, stage="final", seed=seed)
            for key, name, size, _ in self.cells(folder)
            for best in [self.chosen(results, key, name, size, folder)]
            for seed in range(seeds)
        ]

    def chosen(self, results: Results, key: str, name: str, size: int, folder: Path | None = None) -> Training:
        """The trial with the smallest error on validation, in the geometric mean of its seeds."""
        known = results.where(stage="tuning", study=self.key, task=key, model=name, size=size)

        def error(trial: Training) -> float:
            rows = [row for row in known if (row["variant"], row["setting"]) == (trial.variant, trial.setting.label)]
            return mean(math.log(row["validation_mse"]) for row in rows)

        trials = self.trials(folder)
        return min((each for each in trials if (each.task, each.model, each.size) == (key, name, size)), key=error)


Studies = tuple[Study, ...]

CURVES = ("pendulum", "bessel", "sunspots")
SIZES = (20, 35, 80, 180, 500)
SMALL, LARGE = 850, 17_500
"""Parameters on urban traffic, where an LSTM may have twenty times more."""

RATES = (0.02, 0.06, 0.18)
ADAM = tuple(Setting(30, rate) for rate in RATES)
SHORT = tuple(Setting(30, rate, batch=4) for rate in RATES)
"""Batches so small that thirty epochs are steps enough."""

USUAL = 166
"""Parameters of an LSTM of five units, both biases counted."""


def studies(folder: Path | None) -> Studies:
    """The full benchmark; with a folder, on Milan's telecommunications instead of synthetic traffic."""
    town = "traffic" if folder is None else "milan"
    large, both = (USUAL,), (SMALL, LARGE)
    rivals = {LSTM_NAME: large, GRU_NAME: large, QLSTM_NAME: large}
    return (
        Study("papers", "the papers' comparison", CURVES[:2], (35,), SHORT, rivals),
        Study("adam", "error against parameters", CURVES, SIZES, ADAM, {}),
        Study("lbfgs", "L-BFGS", CURVES[:2], (35, 180), (Setting(30),), {}),
        Study("others", "other series", ("co2", "narma5", "narma10"), (180,), ADAM, {}),
        Study("town", "urban traffic", (town,), (SMALL,), ADAM[:2], {LSTM_NAME: both, GRU_NAME: both}),
    )


QUICK: Studies = (
    Study("papers", "the papers' comparison", ("pendulum",), (35,), (Setting(1, 0.1, batch=64),), {}),
    Study("adam", "error against parameters", ("pendulum",), (35,), (Setting(1, 0.1),), {MLP_NAME: (20,)}),
    Study("lbfgs", "L-BFGS", ("pendulum",), (35,), (Setting(1),), {}),
)
"""Seconds, for a test."""


def followed(study: Study, results: Results, epochs: Sequence[int] = (1, 15, 30, 100)) -> list[Training]:
    """Trainings of what the papers' comparison chose, for more and for fewer epochs, with their forecasts."""
    found = []
    for key, name, size, _ in study.cells(None):
        if key == study.tasks[0] and name in FOLLOWED:
            best = study.chosen(results, key, name, size)
            for number in epochs:
                setting = replace(best.setting, epochs=number)
                found.append(replace(best, stage="final", study="epochs", setting=setting, seed=0, forecast=True))
    return found
