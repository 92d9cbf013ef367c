"""Who wins where, and by how much, made of rows alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import geometric_mean, mean
from typing import Any

from scipy.stats import rankdata

from benchmarks.fair import costs
from benchmarks.fair.compare import BySeed, interval, ratio, verdict
from benchmarks.fair.families import FAMILIES, HQKAN_NAME, MLP_NAME, QKAN_NAME
from benchmarks.fair.tasks import LIMIT, TASKS, Task
from benchmarks.fair.training import DECAYS, RATES, Budget
from benchmarks.fair.yardsticks import NAMES as YARDSTICKS
from benchmarks.report import Results, Table, origin

Row = Mapping[str, Any]

NAMES = [*(family.name for family in FAMILIES), *YARDSTICKS]

LEVEL = " ≈"
"""Behind an error that cannot be told from the best one."""


def rows(results: Results, budget: Budget, measured: str = "errors", **values: object) -> Sequence[Row]:
    """Those of this budget; those of a quick run are not of the full one."""
    return results.where(measured=measured, **asdict(budget), **values)


def measured(results: Results, budget: Budget) -> list[Task]:
    """Tasks that occur."""
    found = {row["task"] for row in rows(results, budget)}
    return [task for task in TASKS if task.key in found]


def errors(results: Results, budget: Budget, task: Task, size: int | None, model: str) -> BySeed:
    """Test errors by seed; scikit-learn's models are of no size, or of any."""
    size = None if model in YARDSTICKS else size
    return {row["seed"]: row["test_error"] for row in rows(results, budget, task=task.key, size=size, model=model)}


def tables(results: Results, budget: Budget | None = None) -> list[Table]:
    """Errors on every task, ranks over all of them, how QKANs do against each, and what models cost."""
    budget = budget or Budget()
    known = measured(results, budget)
    if not known:
        return []
    parts = [task_table(results, budget, task) for task in known]
    duels = [duel_table(results, budget, name) for name in (QKAN_NAME, HQKAN_NAME)]
    return [summary(results, budget), *duels, *parts, cost_table(results, budget)]


def summary_tables(results: Results, budget: Budget | None = None) -> list[Table]:
    """Who is best over all tasks, and how QKANs do against each."""
    return tables(results, budget)[:3]


def task_table(results: Results, budget: Budget, task: Task) -> Table:
    """Mean error with the half-width of its confidence interval, by size, and who is best."""
    cells = {size: _cell(results, budget, task, size) for size in task.sizes}
    single = {name: errors(results, budget, task, None, name) for name in YARDSTICKS}
    lines = []
    for name in NAMES:
        texts = [_text(found, name, task) for found in cells.values()]
        texts.append(interval(list(single.get(name, {}).values()), task.overlap))
        lines += [[name, *texts]] if any(text != "-" for text in texts) else []
    winners = ["best", *(", ".join(_best(found)) or "-" for found in cells.values()), ""]
    columns = [task.metric, *(f"≤ {size:,} parameters" for size in task.sizes), "any size"]
    keep = len(columns) - (not any(single.values()))
    return Table(task.label, columns[:keep], [line[:keep] for line in [*lines, winners]])


def _cell(results: Results, budget: Budget, task: Task, size: int) -> dict[str, BySeed]:
    """Errors of all families at one size."""
    every = {family.name: errors(results, budget, task, size, family.name) for family in FAMILIES}
    return {name: found for name, found in every.items() if found}


def _best(found: Mapping[str, BySeed]) -> list[str]:
    """All that have the smallest mean."""
    means = {name: mean(values.values()) for name, values in found.items()}
    return [name for name, value in means.items() if value == min(means.values())]


def _level(found: Mapping[str, BySeed], name: str, task: Task) -> bool:
    """Whether nothing tells a family from the best one."""
    return any(verdict(found[name], found[best], task.overlap) <= 0 for best in _best(found))


def _text(found: Mapping[str, BySeed], name: str, task: Task) -> str:
    if name not in found:
        return "-"
    return interval(list(found[name].values()), task.overlap) + (LEVEL if _level(found, name, task) else "")


def _least(found: Mapping[str, BySeed]) -> float:
    """What stands for an error of 0, which has no ratio to others: half of the smallest mean that occurs."""
    return min((value for values in found.values() if (value := mean(values.values())) > 0), default=1.0) / 2


def summary(results: Results, budget: Budget) -> Table:
    """Over all tasks and sizes: how often a family is best, its mean rank, and its error over that of the best."""
    every = [(task, _cell(results, budget, task, size)) for task in measured(results, budget) for size in task.sizes]
    every = [(task, found) for task, found in every if len(found) > 1]
    lines = []
    for name in (family.name for family in FAMILIES):
        cells = [(task, found) for task, found in every if name in found]
        if not cells:
            continue
        first = sum(name in _best(found) for _, found in cells)
        level = sum(_level(found, name, task) for task, found in cells)
        behind = geometric_mean(ratio(found[name], found[_best(found)[0]], _least(found)) for _, found in cells)
        rank = mean(_rank(found, name) for _, found in cells)
        lines.append([name, f"{first}/{len(cells)}", f"{level}/{len(cells)}", f"{rank:.1f}", f"{behind:.2f}x"])
    lines.sort(key=lambda line: float(line[3]))
    columns = ["model", "best", "best or level with it", "mean rank", "error over that of the best (geometric mean)"]
    return Table("All tasks and sizes", columns, lines)


