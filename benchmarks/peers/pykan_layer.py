"""The layer of the PyPI distribution `pykan`: B-splines of degree 3 on 5 intervals, and a SiLU base."""

from importlib import import_module
from importlib.metadata import version
from typing import Any

from serve import Work, serve, training
from torch import Tensor


def build(case: dict[str, Any], options: dict[str, Any], arrays: dict[str, Tensor]) -> Work:
    """Freshly initialised; of the four things that the layer returns, only the first is its output."""
    layer = import_module("kan.KANLayer").KANLayer(case["in_features"], case["out_features"], num=5, k=3)
    leaves = {name: leaf for name, leaf in layer.named_parameters() if leaf.requires_grad}
    return training(lambda x: layer(x)[0], leaves | {"x": arrays["x"]}, f"pykan {version('pykan')}")


if __name__ == "__main__":
    serve(build)
