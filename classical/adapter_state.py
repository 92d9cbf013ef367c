"""What adapters have learned, apart from the model that they adapt: a small file for each task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from classical.adapt import adapters


def adapter_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of all adapters, without the linear maps they adapt, by their names in the model's `state_dict`.

    They are contiguous copies, each with memory of its own, as the format safetensors wants it.

    Raises:
        ValueError: If the model has no adapter.
    """
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in _own(model).items()}


def load_adapter_state_dict(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give the adapters of `model` what `adapter_state_dict` kept; everything else of the model stays as it is.

    Raises:
        ValueError: If the model has no adapter, or if names or shapes are not those of its adapters; the model is as
            it was then.
    """
    own = _own(model)
    problems = [f"{name!r} is missing" for name in own if name not in state]
    problems += [f"{name!r} is of no adapter" for name in state if name not in own]
    problems += [
        f"{name!r} must have shape {tuple(tensor.shape)}, but has {tuple(state[name].shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(f"Argument `state` must be of the same adapters: {'; '.join(problems[:5])}{more}.")
    model.load_state_dict(dict(state), strict=False)


def _own(model: nn.Module) -> dict[str, Tensor]:
    found = {
        f"{name}.{key}" if name else key: tensor
        for name, adapter in adapters(model).items()
        for key, tensor in adapter.state_dict().items()
        if not key.startswith("base.")
    }
    if not found:
        raise ValueError("Argument `model` has no adapter: see `adapt`.")
    return found
