"""The models that are counted: a new one is one row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from circuits import ANSATZE, pz
from classical import LSTM, MLP, BSplineKAN
from qkan import HQKAN, QKAN
from qkan.daruan import Share

HIDDEN, REPS, GROUPS = 16, 3, 4
CELLS, DEGREE = 5, 3

Count = Callable[[int, int], int]


@dataclass(frozen=True)
class Entry:
    """A model of any sizes, and how many parameters it has.

    Args:
        name: as tables show it.
        formula: as tables show it, in i inputs and o outputs.
        count: the formula as a function of i and o.
        build: from i and o to the model.
        steps: time steps of its input; None if it has none.
    """

    name: str
    formula: str
    count: Count
    build: Callable[[int, int], nn.Module]
    steps: int | None = None


SLOTS: Mapping[str, tuple[str, int]] = {
    "pz": ("4r+2", 4 * REPS + 2),
    "rpz": ("3r+1", 3 * REPS + 1),
    "px": ("3r", 3 * REPS),
    "real": ("3r", 3 * REPS),
    "mix": ("4r+2", 4 * REPS + 2),
}
"""Parameters of an activation by ansatz: angles, scales and shifts."""

GRIDS: Mapping[str, tuple[Share, str, Count]] = {
    "": (None, "io", lambda i, o: i * o),
    ", one an input": ("out", "i", lambda i, o: i),
    ", one an output": ("in", "o", lambda i, o: o),
    f", {GROUPS} groups": (GROUPS, f"{GROUPS}", lambda i, o: GROUPS),
}
"""How many activations a layer has, by which edges share one."""


def _qkan(ansatz: str, sharing: str) -> Entry:
    (text, slots), (share, edges, grid) = SLOTS[ansatz], GRIDS[sharing]
    return Entry(
        f"QKAN, {ansatz}{sharing}",
        f"2io + o + {edges}({text})",
        lambda i, o: 2 * i * o + o + grid(i, o) * slots,
        lambda i, o: QKAN([i, o], circuit=ANSATZE[ansatz](REPS), share=share),
    )


def _hqkan(i: int, o: int) -> int:
    first, last = (max(1, (size - 1).bit_length()) for size in (i, o))
    return (i + 1) * first + (2 + 6) * first * last + last + (last + 1) * o


ENTRIES = (
    Entry("linear", "io + o", lambda i, o: i * o + o, nn.Linear),
    Entry(
        f"MLP, {HIDDEN} hidden",
        "(i+1)h + (h+1)o",
        lambda i, o: (i + 1) * HIDDEN + (HIDDEN + 1) * o,
        lambda i, o: MLP([i, HIDDEN, o]),
    ),
    Entry(
        f"LSTM, {HIDDEN} hidden",
        "4h(i+h+2) + (h+1)o",
        lambda i, o: 4 * HIDDEN * (i + HIDDEN + 2) + (HIDDEN + 1) * o,
        lambda i, o: LSTM([i, HIDDEN, o]),
        steps=12,
    ),
    Entry(
        "KAN, B-splines",
        "io(G+k+1)",
        lambda i, o: i * o * (CELLS + DEGREE + 1),
        lambda i, o: BSplineKAN([i, o], grid_size=CELLS, degree=DEGREE),
    ),
    *(_qkan(ansatz, sharing) for ansatz in SLOTS for sharing in GRIDS),
    Entry(
        "QKAN, pz, unit scales",
        "2io + o + io(2r+2)",
        lambda i, o: 2 * i * o + o + i * o * (2 * REPS + 2),
        lambda i, o: QKAN([i, o], circuit=pz(REPS, scale=1, shift=0)),
    ),
    Entry("HQKAN, pz(1)", "(i+1)a + 8ab + b + (b+1)o", _hqkan, HQKAN),
)
"""Every layer of a QKAN has a base branch and a bias."""

LEGEND = (
    f"i inputs, o outputs, h = {HIDDEN} hidden units, r = {REPS} repetitions, G = {CELLS} cells, degree k = {DEGREE}, "
    "latent widths a = ceil(log2 i) and b = ceil(log2 o), at least 1"
)
