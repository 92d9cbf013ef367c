"""Tables of a run, and the Markdown report."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, groupby
from statistics import mean, stdev
from typing import Any

from benchmarks.report import Results, Table, origin
from benchmarks.selectors.kinds import BOOSTING, FOREST, LINEAR
from benchmarks.selectors.peers import NAMES as PEERS
from benchmarks.selectors.protocol import PERCENTS, Study, kept
from benchmarks.selectors.rankings import KAN, QUANTUM, SELECTORS, Network
from benchmarks.selectors.sets import SETS

Row = Mapping[str, Any]

FULL = Study()
"""What a run without options compares, and what documents show."""

EVERYTHING = "all columns"

BEHIND = 2.0
"""Points that a network may be behind the best of the others."""

DEFAULT = "L2"
"""The importance that selectors have by default."""


def folds(results: Results, study: Study, name: str) -> list[Row]:
    """The rows of a table, of this study only."""
    return results.where(dataset=name, **study.setting)


def points(row: Row, selector: str, percent: int) -> float:
    """A hundred times the metric, on average over the predictors."""
    return 100 * mean(row["selections"][selector]["scores"][str(percent)].values())


def stability(rows: Sequence[Row], selector: str, percent: int) -> float:
    """The mean Jaccard index of what is kept in two folds of a seed, 1 if it is always the same; NaN for one fold."""
    found = []
    for _, group in groupby(sorted(rows, key=lambda row: row["seed"]), key=lambda row: row["seed"]):
        orders = [row["selections"][selector]["order"] for row in group]
        chosen = [set(order[: kept(len(order), percent)]) for order in orders]
        found += [len(one & other) / len(one | other) for one, other in combinations(chosen, 2)]
    return mean(found) if found else math.nan


def tables(results: Results, study: Study = FULL) -> list[Table]:
    """The goals, and everybody on every table."""
    known = [name for name in study.sets if folds(results, study, name)]
    return [goal_table(results, study), *(score_table(results, study, name) for name in known)]


def score_table(results: Results, study: Study, name: str) -> Table:
    """Averages over predictors, with their deviation over folds and seeds; stability; seconds of a selection."""
    rows = folds(results, study, name)
    lines = [[EVERYTHING, *[_spread([100 * mean(row["all"].values()) for row in rows])] * len(PERCENTS), "-", "-"]]
    for selector in SELECTORS:
        scores = [_spread([points(row, selector, percent) for row in rows]) for percent in PERCENTS]
        same = " / ".join(f"{stability(rows, selector, percent):.2f}" for percent in PERCENTS)
        seconds = mean(row["selections"][selector]["seconds"] for row in rows)
        lines.append([selector, *scores, same, f"{seconds:.2f}"])
    columns = ["selector", *(f"{percent} %" for percent in PERCENTS), "stability", "seconds"]
    return Table(f"{name}: 100 {SETS[name].kind.metric} with a part of the columns", columns, lines)


def predictor_table(results: Results, study: Study, name: str) -> Table:
    """The same for each predictor: linear, random forest and gradient boosting."""
    rows, order = folds(results, study, name), (LINEAR, FOREST, BOOSTING)

    def cell(values: Callable[[Row], Mapping[str, float]]) -> str:
        return " / ".join(f"{100 * mean(values(row)[predictor] for row in rows):.1f}" for predictor in order)

    def selected(selector: str, percent: int) -> str:
        return cell(lambda row: row["selections"][selector]["scores"][str(percent)])

    lines = [[EVERYTHING, *[cell(lambda row: row["all"])] * len(PERCENTS)]]
    lines += [[selector, *(selected(selector, percent) for percent in PERCENTS)] for selector in SELECTORS]
    columns = ["selector", *(f"{percent} %" for percent in PERCENTS)]
    return Table(f"{name}: 100 {SETS[name].kind.metric} of {', '.join(order)}", columns, lines)


def goal_table(results: Results, study: Study = FULL) -> Table:
    """Networks against whatever does best among the others in the same place."""
    lines = []
    for name in study.sets:
        if rows := folds(results, study, name):
            lines += [_goal_line(rows, name, percent) for percent in PERCENTS]
    contenders = [network.label(DEFAULT) for network in (KAN, QUANTUM)]
    best = [f"best {network.name}" for network in (KAN, QUANTUM)]
    columns = ["columns kept", "best of others", *contenders, *best, "reached"]
    return Table(f"Points ahead of the best of the others; at most {BEHIND:g} behind is the goal", columns, lines)


def _goal_line(rows: Sequence[Row], name: str, percent: int) -> list[str]:
    def average(selector: str) -> float:
        return mean(points(row, selector, percent) for row in rows)

    def ahead(selector: str) -> list[float]:
        return [points(row, selector, percent) - points(row, other, percent) for row in rows]

    other = max(PEERS, key=average)
    defaults = [network.label(DEFAULT) for network in (KAN, QUANTUM)]
    best = [_best(network, average) for network in (KAN, QUANTUM)]
    return [
        f"{name}, {percent} %",
        f"{other}: {average(other):.1f}",
        *(_spread(ahead(selector), sign="+") for selector in defaults),
        *(f"{selector.partition(', ')[2]}: {_spread(ahead(selector), sign='+')}" for selector in best),
        _verdict([mean(ahead(selector)) for selector in (*defaults, *best)]),
    ]


def _best(network: Network, average: Callable[[str], float]) -> str:
    return max((network.label(score) for score in network.scores), key=average)


def _verdict(gaps: Sequence[float]) -> str:
    return " / ".join("yes" if gap >= -BEHIND else "no" for gap in gaps)


def _spread(values: Sequence[float], sign: str = "") -> str:
    deviation = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):{sign}.1f}{deviation}"


def report(results: Results, study: Study) -> str:
    """The Markdown report."""
    known = [name for name in study.sets if folds(results, study, name)]
    rows = [row for name in known for row in folds(results, study, name)]
    parts = "\n\n".join(table.markdown() for table in tables(results, study))
    each = "\n\n".join(predictor_table(results, study, name).markdown() for name in known)
    seeds = len({row["seed"] for row in rows})
    return f"""# Selection of features

{study.folds}-fold cross-validation with {seeds} seeds. Selectors rank the columns by the training part of a fold alone;
then predictors of which nothing is tuned are trained on it with the best 20, 40 and 60 % of the columns and look at the
test part: logistic or ridge regression, a random forest and gradient boosting of {study.trees} trees. What is behind ±
is the deviation over folds and seeds. Stability is the mean Jaccard index of two folds of a seed, at 20, 40 and 60 %.

Networks are trained for {study.epochs} epochs of batches of 64, once for all of their scores, which is in the seconds
of each. As published are a learning rate of 1e-3 and no penalty; the defaults have been chosen on other data, made by
formulas. The best of others is the best of {", ".join(PEERS)} for that table and percentage, in
hindsight; so is the best of a kind of networks, while {DEFAULT} has been chosen before.

{parts}

{each}

{origin(rows)}
"""
