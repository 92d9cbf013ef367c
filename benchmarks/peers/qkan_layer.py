"""The layer of the PyPI distribution `qkan`, which is another package than ours, with the parameters of the case."""

from importlib import import_module
from typing import Any

import torch
from serve import Work, serve, training
from torch import Tensor


def build(case: dict[str, Any], options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """`options` has the solver. The readout is <Z>, which `fast_measure`, on by default, is not."""
    layer, leaves, name = made(case, options, arrays)
    return training(layer, leaves | {"x": arrays["x"]}, name)


def made(
    case: dict[str, Any], options: dict[str, Any], arrays: dict[str, Tensor]
) -> tuple[torch.nn.Module, dict[str, Tensor], str]:
    """The layer, its parameters by the names of the case's arrays, and what it is."""
    package = import_module("qkan")
    layer = package.QKANLayer(
        case["in_features"],
        case["out_features"],
        reps=case["reps"],
        solver=options["solver"],
        ansatz="pz",
        preact_trainable=case["trainable"],
        postact_weight_trainable=True,
        base_activation="silu",
        fast_measure=False,
    )
    leaves = {"theta": layer.theta, "weight": layer.postact_weights, "base_weight": layer.base_weight}
    if case["trainable"]:
        leaves |= {"scale": layer.preacts_weight, "shift": layer.preacts_bias}
    with torch.no_grad():
        for name, leaf in leaves.items():
            leaf.copy_(arrays[name].reshape(leaf.shape))
    return layer, leaves, f"qkan {package.__version__}, solver {options['solver']}"


if __name__ == "__main__":
    serve(build)
