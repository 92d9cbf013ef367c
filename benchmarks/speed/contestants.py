"""Who takes part: a new contestant is one row."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed.cases import Case, LayerCase
from benchmarks.speed.process import ROOT
from benchmarks.speed.race import Contestant
from circuits import engines

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"

AUTO, SPECTRAL, BLOCH, STATEVECTOR = "ours, auto", "ours, spectral", "ours, bloch", "ours, statevector"
SPLINE, LINEAR, PRODUCTS = "B-splines, ours", "nn.Linear", "bare products"
UNIFORM_KNOTS, OWN_KNOTS, ALL_KNOTS = "ours, uniform knots", "ours, own knots", "recursion over all knots"
RATIONAL, RATIONAL_TORCH = "ours, rational", "ours, rational by torch"
"""Gradients by hand, and the same formula differentiated by torch."""
STEPWISE, LSTM = "ours, bloch, step by step", "nn.LSTM"
EXACT, CUTN, PYKAN = "qkan 0.2.3, exact", "qkan 0.2.3, cutn", "pykan 0.2.8"
DEFAULT_QUBIT, LIGHTNING = "PennyLane default.qubit", "PennyLane lightning.qubit"

OUR_ENGINES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (AUTO, "auto", {}),
    (SPECTRAL, "spectral", {}),
    (BLOCH, "bloch", {}),
    (f"{BLOCH}, compiled", "bloch", {"compile": True}),
    (STATEVECTOR, "statevector", {}),
)
"""Label, name and options; what the installed package does not have is left out."""

IN_DOUBLE = (AUTO, SPECTRAL, BLOCH)
"""These are timed in float64, too."""


MOST = {STATEVECTOR: 10**5, f"{BLOCH}, compiled": 10**5, BLOCH: 5 * 10**7}
"""Circuits of a case above which we do not take part: a step, or compiling one, would take a minute."""


class MissingPeers(Exception):
    """There is no environment of the peers."""


def peers_python() -> Path:
    """The interpreter of the peers' environment.

    Raises:
        MissingPeers: if there is none.
    """
    if not PEERS_PYTHON.exists():
        raise MissingPeers(
            f"There is no {PEERS_PYTHON.relative_to(ROOT)}: run `make peers` first, or leave out --peers."
        )
    return PEERS_PYTHON


def layers(peers: Path | None = None) -> tuple[Contestant, ...]:
    """For cases of a layer; `peers` is the interpreter of the peers that take part."""
    rows = [
        _ours(label, dtype, model="qkan", engine=name, engine_options=options)
        for dtype in ("float32", "float64")
        for label, name, options in OUR_ENGINES
        if _exists(name, options) and (dtype == "float32" or label in IN_DOUBLE)
    ]
    rows += [
        _ours(SPLINE, judged=False, model="spline"),
        _ours(LINEAR, judged=False, model="linear"),
        _ours(PRODUCTS, judged=False, model="products"),
    ]
    if peers is not None:
        rows += [
            _peer(peers, EXACT, "qkan_layer.py", _at_most(12 * 10**6), solver="exact"),
            _peer(peers, CUTN, "qkan_layer.py", _at_most(5 * 10**6), solver="cutn"),
            _peer(peers, PYKAN, "pykan_layer.py", judged=False),
            _peer(peers, DEFAULT_QUBIT, "pennylane_circuit.py", _at_most(10**5), device="default.qubit"),
            _peer(peers, LIGHTNING, "pennylane_circuit.py", _at_most(10**4), device="lightning.qubit"),
        ]
    return tuple(rows)


def cells(peers: Path | None = None) -> tuple[Contestant, ...]:
    """For cases of a recurrent network."""
    rows = [_ours(AUTO, dtype, model="cell", engine="auto") for dtype in ("float32", "float64")]
    rows += [_ours(STEPWISE, model="cell", engine="bloch"), _ours(LSTM, judged=False, model="lstm")]
    return (*rows, *([] if peers is None else [_peer(peers, EXACT, "qkan_cell.py", solver="exact")]))


def splines() -> tuple[Contestant, ...]:
    """For cases of B-splines, all with the same parameters: ours, and the form that computes all functions."""
    return (
        _ours(UNIFORM_KNOTS, model="uniform splines"),
        _ours(OWN_KNOTS, model="moved splines"),
        _ours(ALL_KNOTS, model="all splines"),
    )


def rationals() -> tuple[Contestant, ...]:
    """For cases of a rational function: with gradients by hand or by torch, as it is or compiled."""
    paths = {RATIONAL: "fast", RATIONAL_TORCH: "plain"}
    return tuple(
        _ours(f"{label}, compiled" if compiled else label, model="rational", path=path, compile=compiled)
        for compiled in (True, False)
        for label, path in paths.items()
    )


def vectors() -> tuple[Contestant, ...]:
    """For cases of a state vector; PennyLane is an optional dependency of ours, so it runs where we run."""
    python = Path(sys.executable)
    return (
        vector(),
        _peer(python, DEFAULT_QUBIT, "pennylane_circuit.py", device="default.qubit"),
        _peer(python, LIGHTNING, "pennylane_circuit.py", device="lightning.qubit"),
    )


def vector() -> Contestant:
    """Ours alone."""
    return _ours(STATEVECTOR, model="vector", engine="statevector")


def picked(contestants: tuple[Contestant, ...], *names: str) -> tuple[Contestant, ...]:
    """Those of `contestants` that have one of the names."""
    return tuple(contestant for contestant in contestants if contestant.name in names)


def _ours(label: str, dtype: str = "float32", judged: bool = True, **options: Any) -> Contestant:
    return Contestant(
        label if dtype == "float32" else f"{label}, {dtype}",
        (sys.executable, "-m", "benchmarks.speed.worker"),
        options,
        dtype,
        judged,
        _at_most(MOST.get(label, 10**9)) if options["model"] == "qkan" else _always,
    )


def _peer(
    python: Path,
    label: str,
    script: str,
    refuse: Callable[[Case], str | None] | None = None,
    judged: bool = True,
    **options: Any,
) -> Contestant:
    command = (str(python), str(ROOT / "benchmarks" / "peers" / script))
    return Contestant(label, command, options, judged=judged, refuse=refuse or _always)


def _always(case: Case) -> str | None:
    return None


def _at_most(circuits: int) -> Callable[[Case], str | None]:
    """Refuses what would take a minute a step, or more."""

    def refuse(case: Case) -> str | None:
        if isinstance(case, LayerCase) and case.circuits > circuits:
            return f"{case.circuits:,} circuits are more than {circuits:,}"
        return None

    return refuse


def _exists(engine: str, options: dict[str, Any]) -> bool:
    try:
        engines.get(engine, **options)
    except (TypeError, ValueError):
        return False
    return True
