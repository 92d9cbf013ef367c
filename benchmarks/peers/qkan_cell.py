"""An LSTM cell around two layers of the PyPI distribution `qkan`, another package than ours, step by step."""

from typing import Any

import torch
from qkan_layer import made
from serve import Work, serve, training
from torch import Tensor


def build(case: dict[str, Any], options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """`options` has the solver. The layer of x sees all steps at once."""
    hidden, leaves, layers, name = case["hidden"], dict[str, Tensor](), [], ""
    for part, inputs in (("input", case["in_features"]), ("hidden", hidden)):
        prefix = f"{part}_"
        own = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
        layer, parameters, name = made(case | {"in_features": inputs, "out_features": 4 * hidden}, options, own)
        leaves |= {prefix + key: leaf for key, leaf in parameters.items()}
        layers.append(layer)
    outer, inner = layers

    def network(x: Tensor) -> Tensor:
        z = outer(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        h = c = x.new_zeros(len(x), hidden)
        steps = []
        for part in z.unbind(1):
            i, f, g, o = (part + inner(h)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            steps.append(h)
        return torch.stack(steps, 1)

    return training(network, leaves | {"x": arrays["x"]}, name)


if __name__ == "__main__":
    serve(build)
