"""Tables and the report of the functions benchmark, made of rows alone."""

import math
from collections.abc import Mapping, Sequence
from statistics import geometric_mean, median
from typing import Any

from benchmarks.functions.families import FAMILIES, QKAN_NAME
from benchmarks.functions.goals import ABLATIONS, CHOSEN, EVERYTHING, GOALS, Goal
from benchmarks.functions.protocol import Study
from benchmarks.functions.targets import TARGETS, Target
from benchmarks.report import Results, Table, origin

NAMES = [family.name for family in FAMILIES]


FULL = Study()
"""What a run without options compares, and what documents show."""


def finals(results: Results, study: Study, **values: object) -> list[Mapping[str, Any]]:
    """The rows with test errors that are of this study; those of a quick run are not of the full one."""
    return results.where(stage="final", steps=study.steps, **values)


def rows_of(results: Results, study: Study) -> list[Mapping[str, Any]]:
    """All rows of this study."""
    goals = [row for goal in EVERYTHING for row in goal.known(study, results)]
    return [*goals, *results.where(stage="tuning", steps=study.tuning_steps), *finals(results, study)]


def errors(results: Results, study: Study, target: str, size: int, model: str) -> list[float]:
    """Test errors of all seeds."""
    return [row["test_error"] for row in finals(results, study, target=target, size=size, model=model)]


def sizes(results: Results, study: Study) -> list[int]:
    """Numbers of parameters that occur."""
    return sorted({row["size"] for row in finals(results, study)})


def measured(results: Results, study: Study, size: int | None = None) -> list[Target]:
    """Targets that occur, at any size or at this one."""
    found = {row["target"] for row in finals(results, study) if size in (None, row["size"])}
    return [target for target in TARGETS if target.key in found]


def medians(results: Results, study: Study, target: Target, size: int) -> dict[str, float]:
    """Median test error of the families that have a model so small."""
    found = {name: errors(results, study, target.key, size, name) for name in NAMES}
    return {name: median(values) for name, values in found.items() if values}


def tables(results: Results, study: Study = FULL) -> list[Table]:
    """Goals, ablations, who wins at which size, and every target at the largest one."""
    parts = goal_tables(results, study)
    if known := sizes(results, study):
        parts += [summary(results, study), by_target(results, study, known[-1])]
    return parts


def goal_tables(results: Results, study: Study = FULL) -> list[Table]:
    """What single QKANs reach, and what it depends on."""
    return [goal_table(results, study), ablation_table(results, study)]


def goal_table(results: Results, study: Study) -> Table:
    """Test errors and times of single QKANs beside their goals."""
    lines = [_goal_line(goal, rows) for goal in GOALS if (rows := goal.known(study, results))]
    return Table("Function fitting, medians over seeds", ["figure", "goal", "measured", "reached"], lines)