def _rank(found: Mapping[str, BySeed], name: str) -> float:
    """Among the means, from 1; equal ones share theirs."""
    return float(rankdata([mean(values.values()) for values in found.values()])[list(found).index(name)])


def duel_table(results: Results, budget: Budget, name: str) -> Table:
    """One family against each of the others, on the same splits: how often it is better and worse, and by how much."""
    lines = []
    for other in NAMES:
        cells = [
            (task, found)
            for task in measured(results, budget)
            for size in task.sizes
            if len(found := _pair(results, budget, task, size, (name, other))) == 2
        ]
        if cells:
            verdicts = [verdict(found[name], found[other], task.overlap) for task, found in cells]
            ratios = [ratio(found[name], found[other], _least(found)) for _, found in cells]
            counts = [str(verdicts.count(sign)) for sign in (-1, 0, 1)]
            lines.append([other, *counts, f"{geometric_mean(ratios):.2f}x"])
    columns = ["against", "better", "level", "worse", "error over theirs (geometric mean)"]
    return Table(f"{name} against each, tasks and sizes", columns, lines)


def _pair(results: Results, budget: Budget, task: Task, size: int, names: Sequence[str]) -> dict[str, BySeed]:
    """Errors of both on the seeds that both have."""
    first, second = (errors(results, budget, task, size, name) for name in names)
    seeds = first.keys() & second.keys()
    if not seeds:
        return {}
    return {name: {seed: known[seed] for seed in seeds} for name, known in zip(names, (first, second), strict=True)}


def cost_table(results: Results, budget: Budget) -> Table:
    """What the chosen models cost beside an MLP of the same size on the same task."""
    lines = []
    reference = mean_costs(results, budget, MLP_NAME)
    for family in FAMILIES:
        known = mean_costs(results, budget, family.name)
        cells = [(known[cell], reference[cell]) for cell in known if cell in reference]
        if cells:
            ratios = [geometric_mean(own[column] / other[column] for own, other in cells) for column in costs.NAMES]
            lines.append([family.name, *(f"{value:.2g}x" for value in ratios)])
    shown = ["model", "operations", "time of a step", "memory kept for the backward"]
    return Table(f"Costs over those of the {MLP_NAME}, geometric mean over tasks and sizes", shown, lines)


def mean_costs(results: Results, budget: Budget, model: str) -> dict[tuple[str, int], dict[str, float]]:
    """By task and size, over the seeds."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows(results, budget, "costs", model=model):
        found.setdefault((row["task"], row["size"]), []).append(row)
    return {cell: {name: mean(row[name] for row in known) for name in costs.NAMES} for cell, known in found.items()}


def report(results: Results, budget: Budget) -> str:
    """The Markdown report."""
    parts = [
        "# A fair comparison",
        f"Every family, task, size and seed has {budget.trials} trials, drawn at random from its choices, one or two "
        f"hidden layers, learning rates between {RATES.support()[0]:g} and {RATES.support()[1]:g} and weight decays "
        f"{', '.join(f'{decay:g}' for decay in DECAYS)}. A trial is AdamW in float64, batches of {budget.batch}, at "
        f"most {budget.epochs} epochs, at most {budget.patience} without a smaller validation loss; its weights are "
        "those of the smallest validation loss, the trial with the smallest one is chosen, and only that one sees the "
        "test part. Epochs are equal, seconds are not. Splits are drawn anew for each seed and are the same for all "
        "models; inputs and numbers that are predicted are standardised by the training part, inputs of tables clamped "
        f"to {LIMIT:g} deviations. Models are as wide as the number of parameters allows, all of which are trained. "
        "scikit-learn's models have as many trials, and no limit of size.",
        "Intervals are 95 % for the mean over seeds, widened on tables, whose splits share samples. Whether one model "
        "is better than another is judged by the interval of their differences on the same splits: if it has 0, they "
        f"are level, and{LEVEL} says that nothing tells a model from the best one. No correction is made for how many "
        "are compared, so some of the wins of a long table are chance.",
        f"Costs are measured after all trainings, in one process on one thread, on {costs.BATCH} random samples. "
        "Operations are counted while they run, by one rule for all: two for each multiplication and sum of a matrix "
        "product, one for each number that anything else computes; what a model computes once for its parameters is "
        "shared by the samples. Time is that of forward and backward, the median of "
        f"{costs.ROUNDS}; memory is that of all tensors that the backward needs, parameters among them.",
        *(table.markdown() for table in tables(results, budget)),
        "![Error against costs](fair.png)",
        origin(rows(results, budget)),
    ]
    return "\n\n".join(parts) + "\n"
