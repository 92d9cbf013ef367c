"""What circuits and engines accept: where it is checked, and where looking at values is switched off.

Shapes, dtypes and devices are checked before anything is computed, which costs nothing. Values are judged by the
result: NaN, infinity and what lies outside the domain of arccos make it NaN, so that one sum over the result tells
whether the inputs need to be looked at to say which of them is to blame.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Real
from typing import Any, TypeGuard

import torch
from torch import Tensor

from circuits.angles import bind
from circuits.circuit import Circuit
from circuits.errors import UnsupportedCircuit
from circuits.shapes import broadcast

_check_values: ContextVar[bool] = ContextVar("circuits_check_values", default=True)


@contextmanager
def unchecked() -> Iterator[None]:
    """Within this context values are not checked: no pass over the data, no wait for a GPU (but for the range that the
    spectral engine expands on, unless its `domain` and `degree` are fixed).

    Shapes, dtypes and devices are still checked, which costs nothing. NaN and infinity then travel through to the
    result, and data outside the domain of an arccos encoding become NaN. Code under `torch.compile` and `torch.vmap`
    is always unchecked in this sense, because it cannot branch on values.
    """
    token = _check_values.set(False)
    try:
        yield
    finally:
        _check_values.reset(token)


def check_inputs(circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> torch.Size:
    """Refuse what `circuit` cannot be evaluated on, with an error naming argument, value and remedy.

    Args:
        circuit: the circuit.
        x: `(*grid, features)`.
        params: slot name to `(*grid, n)`; the grids broadcast.

    Returns:
        The common grid.
    """
    _check_circuit(circuit)
    check_kind("x", x)
    if x.ndim == 0 or x.shape[-1] != circuit.features:
        raise ValueError(
            f"Argument `x` must have shape (*grid, {circuit.features}), its last dimension holding the circuit's "
            f"{circuit.features} feature(s), but has shape {tuple(x.shape)}."
        )
    return _check_params(circuit, x, params, x.shape[:-1])


def check_sum(circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], weight: Tensor) -> torch.Size:
    """Refuse what a weighted sum of activations cannot be evaluated on.

    Args:
        circuit: one feature, one readout string.
        x: `(*batch, in)`.
        params: slot name to `(*batch, out or 1, in or 1, n)`.
        weight: `(*batch, out, in)`.

    Returns:
        The grid `(*batch, out or 1, in)` of the activations.
    """
    check_activation(circuit)
    check_kind("x", x)
    check_kind("weight", weight)
    if x.ndim == 0:
        raise ValueError(f"Argument `x` must be a tensor of shape (*batch, in), but is {x!r}.")
    if weight.ndim < 2 or weight.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"Argument `weight` must have shape (out, {x.shape[-1]}) for x of shape {tuple(x.shape)}, but has shape "
            f"{tuple(weight.shape)}."
        )
    return _check_params(circuit, x, params, (*x.shape[:-1], 1, x.shape[-1]))


def _check_params(circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], x_grid: Sequence[int]) -> torch.Size:
    """Names, shapes, dtypes and devices of `params`; the grid they have in common with x."""
    if not isinstance(params, Mapping):
        raise TypeError(f"Argument `params` must be a mapping of slot names to tensors, but is {params!r}.")
    slots = circuit.slots
    if params.keys() != slots.keys():
        raise ValueError(
            f"Argument `params` must hold exactly the circuit's slots {list(slots)}, but holds {list(params)}."
        )
    for name, length in slots.items():
        tensor = params[name]
        check_kind(f"params[{name!r}]", tensor)
        if tensor.ndim == 0 or tensor.shape[-1] != length:
            raise ValueError(
                f"Argument `params[{name!r}]` must have shape (*grid, {length}), but has shape {tuple(tensor.shape)}."
            )
        if tensor.device != x.device:
            raise ValueError(
                f"Argument `params[{name!r}]` is on {tensor.device}, but `x` is on {x.device}: move one of them."
            )
    try:
        return broadcast(x_grid, *(params[name].shape[:-1] for name in slots))
    except ValueError:
        shapes = {"x": x_grid} | {f"params[{name!r}]": params[name].shape[:-1] for name in slots}
        listed = ", ".join(f"{name}: {tuple(shape)}" for name, shape in shapes.items())
        raise ValueError(f"The grids of x and params must broadcast, but are {listed}.") from None


def check_values(circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], weight: Tensor | None = None) -> None:
    """Refuse values that are not finite, and data outside the domain of arccos.

    Args:
        circuit: the circuit.
        x: `(*grid, features)`; `(*batch, in)` if there is a weight.
        params: slot name to tensor.
        weight: of a sum over inputs.
    """
    named = {"x": x} | {f"params[{name!r}]": tensor for name, tensor in params.items()}
    for name, tensor in (named | ({} if weight is None else {"weight": weight})).items():
        check_tensor(name, tensor)
    _check_domain(circuit, x if weight is None else x[..., None, :, None], params)


def suspicious(result: Tensor) -> bool:
    """Whether a result is not finite, if its values may be looked at: one pass over it, and one synchronisation."""
    if not values_visible(result):
        return False
    return not math.isfinite(result.detach().sum().item())


def check_activation(circuit: Circuit) -> None:
    """Refuse circuits that are not a function of one variable with one value."""
    _check_circuit(circuit)
    if circuit.features != 1 or not isinstance(circuit.readout, str):
        raise UnsupportedCircuit(
            f"An activation must read feature 0 only and one readout string, but this circuit reads {circuit.features} "
            f"feature(s) and measures {circuit.readout!r}."
        )


def check_tensor(name: str, tensor: object) -> None:
    """Refuse what is not a floating tensor of finite values."""
    tensor = check_kind(name, tensor).detach()
    # A sum of finite numbers may overflow, so only if it is not finite each entry is looked at.
    if suspicious(tensor) and not (finite := torch.isfinite(tensor)).all():
        position = tuple((~finite).nonzero()[0].tolist())
        raise ValueError(
            f"Argument `{name}` must be finite, but is {tensor[position].item()} at index {position} "
            f"({int((~finite).sum())} of {finite.numel()} entries are not finite): clean the data or lower the "
            "learning rate."
        )


def check_kind(name: str, tensor: object) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"Argument `{name}` must be a torch.Tensor, but is a {type(tensor).__name__}.")
    if not tensor.is_floating_point():
        raise TypeError(f"Argument `{name}` must be real floating-point, but is {tensor.dtype}: call .float() on it.")
    return tensor


def check_shots(shots: int | Tensor | None) -> int | Tensor | None:
    """Refuse impossible numbers of shots; a tensor of them is for rows that have their own."""
    if isinstance(shots, Tensor):
        if shots.is_floating_point() or shots.is_complex() or shots.dtype == torch.bool:
            raise TypeError(f"Argument `shots` must hold ints, but is {shots.dtype}: call .long() on it.")
        if (shots < 1).any():
            raise ValueError(f"Argument `shots` must be at least 1, but is {int(shots.min())}.")
        return shots
    return None if shots is None else check_int("shots", shots, 1, "an int or None")


def check_seed(seed: int | None) -> int | None:
    """Refuse impossible seeds."""
    return None if seed is None else check_int("seed", seed, 0, "an int or None")


def check_int(name: str, value: object, least: int, kind: str = "an int") -> int:
    """Refuse what is not an int of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"Argument `{name}` must be {kind}, but is {value!r}.")
    if value < least:
        raise ValueError(f"Argument `{name}` must be at least {least}, but is {value}.")
    return value


