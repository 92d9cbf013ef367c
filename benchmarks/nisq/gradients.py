"""How good gradients by shots are: parameter shift and simultaneous perturbation at equal shots a circuit."""

import math
from collections.abc import Callable
from statistics import mean

import torch
from torch import Tensor

from benchmarks.report import Results
from circuits import engines, pz
from circuits.gradient import Gradient, Shift, Spsa

RULES: dict[str, tuple[Callable[[int], Gradient], int]] = {
    "parameter shift": (lambda seed: Shift(), 16),
    "SPSA, 1 direction": (lambda seed: Spsa(0.2, 1, seed), 2),
    "SPSA, 4 directions": (lambda seed: Spsa(0.2, 4, seed), 8),
    "SPSA, 8 directions": (lambda seed: Spsa(0.2, 8, seed), 16),
}
"""How a gradient is taken, and the rows it takes of a pz(3) circuit, whose 11 angles are 8 that are shifted."""

BUDGETS = (256, 1024, 4096, 16384, 65536)
"""Shots for the whole gradient of one circuit."""


def compare(results: Results, repeats: int, advance: Callable[[], None]) -> None:
    """The cosine between the measured gradient of a circuit in all its parameters and the exact one."""
    circuit = pz(3)
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(repeats, 1, dtype=torch.float64, generator=generator) - 1
    params = {
        name: math.pi * (2 * torch.rand(repeats, n, dtype=torch.float64, generator=generator) - 1)
        for name, n in circuit.slots.items()
    }

    def gradient(engine: engines.Engine) -> Tensor:
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in params.items()}
        value = engine(circuit, x, leaves).sum()
        return torch.cat(torch.autograd.grad(value, list(leaves.values())), dim=-1)

    exact = gradient(engines.get("bloch"))
    for budget in BUDGETS:
        for rule, (make, rows) in RULES.items():
            device = engines.get("sampled", shots=max(1, budget // rows), seed=budget, gradient=make(budget))
            cosines = torch.nn.functional.cosine_similarity(gradient(device), exact, dim=-1)
            results.add(
                stage="gradient",
                rule=rule,
                budget=budget,
                rows=rows,
                circuits=repeats,
                cosine=mean(cosines.tolist()),
                spread=cosines.std().item(),
            )
            advance()
