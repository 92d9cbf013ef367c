"""Shots on any exact engine: what an ideal device would measure, as fast as drawing the numbers."""

from typing import ClassVar

import torch
from torch import Tensor

from circuits.checks import check_seed, check_shots
from circuits.circuit import Circuit
from circuits.engines.engine import BlackBox, Engine
from circuits.engines.noisy import corrected
from circuits.gradient import Gradient, check_ungridded, generator, gradient_of, on_table
from circuits.noise import ReadoutError
from circuits.shots import sample, shown


class Sampled(BlackBox):
    """The exact value z replaced by the mean of S signs, each +1 with probability (1 + z) / 2.

    Several readout strings are measured one after the other, each with all shots. Gradients are those of a device: rows
    of their own, with shots of their own.

    Args:
        base: name of an exact engine, or one, such as `Noisy(noise)`.
        shots: measurements of every evaluation and readout string, or a tensor that broadcasts with the grid; None for
            exact values, from a device that gives values only.
        seed: of the random numbers, which run on, so that every call is a fresh sample.
        gradient: "shift", "spsa", "simulator" (by `base`), or one that is built, such as `Spsa(repeats=4, seed=0)`.
        readout: error that is known and taken out of every value, as a calibration does; for circuits of one wire.
    """

    name: ClassVar[str] = "sampled"

    def __init__(
        self,
        base: str | Engine = "auto",
        shots: int | Tensor | None = None,
        seed: int | None = None,
        gradient: str | Gradient = "shift",
        readout: ReadoutError | None = None,
    ) -> None:
        from circuits.engines import get  # which knows this engine, too

        check_seed(seed)
        self.base, self.shots = get(base), check_shots(shots)
        if isinstance(self.base, BlackBox):
            raise ValueError(f"Argument `base` must be an exact engine, but {self.base!r} measures by itself.")
        check_ungridded("base", self.base)
        if readout is not None and (readout.slope <= 0.05).any():
            raise ValueError(
                f"Argument `readout` tells |0> from |1> by {readout.slope.min().item():.3g} of 1 only, too little to "
                "correct."
            )
        self.rewrites = getattr(self.base, "simplifies", True)
        self.gradient = gradient_of(gradient, seed, lambda: self.base)
        self._generator, self.readout = generator(seed), readout

    def unsupported(self, circuit: Circuit) -> str | None:
        if self.readout is not None and circuit.wires > 1:
            return f"it has {circuit.wires} wires, and a readout error to correct is that of one"
        return self.base.unsupported(circuit)

    def _measure(self, circuit: Circuit, table: Tensor, shots: Tensor | None) -> tuple[Tensor, Tensor]:
        values, errors = super()._measure(circuit, table, shots)
        if self.readout is None:
            return values, errors
        return corrected(values, self.readout), errors

    def expected_error(self, circuit: Circuit, values: Tensor, shots: Tensor) -> Tensor:
        """The standard errors of values that are measured with `shots (N,)`, the correction included."""
        errors = super().expected_error(circuit, values, shots)
        return errors if self.readout is None else errors / self.readout.slope

    @torch.no_grad()
    def _run(self, circuit: Circuit, table: Tensor, shots: int | None) -> Tensor:
        exact = on_table(self.base, circuit, table)
        return exact if shots is None else sample(exact, shots, self._generator)

    def __repr__(self) -> str:
        return f"Sampled({self.base!r}, shots={shown(self.shots)}, gradient={self.gradient!r})"