def _goal_line(goal: Goal, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found, seconds = [row["test_mse"] for row in rows], median(row["seconds"] for row in rows)
    assert goal.bound is not None
    reached = median(found) <= goal.bound and (goal.seconds is None or seconds <= goal.seconds)
    first = rows[0]
    return [
        f"{goal.target.label}, {goal.name}: {first['model']}, {first['parameters']} parameters",
        f"test MSE <= {goal.bound:.0e}" + (f", <= {goal.seconds:g} s" if goal.seconds else ""),
        f"{_spread(found)}, {seconds:.1f} s",
        "yes" if reached else "no",
    ]


def ablation_table(results: Results, study: Study) -> Table:
    """Validation errors with one thing changed at a time."""
    lines = []
    for goal in ABLATIONS:
        found = [row["validation_mse"] for row in goal.known(study, results)]
        lines += [[goal.name, f"{median(found):.1e}", f"{min(found):.1e}", f"{max(found):.1e}"]] if found else []
    columns = ["one thing changed", "validation MSE, median", "min", "max"]
    return Table(f"What matters for {CHOSEN.target.label}", columns, lines)


def summary(results: Results, study: Study) -> Table:
    """How often a family has the smallest median, and how far off it is on average, at every size."""
    lines = []
    for name in NAMES:
        line = [name]
        for size in sizes(results, study):
            found = [medians(results, study, target, size) for target in measured(results, study)]
            taking_part = [values for values in found if name in values]
            wins = sum(name == min(values, key=values.__getitem__) for values in taking_part)
            behind = geometric_mean([values[name] / min(values.values()) for values in taking_part] or [math.nan])
            line.append(f"{wins}/{len(taking_part)}, {behind:.2g}x")
        lines.append(line)
    columns = ["model", *(f"≤ {size} parameters" for size in sizes(results, study))]
    return Table("Targets won, and error over that of the winner (geometric mean)", columns, lines)


def by_target(results: Results, study: Study, size: int) -> Table:
    """Error of every family on every target, with the winner."""
    lines = []
    for target in measured(results, study, size):
        found = {name: errors(results, study, target.key, size, name) for name in NAMES}
        values = medians(results, study, target, size)
        winner = min(values, key=values.__getitem__)
        lines.append([f"{target.key}: {target.label}", *(_spread(found[name]) for name in NAMES), winner])
    columns = ["target", *NAMES, "best"]
    return Table(f"Relative error on test points, at most {size} parameters: median [min..max]", columns, lines)


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.1e} [{min(values):.0e}..{max(values):.0e}]" if values else "-"


def choices(results: Results, study: Study) -> Table:
    """Which variant was chosen how often at every size."""
    rows: Sequence[Mapping[str, Any]] = finals(results, study, seed=0)
    lines = [
        [f"{family.name}: {variant}"]
        + [str(sum(_is(row, family.name, variant, size) for row in rows)) for size in sizes(results, study)]
        for family in FAMILIES
        for variant in family.variants
    ]
    return Table("Variants chosen", ["variant", *(f"≤ {size} parameters" for size in sizes(results, study))], lines)


def _is(row: Mapping[str, Any], model: str, variant: str, size: int) -> bool:
    return (row["model"], row["variant"], row["size"]) == (model, variant, size)


def losses(results: Results, study: Study) -> str:
    """Where QKAN has not the smallest median at the largest size."""
    size = sizes(results, study)[-1]
    lost = []
    for target in measured(results, study, size):
        values = medians(results, study, target, size)
        best = min(values, key=values.__getitem__)
        if best != QKAN_NAME and QKAN_NAME in values:
            lost.append(f"{target.key} ({values[QKAN_NAME] / values[best]:.2g} times the error of the {best})")
    return ", ".join(lost) or "nowhere"


def report(results: Results, study: Study, seeds: int) -> str:
    """The Markdown report."""
    train, validation, test = study.points
    parts = [
        "# Function fitting",
        f"{train} training, {validation} validation and {test} test points, uniform on the box and drawn anew for each "
        f"of {seeds} seeds; inputs scaled to [-1, 1]; float64, L-BFGS on the full batch with strong Wolfe line search "
        f"and {CHOSEN.history} curvature pairs, outer steps of 20 iterations; the weights of the best validation step "
        "are kept.",
        *(table.markdown() for table in tables(results, study)),
    ]
    if sizes(results, study):
        parts += [
            "The comparison: values standardised by the training points, errors in units of their deviation. Every "
            f"family has {len(FAMILIES[0].variants)} trials at every size, with two seeds that are not reported, "
            f"{study.tuning_steps} outer steps and validation points only, and then {study.steps} outer steps a seed. "
            "The variants were found before, in rough runs on validation points of six targets. "
            "Models are as wide, or where they are one edge as fine, as the number of parameters allows; what does not "
            "fit is left out. Steps are equal, seconds are not. "
            f"With at most {sizes(results, study)[-1]} parameters a QKAN loses on: {losses(results, study)}.",
            "![Error against parameters](functions.png)",
            choices(results, study).markdown(),
        ]
    parts.append(origin(rows_of(results, study)))
    return "\n\n".join(parts) + "\n"
