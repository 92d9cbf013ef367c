"""The models that are counted: a new one is one row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from benchmarks.sequences.families import Forecaster
from circuits import ANSATZE, pz
from classical import GRU, LSTM, MLP, BSplineKAN, FourierKAN
from qkan import HQKAN, HQKANLSTM, QKAN, QKANGRU, QKANLSTM, QLSTM
from qkan.daruan import Share

HIDDEN, REPS, GROUPS = 16, 3, 4
CELLS, DEGREE = 5, 3
STEPS, WIRES, DEPTH = 12, 4, 2

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


def _hqkan(i: int, o: int, slots: int = 6) -> int:
    first, last = (max(1, (size - 1).bit_length()) for size in (i, o))
    return (i + 1) * first + (2 + slots) * first * last + last + (last + 1) * o


def _recurrent(name: str, formula: str, gates: Count, network: Callable[[int], nn.Module]) -> Entry:
    """With a linear read-out; `gates` are the parameters without it, in i and h."""
    return Entry(
        f"{name}, {HIDDEN} hidden",
        f"{formula} + (h+1)o",
        lambda i, o: gates(i, HIDDEN) + (HIDDEN + 1) * o,
        lambda i, o: Forecaster(network(i), HIDDEN, o),
        STEPS,
    )


def _qlstm(i: int, h: int) -> int:
    return (i + h + 1) * WIRES + (h + 1) * WIRES + (WIRES + 1) * h + 18 * WIRES * DEPTH


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
        steps=STEPS,
    ),
    Entry(
        f"GRU, {HIDDEN} hidden",
        "3h(i+h+2) + (h+1)o",
        lambda i, o: 3 * HIDDEN * (i + HIDDEN + 2) + (HIDDEN + 1) * o,
        lambda i, o: GRU([i, HIDDEN, o]),
        steps=STEPS,
    ),
    Entry(
        "KAN, B-splines",
        "io(G+k+1)",
        lambda i, o: i * o * (CELLS + DEGREE + 1),
        lambda i, o: BSplineKAN([i, o], grid_size=CELLS, degree=DEGREE, scaler=False),
    ),
    Entry(
        "KAN, Fourier",
        "io(2r+1) + o",
        lambda i, o: i * o * (2 * REPS + 1) + o,
        lambda i, o: FourierKAN([i, o], degree=REPS, base="silu"),
    ),
    *(_qkan(ansatz, sharing) for ansatz in SLOTS for sharing in GRIDS),
    Entry(
        "QKAN, pz, unit scales",
        "2io + o + io(2r+2)",
        lambda i, o: 2 * i * o + o + i * o * (2 * REPS + 2),
        lambda i, o: QKAN([i, o], circuit=pz(REPS, scale=1, shift=0)),
    ),
    Entry("HQKAN, pz(1)", "(i+1)a + 8ab + b + (b+1)o", _hqkan, HQKAN),
    _recurrent(
        "QKAN-LSTM, pz",
        "4h((i+h)(4r+4) + 1)",
        lambda i, h: 4 * h * ((i + h) * (4 * REPS + 4) + 1),
        lambda i: QKANLSTM(i, HIDDEN, circuit=pz(REPS)),
    ),
    _recurrent(
        "QKAN-LSTM, pz, one for x and one for h",
        "4h(2i+2h+1) + 2(4r+2)",
        lambda i, h: 4 * h * (2 * i + 2 * h + 1) + 2 * (4 * REPS + 2),
        lambda i: QKANLSTM(i, HIDDEN, circuit=pz(REPS), share=1),
    ),
    _recurrent(
        "HQKAN-LSTM, pz",
        "(i+h+1)p + (4r+4)pq + q + (q+1)4h",
        lambda i, h: _hqkan(i + h, 4 * h, 4 * REPS + 2),
        lambda i: HQKANLSTM(i, HIDDEN, circuit=pz(REPS)),
    ),
    _recurrent(
        "QKAN-GRU, pz",
        "3h((i+h)(4r+4) + 2)",
        lambda i, h: 3 * h * ((i + h) * (4 * REPS + 4) + 2),
        lambda i: QKANGRU(i, HIDDEN, circuit=pz(REPS)),
    ),
    _recurrent(
        f"QLSTM, {WIRES} qubits",
        "n(i+2h+2) + (n+1)h + 18nd",
        _qlstm,
        lambda i: QLSTM(i, HIDDEN, depth=DEPTH, n_qubits=WIRES),
    ),
)
"""Every layer of a QKAN has a base branch and a bias."""

LEGEND = (
    f"i inputs, o outputs, h = {HIDDEN} hidden units, r = {REPS} repetitions, G = {CELLS} cells, degree k = {DEGREE}, "
    f"latent widths a = ceil(log2 i) and b = ceil(log2 o), at least 1; the same p and q of i+h and "
    f"4h; n = {WIRES} qubits, depth d = {DEPTH}"
)
