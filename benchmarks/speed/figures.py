"""The ratios that the engines were built to reach, each with what was measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.report import Results, Table
from benchmarks.speed.cases import Case, CellCase, LayerCase, RationalCase, SplineCase
from benchmarks.speed.contestants import (
    ALL_KNOTS,
    AUTO,
    BLOCH,
    DEFAULT_QUBIT,
    EXACT,
    LIGHTNING,
    LSTM,
    OWN_KNOTS,
    PRODUCTS,
    RATIONAL,
    RATIONAL_TORCH,
    SPECTRAL,
    SPLINE,
    STATEVECTOR,
    UNIFORM_KNOTS,
)
from benchmarks.speed.groups import (
    CELL_SHAPES,
    CELLS,
    DEPTHS,
    NORMAL,
    RATIONAL_SHAPES,
    RATIONALS,
    SHAPES,
    SPLINE_SHAPES,
    SPLINES,
    TRAINABLE,
    UNIT,
    VECTORS,
)

Row = Mapping[str, Any]

SMALL, SQUARE, HUNDRED, LONG = SHAPES[0], SHAPES[2], SHAPES[3], SHAPES[5]


@dataclass(frozen=True)
class Figure:
    """A ratio and where it should be.

    Args:
        name: as the table shows it.
        measure: from results to the ratio; None if what it needs was not measured.
        goal: what it should be at most, or at least.
        at_least: which of the two.
    """

    name: str
    measure: Callable[[Results], float | None]
    goal: float
    at_least: bool

    def line(self, results: Results) -> list[str]:
        """Of the table."""
        sign, value = "≥" if self.at_least else "≤", self.measure(results)
        if value is None:
            return [self.name, f"{sign} {self.goal:g}", "-", "not measured"]
        reached = value >= self.goal if self.at_least else value <= self.goal
        return [self.name, f"{sign} {self.goal:g}", f"{value:.3g}", "yes" if reached else "no"]


def step(row: Row) -> float:
    """Milliseconds of a training step."""
    return median(row["step_ms"])


def peak(row: Row) -> float | None:
    """MiB of a training step."""
    return row["peak_mib"]


def figures(results: Results) -> Table:
    """All of them."""
    return Table("Goals", ["ratio", "goal", "measured", "reached"], [figure.line(results) for figure in FIGURES])


def timed(results: Results, group: str, contestant: str) -> dict[str, Row]:
    """The rows that have times, by the label of their case."""
    rows = results.where(group=group, contestant=contestant)
    return {row["label"]: row for row in rows if row["step_ms"]}


def _ratio(
    group: str, case: Case, above: str, below: str, quantity: Callable[[Row], float | None] = step
) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        rows = [timed(results, group, name).get(case.label) for name in (above, below)]
        first, second = (None if row is None else quantity(row) for row in rows)
        return first / second if first is not None and second else None

    return measure


def _worst_choice(results: Results) -> float | None:
    """Auto against the fastest engine it may take, in float32, in the case where it does worst."""
    ratios = []
    for group in (UNIT, TRAINABLE, NORMAL):
        for label, row in timed(results, group, AUTO).items():
            others = [other for other in results.where(group=group, label=label, dtype="float32") if other["step_ms"]]
            ours = [step(other) for other in others if other["contestant"] in (AUTO, SPECTRAL, BLOCH, STATEVECTOR)]
            ratios.append(step(row) / min(ours))
    return max(ratios, default=None)


def _least_lead(over: str) -> Callable[[Results], float | None]:
    """Another simulator against our state vectors, in the case where we do worst."""

    def measure(results: Results) -> float | None:
        ours, others = timed(results, VECTORS, STATEVECTOR), timed(results, VECTORS, over)
        return min((step(others[label]) / step(ours[label]) for label in ours.keys() & others.keys()), default=None)

    return measure


def _growth(results: Results) -> float | None:
    """Peak memory of the deepest circuit against the shallowest."""
    peaks = [peak(row) for row in timed(results, DEPTHS, STATEVECTOR).values()]
    return peaks[-1] / peaks[0] if len(peaks) > 1 and peaks[0] and peaks[-1] is not None else None


def _layer(shape: tuple[int, int, int, int], variant: str, above: str, below: str, **more: Any) -> Any:
    return _ratio(variant, LayerCase(*shape), above, below, **more)


def _cell(trainable: bool, above: str, below: str) -> Any:
    return _ratio(CELLS, CellCase(*CELL_SHAPES[0], trainable), above, below)


def _splines(shape: tuple[int, int, int], ours: str) -> Figure:
    case = SplineCase(*shape)
    name = f"B-splines, {case.label}: {ours} / {ALL_KNOTS}"
    return Figure(name, _ratio(SPLINES, case, ours, ALL_KNOTS), 1, False)


def _rationals(shape: tuple[int, int, int], suffix: str) -> Figure:
    name = f"rational, {', '.join(map(str, shape))}: differentiated by torch / ours{suffix}"
    return Figure(name, _ratio(RATIONALS, RationalCase(*shape), RATIONAL_TORCH, f"{RATIONAL}{suffix}"), 3, True)


FIGURES = (
    Figure("1000, 100→100, 3, unit: peer exact / auto", _layer(HUNDRED, UNIT, EXACT, AUTO), 500, True),
    Figure(
        "the same, peak memory: auto / peer exact", _layer(HUNDRED, UNIT, AUTO, EXACT, quantity=peak), 1 / 20, False
    ),
    Figure("1000, 100→100, 3, trainable: peer exact / auto", _layer(HUNDRED, TRAINABLE, EXACT, AUTO), 250, True),
    Figure("1000, 2→5, 3, trainable: peer exact / auto", _layer(SMALL, TRAINABLE, EXACT, AUTO), 6, True),
    Figure("1024, 64→64, 3, unit: auto / B-splines", _layer(SQUARE, UNIT, AUTO, SPLINE), 1, False),
    Figure("1000, 100→100, 3, unit: auto / B-splines", _layer(HUNDRED, UNIT, AUTO, SPLINE), 1, False),
    Figure("1024, 64→64, 3, trainable: auto / B-splines", _layer(SQUARE, TRAINABLE, AUTO, SPLINE), 2, False),
    Figure("1000, 100→100, 3, trainable: auto / B-splines", _layer(HUNDRED, TRAINABLE, AUTO, SPLINE), 2, False),
    Figure("8192, 64→64, 3, trainable: auto / bare products", _layer(LONG, TRAINABLE, AUTO, PRODUCTS), 2.5, False),
    Figure("all shapes: auto / best engine, worst case", _worst_choice, 1.3, False),
    Figure("state vectors: default.qubit / ours, worst case", _least_lead(DEFAULT_QUBIT), 4, True),
    Figure("state vectors: lightning.qubit / ours, worst case", _least_lead(LIGHTNING), 15, True),
    Figure("LSTM, 32, 64 steps, 1→16, 3, unit: auto / nn.LSTM", _cell(False, AUTO, LSTM), 12, False),
    Figure("LSTM, 32, 64 steps, 1→16, 3, trainable: auto / nn.LSTM", _cell(True, AUTO, LSTM), 12, False),
    Figure("LSTM, 32, 64 steps, 1→16, 3, unit: peer exact / auto", _cell(False, EXACT, AUTO), 20, True),
    Figure("LSTM, 32, 64 steps, 1→16, 3, trainable: peer exact / auto", _cell(True, EXACT, AUTO), 20, True),
    *(_splines(shape, ours) for ours in (UNIFORM_KNOTS, OWN_KNOTS) for shape in SPLINE_SHAPES),
    Figure("10 wires: peak memory, depth 64 / depth 4", _growth, 1.5, False),
    *(_rationals(shape, ", compiled") for shape in RATIONAL_SHAPES),
)
"""Times are medians of training steps."""
