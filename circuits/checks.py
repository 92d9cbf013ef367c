"""What circuits and engines accept: the one place where it is checked, and where looking at values is switched off."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from circuits.angles import affine
from circuits.circuit import Circuit
from circuits.errors import UnsupportedCircuit

_check_values: ContextVar[bool] = ContextVar("circuits_check_values", default=True)


@contextmanager
def unchecked() -> Iterator[None]:
    """Within this context values are not looked at: no pass over the data, no wait for a GPU.

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
    check_tensor("x", x)
    if x.ndim == 0 or x.shape[-1] != circuit.features:
        raise ValueError(
            f"Argument `x` must have shape (*grid, {circuit.features}), its last dimension holding the circuit's "
            f"{circuit.features} feature(s), but has shape {tuple(x.shape)}."
        )
    if not isinstance(params, Mapping):
        raise TypeError(f"Argument `params` must be a mapping of slot names to tensors, but is {params!r}.")
    slots = circuit.slots
    if params.keys() != slots.keys():
        raise ValueError(
            f"Argument `params` must hold exactly the circuit's slots {list(slots)}, but holds {list(params)}."
        )
    for name, length in slots.items():
        tensor = params[name]
        check_tensor(f"params[{name!r}]", tensor)
        if tensor.ndim == 0 or tensor.shape[-1] != length:
            raise ValueError(
                f"Argument `params[{name!r}]` must have shape (*grid, {length}), but has shape {tuple(tensor.shape)}."
            )
        if tensor.device != x.device:
            raise ValueError(
                f"Argument `params[{name!r}]` is on {tensor.device}, but `x` is on {x.device}: move one of them."
            )
    shapes = {"x": x.shape[:-1]} | {f"params[{name!r}]": params[name].shape[:-1] for name in slots}
    try:
        grid = torch.broadcast_shapes(*shapes.values())
    except RuntimeError:
        listed = ", ".join(f"{name}: {tuple(shape)}" for name, shape in shapes.items())
        raise ValueError(f"The grids of x and params must broadcast, but are {listed}.") from None
    _check_domain(circuit, x, params)
    return grid


def check_activation(circuit: Circuit) -> None:
    """Refuse circuits that are not a function of one variable with one value."""
    _check_circuit(circuit)
    if circuit.features != 1 or not isinstance(circuit.readout, str):
        raise UnsupportedCircuit(
            f"An activation must read feature 0 only and one readout string, but this circuit reads {circuit.features} "
            f"feature(s) and measures {circuit.readout!r}."
        )


def check_weight(x: Tensor, weight: Tensor) -> None:
    """Refuse weights that are not `(*batch, out, in)` for `x (*batch, in)`."""
    check_tensor("weight", weight)
    if not isinstance(x, Tensor) or x.ndim == 0:
        raise ValueError(f"Argument `x` must be a tensor of shape (*batch, in), but is {x!r}.")
    if weight.ndim < 2 or weight.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"Argument `weight` must have shape (out, {x.shape[-1]}) for x of shape {tuple(x.shape)}, but has shape "
            f"{tuple(weight.shape)}."
        )


def check_tensor(name: str, tensor: object) -> None:
    """Refuse what is not a floating tensor of finite values."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"Argument `{name}` must be a torch.Tensor, but is a {type(tensor).__name__}.")
    if not tensor.is_floating_point():
        raise TypeError(f"Argument `{name}` must be real floating-point, but is {tensor.dtype}: call .float() on it.")
    if not _values_visible(tensor):
        return
    # One reduction without a temporary: the sum is finite unless an entry is not, or unless it overflows.
    detached = tensor.detach()
    if not torch.isfinite(detached.sum()) and not (finite := torch.isfinite(detached)).all():
        position = tuple((~finite).nonzero()[0].tolist())
        raise ValueError(
            f"Argument `{name}` must be finite, but is {detached[position].item()} at index {position} "
            f"({int((~finite).sum())} of {finite.numel()} entries are not finite): clean the data or lower the "
            "learning rate."
        )


def check_sampling(shots: int | None, seed: int | None) -> None:
    """Refuse impossible numbers of shots and seeds."""
    for name, value, least in (("shots", shots, 1), ("seed", seed, 0)):
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"Argument `{name}` must be an int or None, but is {value!r}.")
        if value < least:
            raise ValueError(f"Argument `{name}` must be at least {least}, but is {value}.")


def _check_circuit(circuit: object) -> None:
    if not isinstance(circuit, Circuit):
        raise TypeError(f"Argument `circuit` must be a Circuit, such as pz(reps=3), but is {circuit!r}.")


def _check_domain(circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> None:
    limited = dict.fromkeys(encoding for encoding in circuit.encodings if encoding.through == "arccos")
    if not limited or not _values_visible(x, *params.values()):
        return
    with torch.no_grad():
        for encoding in limited:
            value = affine(encoding, x, params)
            if value.numel() and value.abs().max() > 1:
                raise ValueError(
                    f"Argument `x` must satisfy |{encoding.scale}*x+{encoding.shift}| <= 1, the domain of arccos, but "
                    f"reaches {value.abs().max().item():.6g}: rescale or clip x to [-1, 1], and keep scale and shift "
                    "fixed, as in px(3, scale=1, shift=0), or small."
                )


def _values_visible(*tensors: Tensor) -> bool:
    if torch.compiler.is_compiling() or not _check_values.get():
        return False
    return not any(tensor.device.type == "meta" or _batched(tensor) for tensor in tensors)


def _batched(tensor: Tensor) -> bool:
    """Whether `torch.vmap` is at work at any level: under vmap(grad(f)) it hides beneath the wrapper of grad."""
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False
