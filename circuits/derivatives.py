"""When derivatives written by hand may be used, and what they share.

A hand-written derivative saves memory or time; its plain twin, the same function differentiated by torch, is the truth
it is tested against. The plain twin also runs wherever torch itself wants to see inside: under `torch.compile`,
`torch.func` and forward-mode differentiation.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from circuits.checks import batched


def by_hand(*tensors: Tensor | None) -> bool:
    """Whether a hand-written derivative is wanted: something asks for a gradient and nothing looks inside."""
    return (
        torch.is_grad_enabled()
        and any(tensor is not None and tensor.requires_grad for tensor in tensors)
        and not transformed()
    )


def transformed() -> bool:
    """Whether torch traces or transforms the code that runs now."""
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    return (
        torch.compiler.is_compiling()
        or functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
    )


def differentiated(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor
) -> list[Tensor | None]:
    """The gradients of the plain twin `function(*inputs)`, themselves differentiable, as create_graph asks for."""
    leaves = [tensor for tensor, flag in zip(inputs, wanted, strict=True) if flag]
    # Aliases, so that the derivative stops here, while what it is made of stays connected to the inputs.
    with torch.enable_grad():
        aliases = iter([leaf.view_as(leaf) for leaf in leaves])
        arguments = [next(aliases) if flag else tensor for tensor, flag in zip(inputs, wanted, strict=True)]
        value = function(*arguments)
        if not value.requires_grad:  # does not depend on what is wanted
            return [torch.zeros_like(tensor) if flag else None for tensor, flag in zip(inputs, wanted, strict=True)]
        ends = [argument for argument, flag in zip(arguments, wanted, strict=True) if flag]
        gradients = iter(torch.autograd.grad(value, ends, grad, create_graph=True, materialize_grads=True))
    return [next(gradients) if flag else None for flag in wanted]


def onto(gradient: Tensor, shape: torch.Size) -> Tensor:
    """`gradient` summed over what broadcasting had repeated, so that it has `shape`."""
    return gradient if gradient.shape == shape else gradient.sum_to_size(shape)


def rows_within(budget: float, each: int) -> int:
    """How many rows of `each` bytes fit into a budget of MiB; at least one."""
    return max(1, int(budget * 2**20 / each))


def in_parts(function: Callable[..., Tensor], size: int, rows: Tensor, *shared: Tensor) -> Tensor:
    """`function(rows, *shared)`, computed for `size` rows at a time and once more in the backward.

    Nothing but the inputs is kept for the backward, so that memory is bounded by what one part takes.

    Args:
        function: row by row in its first argument, `(rows, ...)` to `(rows, ...)`.
        size: rows of a part.
        rows: what is divided.
        shared: what every part gets.
    """
    if len(rows) <= size or transformed():
        return function(rows, *shared)
    return _InParts.apply(function, size, rows, *shared)


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], size: int, rows: Tensor, *shared: Tensor) -> Tensor:
        ctx.function, ctx.size = function, size
        ctx.save_for_backward(rows, *shared)
        return torch.cat([function(part, *shared) for part in rows.split(size)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (grad,), (rows, *shared), wanted = grads, ctx.saved_tensors, ctx.needs_input_grad[2:]
        if torch.is_grad_enabled() or batched(grad):
            return None, None, *differentiated(ctx.function, [rows, *shared], wanted, grad)
        leaves = [tensor.detach().requires_grad_(flag) for tensor, flag in zip(shared, wanted[1:], strict=True)]
        by_rows, by_shared = list[Tensor](), [torch.zeros_like(leaf) if leaf.requires_grad else None for leaf in leaves]
        for part, share in zip(rows.split(ctx.size), grad.split(ctx.size), strict=True):
            part = part.detach().requires_grad_(wanted[0])
            ends = [leaf for leaf in (part, *leaves) if leaf.requires_grad]
            with torch.enable_grad():
                value = ctx.function(part, *leaves)
            gradients = [torch.zeros_like(end) for end in ends]
            if value.requires_grad:  # as it does unless it depends on nothing that is wanted
                gradients = list(torch.autograd.grad(value, ends, share, materialize_grads=True))
            if wanted[0]:
                by_rows.append(gradients.pop(0))
            for total in by_shared:
                if total is not None:
                    total += gradients.pop(0)
        return None, None, torch.cat(by_rows) if wanted[0] else None, *by_shared
