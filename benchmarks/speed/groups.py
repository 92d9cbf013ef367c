"""What a run consists of: groups of cases, and who takes part in them."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed import contestants
from benchmarks.speed.cases import Case, CellCase, LayerCase, RationalCase, SplineCase, VectorCase
from benchmarks.speed.contestants import (
    AUTO,
    BLOCH,
    CUTN,
    EXACT,
    LINEAR,
    PRODUCTS,
    PYKAN,
    RATIONAL,
    RATIONAL_TORCH,
    SPLINE,
)
from benchmarks.speed.race import Contestant

SHAPES = (
    (1000, 2, 5, 3),
    (256, 16, 16, 3),
    (1024, 64, 64, 3),
    (1000, 100, 100, 3),
    (256, 128, 128, 3),
    (8192, 64, 64, 3),
    (1024, 64, 64, 6),
    (4096, 256, 256, 3),
)
"""Batch, inputs, outputs, repetitions."""

UNIT, TRAINABLE, NORMAL = "Unit scales", "Everything trainable", "Standard normal inputs"
VECTORS, DEPTHS = "State vectors", "State vectors of growing depth"
CELLS, SPLINES = "Recurrent networks", "B-splines"
CELL_SHAPES = ((32, 64, 1, 16, 3), (32, 64, 16, 16, 3))
"""Batch, steps, inputs, hidden units, repetitions."""

SPLINE_SHAPES = ((1024, 64, 64), (1000, 100, 100))
"""Batch, inputs, outputs."""
RATIONALS = "Rational activations"
RATIONAL_SHAPES = ((64, 197, 192), (8, 197, 768))
"""Batch, tokens, channels: of the first activation of KAT-T, and of the second one."""

VARIANTS = {UNIT: False, TRAINABLE: True}

AXES: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "batch": tuple((batch, 64, 64, 3) for batch in (64, 256, 1024, 4096)),
    "width": tuple((1024, width, width, 3) for width in (8, 32, 64, 128, 256)),
    "reps": tuple((1024, 64, 64, reps) for reps in (1, 2, 4, 8)),
}
"""What is varied in a sweep, and where it goes."""


@dataclass(frozen=True)
class Group:
    """Cases that make one table, or one panel of the picture.

    Args:
        name: of the table.
        cases: in order.
        contestants: who takes part in each.
        axis: of a sweep, whose contestants leave when they become too slow; empty for a table.
        rounds: at most.
    """

    name: str
    cases: tuple[Case, ...]
    contestants: tuple[Contestant, ...]
    axis: str = ""
    rounds: int = 1000


def everything(peers: Path | None) -> list[Group]:
    """The whole benchmark; `peers` is the interpreter of the peers that take part."""
    all_layers = contestants.layers(peers)
    groups = [
        Group(name, tuple(LayerCase(*shape, trainable=trainable) for shape in SHAPES), all_layers)
        for name, trainable in VARIANTS.items()
    ]
    own_layers = contestants.layers()
    normal = tuple(LayerCase(1000, 100, 100, 3, trainable, "normal") for trainable in VARIANTS.values())
    vectors = tuple(VectorCase(n, depth, batch) for n in (4, 6, 8, 10) for depth in (2, 4) for batch in (64, 256))
    cells = tuple(CellCase(*shape, trainable) for shape in CELL_SHAPES for trainable in VARIANTS.values())
    depths = tuple(VectorCase(10, depth, 256) for depth in (4, 16, 64))
    return [
        *groups,
        Group(NORMAL, normal, own_layers),
        Group(VECTORS, vectors, contestants.vectors()),
        Group(DEPTHS, depths, (contestants.vector(),)),
        Group(CELLS, cells, contestants.cells(peers)),
        Group(SPLINES, tuple(SplineCase(*shape) for shape in SPLINE_SHAPES), contestants.splines()),
        Group(RATIONALS, tuple(RationalCase(*shape) for shape in RATIONAL_SHAPES), contestants.rationals()),
        *_sweeps(all_layers),
    ]


def quick(peers: Path | None) -> list[Group]:
    """Seconds in all: whether the benchmark works."""
    known = contestants.layers(peers)
    rationals = contestants.rationals()
    one, other = contestants.picked(known, AUTO, SPLINE, PRODUCTS), contestants.picked(known, AUTO, LINEAR, EXACT)
    return [
        Group(UNIT, (LayerCase(64, 3, 4, 2),), one),
        Group(TRAINABLE, (LayerCase(32, 2, 3, 2, trainable=True),), other),
        Group(VECTORS, (VectorCase(3, 2, 16),), (contestants.vector(),)),
        Group(CELLS, (CellCase(4, 5, 1, 2, 1, trainable=True),), contestants.cells(peers)),
        Group(SPLINES, (SplineCase(32, 3, 4),), contestants.splines()),
        Group(RATIONALS, (RationalCase(2, 3, 8),), contestants.picked(rationals, RATIONAL, RATIONAL_TORCH)),
    ]


def _sweeps(all_layers: tuple[Contestant, ...]) -> list[Group]:
    sizes = contestants.picked(all_layers, AUTO, BLOCH, SPLINE, LINEAR, EXACT, CUTN, PYKAN)
    return [
        Group(
            f"Sweep over {axis}",
            tuple(LayerCase(*shape, trainable=True) for shape in shapes),
            sizes,
            axis,
            rounds=3,
        )
        for axis, shapes in AXES.items()
    ]
