"""What `fit` trains on: checked tensors in bulk batches, checked parameters, and an optimizer for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from numbers import Integral
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Adam, Optimizer
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from qkan.lightning import ACCELERATORS

Data: TypeAlias = tuple[Tensor, Tensor] | DataLoader[Any]
MakeOptimizer: TypeAlias = Callable[[list[nn.Parameter]], Optimizer]

# Torch's own tolerances are absolute, 1e-7 for the gradient and 1e-9 for the loss, and stall losses that are small;
# zero would let the line search divide by the width of an empty bracket.
full_batch_lbfgs = partial(LBFGS, line_search_fn="strong_wolfe", tolerance_grad=1e-32, tolerance_change=1e-32)

# What losses are multiplied by while L-BFGS minimises them: torch's stops learning curvature where the product of a
# step and the change of the gradient is below an absolute 1e-10, so that losses below some 1e-7 would stall.
UNITS = {"lbfgs": 1e6}

# Name of an optimizer -> how to make it, and its own names for the arguments of `fit` that it takes.
OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], dict[str, str]]] = {
    "adam": (Adam, {"lr": "lr"}),
    "lbfgs": (full_batch_lbfgs, {"lr": "lr", "history": "history_size"}),
}


def make_loader(
    data: Data, device: torch.device, batch_size: int | None, *, shuffle: bool, generator: torch.Generator | None
) -> DataLoader[Any]:
    """A loader that indexes its tensors once per batch, by a slice where the order is free."""
    if isinstance(data, DataLoader):
        return data
    dataset = TensorDataset(*(tensor.to(device) for tensor in data))
    size = len(dataset) if batch_size is None else min(batch_size, len(dataset))
    indices: Iterable[Any] = [slice(start, start + size) for start in range(0, len(dataset), size)]
    if shuffle and size < len(dataset):
        indices = BatchSampler(RandomSampler(dataset, generator=generator), size, drop_last=False)
    return DataLoader(dataset, sampler=indices, batch_size=None, generator=generator)


def count_batches(loader: DataLoader[Any]) -> float:
    """Number of batches, infinite for an `IterableDataset` that does not say."""
    try:
        return len(loader)
    except TypeError:
        return math.inf


def make_optimizer(
    parameters: list[nn.Parameter], optimizer: str | MakeOptimizer, **arguments: float | None
) -> Optimizer:
    if isinstance(optimizer, str) and optimizer in OPTIMIZERS:
        make, names = OPTIMIZERS[optimizer]
    elif callable(optimizer):
        make, names = optimizer, {}
    else:
        raise ValueError(
            f"Argument `optimizer` must be {', '.join(map(repr, OPTIMIZERS))} or a callable from parameters to an"
            f" `Optimizer`, but is {optimizer!r}."
        )
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in given.keys() - names.keys():
        raise ValueError(f"Argument `{name}` must be left out with optimizer {optimizer!r}, but is {given[name]}.")
    result = make(parameters, **{names[name]: value for name, value in given.items()})
    if not isinstance(result, Optimizer):
        raise TypeError(f"Argument `optimizer` must return an `Optimizer`, but returns {type(result).__name__}.")
    return result


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"Argument `model` must be a `torch.nn.Module`, but is a `{type(model).__name__}`.")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("Argument `model` must have parameters with `requires_grad`, but has none to train.")
    devices = {parameter.device for parameter in model.parameters()}
    if len(devices) > 1 or trained[0].device.type not in ACCELERATORS:
        names = ", ".join(sorted(map(str, devices)))
        raise ValueError(f"Argument `model` must be on one CPU or CUDA device, but is on {names}; use `model.to`.")
    return trained


def check_positive(kind: type, *, optional: bool = False, **arguments: Any) -> None:
    for name, value in arguments.items():
        if optional and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, kind):
            number = "an integer" if kind is Integral else "a number"
            raise TypeError(f"Argument `{name}` must be {number}, but is {value!r}.")
        if not float(value) > 0:
            raise ValueError(f"Argument `{name}` must be positive, but is {value}.")


def check_data(name: str, data: Data, parameters: list[nn.Parameter], *, any_target: bool) -> None:
    if isinstance(data, DataLoader):
        if count_batches(data) == 0:
            raise ValueError(f"Argument `{name}` must have samples, but its `DataLoader` has none.")
        return
    if not (isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(tensor, Tensor) for tensor in data)):
        raise TypeError(
            f"Argument `{name}` must be a pair `(x, y)` of tensors or a `DataLoader`, but is a `{type(data).__name__}`."
        )
    x, y = data
    if x.ndim == 0 or y.ndim == 0 or not 0 < len(x) == len(y):
        raise ValueError(
            f"Argument `{name}` must have at least one sample and as many in `x` as in `y`, but their shapes are"
            f" {tuple(x.shape)} and {tuple(y.shape)}."
        )
    dtypes = {parameter.dtype.to_real() for parameter in parameters}
    for part, tensor in {"x": x, "y": y}.items():
        if tensor.dtype not in dtypes and not (part == "y" and any_target):
            wanted = " or ".join(sorted(map(str, dtypes)))
            raise TypeError(
                f"Argument `{name}` must have `{part}` in the dtype {wanted} of the model, but it is {tensor.dtype};"
                f" use `{part}.to`."
            )
        if not tensor.isfinite().all():
            count = int((~tensor.isfinite()).sum())
            raise ValueError(f"Argument `{name}` must be finite, but `{part}` has {count} entries that are not.")
