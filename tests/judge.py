"""What an engine says about a circuit, in a form that can be compared."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from circuits import Circuit
from circuits.engines import BlackBox, Engine, get
from tolerances import Tolerance


def derivatives(function: Callable[..., Tensor], leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The value of `function(**leaves)`, and the gradient of a weighted sum of its entries in every leaf."""
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in leaves.items()}
    value = function(**leaves)
    weight = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).reshape(value.shape)
    gradients = torch.autograd.grad((weight * value).sum(), list(leaves.values()))
    return {"value": value.detach()} | {f"d/d{name}": g for name, g in zip(leaves, gradients, strict=True)}


def report(engine: Engine, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The value of a circuit and its gradient in x and every slot."""
    return derivatives(lambda x, **params: engine(circuit, x, params), {"x": x, **params})


def assert_same(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: Tolerance) -> None:
    assert actual.keys() == expected.keys()
    for name, tensor in actual.items():
        wanted = expected[name]
        torch.testing.assert_close(
            tensor.to(wanted.dtype), wanted, **tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


class Counting(BlackBox):
    """An exact device that returns values only, and remembers the shape of every table of angles it was given."""

    name = "counting"

    def __init__(self) -> None:
        self.tables: list[tuple[int, ...]] = []

    def _run(self, circuit: Circuit, table: Tensor, shots: int | None) -> Tensor:
        self.tables.append(tuple(table.shape))
        x, params = torch.zeros(1, dtype=table.dtype), dict.fromkeys(circuit.slots, table.detach())
        return get("reference")(Circuit(circuit.gates, circuit.strings), x, params).expand(len(table), -1)
