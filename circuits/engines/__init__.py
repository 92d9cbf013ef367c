"""Engines: what evaluates a circuit. `get` builds one by name, `select` says which one "auto" takes and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import Literal, overload

from torch import Tensor

from circuits.circuit import Circuit
from circuits.engines.auto import Auto, Choice, select
from circuits.engines.engine import BlackBox, Costs, Engine
from circuits.engines.limits import Limits


@dataclass(frozen=True)
class _Row:
    module: str
    cls: str
    packages: tuple[str, ...] = ()


ENGINES: dict[str, _Row] = {
    "auto": _Row("circuits.engines.auto", "Auto"),
    "reference": _Row("circuits.engines.reference", "Reference"),
    "statevector": _Row("circuits.engines.statevector", "Statevector"),
    "bloch": _Row("circuits.engines.bloch", "Bloch"),
    "spectral": _Row("circuits.engines.spectral", "Spectral"),
    "noisy": _Row("circuits.engines.noisy", "Noisy"),
    "sampled": _Row("circuits.engines.sampled", "Sampled"),
    "pennylane": _Row("circuits.engines.pennylane", "PennyLane", ("pennylane",)),
    "qiskit": _Row("circuits.engines.qiskit", "Qiskit", ("qiskit", "qiskit_aer")),
    "sampler": _Row("circuits.engines.sampler", "Sampler", ("qiskit", "qiskit_aer")),
}
"""Every engine by name; a new one is a file beside this one and a row here."""


def get(name: str | Engine, **options: object) -> Engine:
    """The engine called `name`, built with its own `options`; an engine object comes back as it is.

    Raises:
        ValueError: for an unknown name, listing the known ones, or an option out of range.
        TypeError: for an option the engine does not have, listing those it has.
        EngineUnavailable: if a third-party package is missing, with the pip line.

    >>> get("bloch")
    Bloch()
    """
    if not isinstance(name, str):
        # Anything with the contract will do; the class of an engine has it, but is none.
        if isinstance(name, type) or not callable(getattr(name, "contract", None)):
            raise TypeError(f"Argument `engine` must be a name ({', '.join(ENGINES)}) or an engine, but is {name!r}.")
        if options:
            raise TypeError(f"Options {sorted(options)} need an engine name; {name!r} is built already.")
        return name
    if name not in ENGINES:
        raise ValueError(f"Argument `engine` must be one of {', '.join(ENGINES)}, but is {name!r}.")
    row = ENGINES[name]
    engine = getattr(import_module(row.module), row.cls)
    known = signature(engine).parameters
    if not options.keys() <= known.keys():
        raise TypeError(f"Engine {name!r} has the options {list(known)}, but was given {sorted(options)}.")
    return engine(**options)


def available() -> tuple[str, ...]:
    """The names of the engines whose third-party packages are installed."""
    return tuple(name for name, row in ENGINES.items() if all(find_spec(package) for package in row.packages))


@overload
def expectation(circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], engine: str | Engine = "auto") -> Tensor: ...
@overload
def expectation(
    circuit: Circuit,
    x: Tensor,
    params: Mapping[str, Tensor],
    engine: str | Engine = "auto",
    *,
    with_error: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def expectation(
    circuit: Circuit,
    x: Tensor,
    params: Mapping[str, Tensor],
    engine: str | Engine = "auto",
    *,
    with_error: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""The Born expectation $\langle 0|U^\dagger P U|0\rangle$ of a circuit's readout strings P.

    Args:
        circuit: what to evaluate.
        x: `(*grid, features)`, real floating-point, finite.
        params: slot name to `(*grid, n)` as `circuit.slots` asks; all grids broadcast.
        engine: a name of `available()`, or an engine such as `engines.get("qiskit", shots=1024, seed=0)`.
        with_error: whether the standard error comes with the value; zero for exact engines.

    Returns:
        `(*grid)` for one readout string, `(*grid, readouts)` for a tuple of them; dtype and device of the inputs.

    >>> import torch
    >>> from circuits import expectation, pz
    >>> x = torch.tensor([[0.0], [0.5]])
    >>> expectation(pz(1, scale=1, shift=0), x, {"theta": torch.tensor([0.0, 0.0, 0.0, -torch.pi / 2])})
    tensor([1.0000, 0.8776])
    """
    return get(engine)(circuit, x, params, with_error)


__all__ = [
    "ENGINES",
    "Auto",
    "BlackBox",
    "Choice",
    "Costs",
    "Engine",
    "Limits",
    "available",
    "expectation",
    "get",
    "select",
]
