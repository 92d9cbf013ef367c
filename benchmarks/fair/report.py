"""Who wins where, and by how much, made of rows alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import geometric_mean, mean, stdev
from typing import Any

from scipy import stats

from benchmarks.fair.families import FAMILIES
from benchmarks.fair.tasks import TASKS, Task
from benchmarks.fair.training import DECAYS, RATES, Budget
from benchmarks.fair.yardsticks import NAMES as YARDSTICKS
from benchmarks.report import Results, Table, origin

Row = Mapping[str, Any]

NAMES = [*(family.name for family in FAMILIES), *YARDSTICKS]

CLOSE = 1.0
"""Standard errors of the difference within which nobody is said to be better."""


def rows(results: Results, budget: Budget, **values: object) -> Sequence[Row]:
    """Those of this budget; those of a quick run are not of the full one."""
    return results.where(**asdict(budget), **values)


def measured(results: Results, budget: Budget) -> list[Task]:
    """Tasks that occur."""
    found = {row["task"] for row in rows(results, budget)}
    return [task for task in TASKS if task.key in found]


def errors(results: Results, budget: Budget, task: Task, size: int | None, model: str) -> list[float]:
    """Test errors of all seeds."""
    return [row["test_error"] for row in rows(results, budget, task=task.key, size=size, model=model)]


def tables(results: Results, budget: Budget | None = None) -> list[Table]:
    """Errors on every task, ranks over all of them, and what models cost."""
    budget = budget or Budget()
    known = measured(results, budget)
    if not known:
        return []
    parts = [task_table(results, budget, task) for task in known]
    return [summary(results, budget), *parts, cost_table(results, budget)]


def summary_tables(results: Results, budget: Budget | None = None) -> list[Table]:
    """Who is best over all tasks, and what models cost."""
    return tables(results, budget)[:1]


def task_table(results: Results, budget: Budget, task: Task) -> Table:
    """Mean error with the half-width of its confidence interval, by size, and who is best."""
    lines = []
    for name in NAMES:
        cells = [_interval(errors(results, budget, task, size, name)) for size in (*task.sizes, None)]
        lines += [[name, *cells]] if any(cell != "-" for cell in cells) else []
    columns = [task.metric, *(f"≤ {size:,} parameters" for size in task.sizes), "any size"]
    if all(line[-1] == "-" for line in lines):
        columns, lines = columns[:-1], [line[:-1] for line in lines]
    winners = ["best", *(_winner(results, budget, task, size) for size in task.sizes)]
    return Table(task.label, columns, [*lines, winners + [""] * (len(columns) - len(winners))])


def _interval(values: Sequence[float]) -> str:
    """The mean and the half-width of its 95 % interval by Student's distribution."""
    if not values:
        return "-"
    if len(values) == 1 or not all(map(math.isfinite, values)):
        return f"{mean(values):.3g}"
    half = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):.3g} ± {half:.1g}"


def _winner(results: Results, budget: Budget, task: Task, size: int) -> str:
    found = _means(results, budget, task, size)
    return min(found, key=found.__getitem__) if found else "-"


def _means(results: Results, budget: Budget, task: Task, size: int) -> dict[str, float]:
    every = {family.name: errors(results, budget, task, size, family.name) for family in FAMILIES}
    return {name: mean(values) for name, values in every.items() if values}


def summary(results: Results, budget: Budget) -> Table:
    """Over all tasks and sizes: how often a family is best, its mean rank, and its error over that of the best."""
    cells = [
        found
        for task in measured(results, budget)
        for size in task.sizes
        if len(found := _means(results, budget, task, size)) > 1
    ]
    lines = []
    for family in FAMILIES:
        taking_part = [found for found in cells if family.name in found]
        if not taking_part:
            continue
        ranks = [sorted(found.values()).index(found[family.name]) + 1 for found in taking_part]
        # An error of 0 has no ratio to others: half of the smallest that occurs stands for it.
        behind = [_ratio(found, family.name) for found in taking_part]
        first = sum(rank == 1 for rank in ranks)
        lines.append([family.name, f"{first}/{len(ranks)}", f"{mean(ranks):.1f}", f"{geometric_mean(behind):.2f}x"])
    lines.sort(key=lambda line: float(line[2]))
    columns = ["model", "best", "mean rank", "error over that of the best (geometric mean)"]
    return Table("All tasks and sizes", columns, lines)


def _ratio(found: Mapping[str, float], name: str) -> float:
    least = min((value for value in found.values() if value > 0), default=1.0) / 2
    return max(found[name], least) / max(min(found.values()), least)


def cost_table(results: Results, budget: Budget) -> Table:
    """What the chosen models cost for each of their parameters, beside an MLP of the same size on the same task."""
    lines = []
    columns = ("operations", "step_seconds", "kept_bytes", "search_seconds")
    reference = _costs(results, budget, FAMILIES[0].name, columns)
    for family in FAMILIES:
        known = _costs(results, budget, family.name, columns)
        ratios = [
            [known[cell][column] / reference[cell][column] for cell in known if cell in reference]
            for column in range(len(columns))
        ]
        if all(ratios):
            lines.append([family.name, *(f"{geometric_mean(ratio):.2g}x" for ratio in ratios)])
    shown = ["model", "operations", "time of a step", "memory kept for the backward", "time of a search"]
    return Table(f"Costs over those of the {FAMILIES[0].name}, geometric mean over tasks and sizes", shown, lines)


def _costs(results: Results, budget: Budget, model: str, columns: Sequence[str]) -> dict[tuple[str, int], list[float]]:
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows(results, budget, model=model):
        found.setdefault((row["task"], row["size"]), []).append(row)
    return {cell: [mean(row[column] for row in known) for column in columns] for cell, known in found.items()}


def report(results: Results, budget: Budget) -> str:
    """The Markdown report."""
    parts = [
        "# A fair comparison",
        f"Every family, task, size and seed has {budget.trials} trials, drawn at random from its choices, one or two "
        f"hidden layers, learning rates between {RATES.support()[0]:g} and {RATES.support()[1]:g} and weight decays "
        f"{', '.join(f'{decay:g}' for decay in DECAYS)}. A trial is AdamW in float64, batches of {budget.batch}, at "
        f"most {budget.epochs} epochs; its weights are those of the smallest validation loss, the trial with the "
        "smallest one is chosen, and only that one sees the test part. Splits are drawn anew for each seed. "
        "Models are as wide as the number of parameters allows. Intervals are 95 % for the mean over seeds. "
        "Operations are counted while a batch of 256 runs, by one rule for all: two for each multiplication and sum "
        "of a matrix product, one for each number that anything else computes.",
        *(table.markdown() for table in tables(results, budget)),
        "![Error against costs](fair.png)",
        origin(rows(results, budget)),
    ]
    return "\n\n".join(parts) + "\n"