def check_budget(budget: object) -> float:
    """Refuse what is not an amount of memory, in MiB."""
    if not is_real(budget) or budget <= 0:
        raise ValueError(f"Argument `budget` must be a positive number of MiB, but is {budget!r}.")
    return float(budget)


def is_real(number: object) -> TypeGuard[float]:
    """Whether `number` is a finite real number, and no bool."""
    return isinstance(number, Real) and not isinstance(number, bool) and math.isfinite(number)


def _check_circuit(circuit: object) -> None:
    if not isinstance(circuit, Circuit):
        raise TypeError(f"Argument `circuit` must be a Circuit, such as pz(reps=3), but is {circuit!r}.")


def _check_domain(circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> None:
    limited = dict.fromkeys(encoding for encoding in circuit.encodings if encoding.through == "arccos")
    if not limited or not values_visible(x, *params.values()):
        return
    with torch.no_grad():
        for encoding in limited:
            value = bind(encoding.argument, x, params)
            assert isinstance(value, Tensor)
            if value.numel() and value.abs().max() > 1:
                raise ValueError(
                    f"Argument `x` must satisfy |{encoding.scale}*x+{encoding.shift}| <= 1, the domain of arccos, but "
                    f"reaches {value.abs().max().item():.6g}: rescale or clip x to [-1, 1], and keep scale and shift "
                    "fixed, as in px(3, scale=1, shift=0), or small."
                )


def values_visible(*tensors: Tensor) -> bool:
    """Whether values may be looked at: checks are on, and `tensors` have values of their own."""
    if torch.compiler.is_compiling() or not _check_values.get():
        return False
    return not any(tensor.device.type == "meta" or batched(tensor) for tensor in tensors)


def concrete(tensor: Tensor) -> Tensor:
    """The tensor beneath all wrappers of `torch.func`, with dimensions for what `torch.vmap` maps over."""
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def batched(tensor: Tensor) -> bool:
    """Whether `torch.vmap` is at work at any level: under vmap(grad(f)) it hides beneath the wrapper of grad.

    Gradients that autograd itself maps over, `is_grads_batched`, have a wrapper of their own.
    """
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    if functorch.is_legacy_batchedtensor(tensor):
        return True
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False
