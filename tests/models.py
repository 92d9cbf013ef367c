"""Networks in a state that training may leave them in, inputs for them, and what all their tests need."""

import math
from collections.abc import Mapping
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from circuits import ANSATZE, Circuit, Encode, Gate, Slot
from qkan import QKANLayer
from qkan.daruan import Share

Module = TypeVar("Module", bound=nn.Module)
F32, F64, BF16 = torch.float32, torch.float64, torch.bfloat16

IN, OUT = 5, 3
SHARES: tuple[Share, ...] = (None, "out", "in", 1, 2, IN)
"""2 groups do not divide 5 inputs."""

ENTANGLED = Circuit(
    (
        Gate("H", 0),
        Gate("RY", 1, Slot("turn", 0)),
        Gate("RZ", 0, Encode(Slot("speed"), Slot("phase"))),
        Gate("CNOT", (0, 1)),
        Gate("RX", 1, Encode(2.0)),
        Gate("CRY", (1, 0), Slot("turn", 1)),
    ),
    "ZX",
)
PAIR = (
    Gate("RY", 0, Slot("a")),
    Gate("H", 1),
    Gate("RX", 1, Encode(Slot("a", 1))),
    Gate("CNOT", (1, 0)),
    Gate("RY", 1, Slot("a", 2)),
    Gate("CZ", (0, 1)),
)
"""Gates of two wires without controlled rotations, which devices have no native form of."""

COSINE = Circuit((Gate("RY", 0, Encode()),))
CIRCUITS = {name: ansatz(2) for name, ansatz in ANSATZE.items()} | {"entangled": ENTANGLED, "cosine": COSINE}

shares = pytest.mark.parametrize("share", SHARES, ids=str)
each_circuit = pytest.mark.parametrize("circuit", CIRCUITS.values(), ids=CIRCUITS)


def scrambled(model: Module, seed: int = 0) -> Module:
    """All parameters as training may leave them: in [-pi, pi], but |scale * x + shift| < 0.9, inside every arccos."""
    generator = drawn(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            bound = 0.45 if name.endswith(("scale", "shift")) else math.pi
            parameter.copy_((2 * torch.rand(parameter.shape, generator=generator, dtype=F64) - 1) * bound)
    return model


def data(*batch: int, features: int = IN, dtype: torch.dtype = F64) -> Tensor:
    return 0.9 * (2 * torch.rand(*batch, features, generator=drawn(1), dtype=F64) - 1).to(dtype)


def layers(model: nn.Module) -> list[QKANLayer]:
    return [module for module in model.modules() if isinstance(module, QKANLayer)]


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def identical(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
