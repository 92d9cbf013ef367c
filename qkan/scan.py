r"""The recurrence of an LSTM whose gates are expansions in the hidden state, step by step and differentiated by hand.

With features $r$ of a basis, and $i, f, g, o$ the four quarters of $a$:

.. math::
    u_t = e_t + m_{t-1} M, \quad a_t = z_t + r(u_t) C + \mathrm{base}(u_t) B, \quad
    c_t = \sigma(f) c_{t-1} + \sigma(i) \tanh(g), \quad m_t = \sigma(o) \tanh(c_t).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from circuits.checks import batched
from circuits.derivatives import differentiated, rows_within
from circuits.precision import full_precision
from circuits.scratch import scratch
from qkan.features import Features

BUDGET = 16.0
"""MiB of features that a backward holds at a time."""


def scan(
    features: Features,
    outer: Tensor,
    first: Tensor,
    inner: Tensor | None,
    mixing: Tensor | None,
    weights: Tensor,
    cell: Tensor,
) -> tuple[Tensor, Tensor]:
    """All states of the recurrence.

    Args:
        features: of u.
        outer: z, `(time, batch, 4 * hidden)`.
        first: u of the first step, `(batch, u)`.
        inner: e, `(time, batch, u)`, the first of which is not used; None for zero.
        mixing: M, `(hidden, u)`; None for the identity.
        weights: C and B, one below the other, `(size * u, 4 * hidden)`.
        cell: c before the first step, `(batch, hidden)`.

    Returns:
        m and c, `(time, batch, hidden)` each.
    """
    return Scan.apply(features, outer, first, inner, mixing, weights, cell)


def plain_scan(
    features: Callable[[Tensor], Tensor],
    outer: Tensor,
    first: Tensor,
    inner: Tensor | None,
    mixing: Tensor | None,
    weights: Tensor,
    cell: Tensor,
) -> tuple[Tensor, Tensor]:
    """The plain twin of `scan`, for torch to differentiate."""
    u, outputs, cells = first, [], []
    for step, z in enumerate(outer.unbind(0)):
        if step:
            u = outputs[-1] if mixing is None else outputs[-1] @ mixing
            u = u if inner is None else inner[step] + u
        output, cell = lstm_step(torch.addmm(z, features(u), weights), cell)
        outputs.append(output)
        cells.append(cell)
    return torch.stack(outputs), torch.stack(cells)


def lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Output and cell after a step, from the gates i, f, g, o before their activation."""
    i, f, g, o = gates.chunk(4, -1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


class Scan(torch.autograd.Function):
    """`plain_scan`, which keeps states and gates only, and makes the features anew in the backward."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Features,
        outer: Tensor,
        first: Tensor,
        inner: Tensor | None,
        mixing: Tensor | None,
        weights: Tensor,
        cell: Tensor,
    ) -> tuple[Tensor, Tensor]:
        (time, batch, width), ins = outer.shape, first.shape[1]
        states = outer.new_empty(2, time + 1, batch, width // 4)
        # Where u is the output of the step before, it lies there already.
        inputs = states[0, :-1] if inner is None and mixing is None else outer.new_empty(time, batch, ins)
        inputs[0], states[1, 0] = first, cell
        gates, bent = outer.new_empty(outer.shape), outer.new_empty(time, batch, width // 4)
        with full_precision(outer.device):
            _forward(features, outer, inputs, inner, mixing, weights, gates, states, bent)
        ctx.features = features
        ctx.save_for_backward(outer, first, inner, mixing, weights, cell, gates, inputs, states, bent)
        ctx.set_materialize_grads(False)
        return states[0, 1:], states[1, 1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        features, wanted = ctx.features, ctx.needs_input_grad[1:]
        *arguments, gates, inputs, states, bent = ctx.saved_tensors
        if torch.is_grad_enabled() or any(grad is not None and batched(grad) for grad in grads):
            both = torch.stack([states.new_zeros(bent.shape) if grad is None else grad for grad in grads])
            with full_precision(gates.device):
                return None, *differentiated(partial(_stacked, features), arguments, wanted, both)
        _, _, inner, mixing, weights, _ = arguments
        with full_precision(gates.device):
            by_gates, by_inputs, by_weights, by_cell = _backward(
                features, mixing, weights, grads, gates, inputs, _factors(gates, states[1, :-1], bent), wanted[4]
            )
            by_first = by_inputs[0].clone() if wanted[1] else None
            by_inputs[0] = 0
            by_mixing = None
            if wanted[3]:
                by_mixing = states[0, 1:-1].flatten(0, 1).T @ by_inputs[1:].flatten(0, 1)
        return None, by_gates, by_first, by_inputs if inner is not None else None, by_mixing, by_weights, by_cell


def _stacked(features: Features, *arguments: Any) -> Tensor:
    return torch.stack(plain_scan(features, *arguments))


def _forward(
    features: Features,
    outer: Tensor,
    inputs: Tensor,
    inner: Tensor | None,
    mixing: Tensor | None,
    weights: Tensor,
    gates: Tensor,
    states: Tensor,
    bent: Tensor,
) -> None:
    r"""Write inputs but the first, gates, states and tanh of the cells.

    The gate g is $2 \sigma(2a) - 1$, so that one sigmoid does for all four, and is left as that sigmoid. Calls count
    here more than what they compute, so views are made at once.
    """
    time, batch, ins = inputs.shape
    twice = outer.new_tensor([1.0, 1.0, 2.0, 1.0]).repeat_interleave(outer.shape[2] // 4)
    room = outer.new_empty(batch, len(weights) // ins, ins)
    fill, weights, flat = features.quick(room), features.signed(weights, ins) * twice, room.flatten(1)
    z, u, b, steps = ((outer * twice).unbind(0), inputs.unbind(0), bent.unbind(0), gates.unbind(0))
    i, f, g, o = (gate.unbind(0) for gate in gates.chunk(4, -1))
    inside = (None,) * time if inner is None else inner.unbind(0)
    (_, *outputs), (before, *cells) = (state.unbind(0) for state in states.unbind(0))
    for t in range(time):
        fill(u[t])
        torch.addmm(z[t], flat, weights, out=steps[t]).sigmoid_()
        before = torch.mul(f[t], before, out=cells[t]).addcmul_(i[t], g[t], value=2).sub_(i[t])
        torch.mul(o[t], torch.tanh(before, out=b[t]), out=outputs[t])
        if t + 1 < time:
            _mix(u[t + 1], outputs[t], inside[t + 1], mixing)


def _mix(out: Tensor, outputs: Tensor, inner: Tensor | None, mixing: Tensor | None) -> None:
    """Write u of a step to `out`, where it is not the outputs themselves."""
    if mixing is not None and inner is not None:
        torch.addmm(inner, outputs, mixing, out=out)
    elif mixing is not None:
        torch.mm(outputs, mixing, out=out)
    elif inner is not None:
        torch.add(outputs, inner, out=out)


def _factors(gates: Tensor, before: Tensor, bent: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What gradients are multiplied by at each step: m's for c and for o, c's for i, f, g and for c before."""
    i, f, half, o = gates.chunk(4, -1)
    g = 2 * half - 1
    three = torch.stack([g * i * (1 - i), before * f * (1 - f), i * (1 - g * g)], -2)
    return o * (1 - bent * bent), (bent * o * (1 - o))[:, :, None], three, f


def _backward(
    features: Features,
    mixing: Tensor | None,
    weights: Tensor,
    grads: Sequence[Tensor | None],
    gates: Tensor,
    inputs: Tensor,
    factors: Sequence[Tensor],
    weighted: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """The gradients of all gates, of all u, of the weights, and of the first cell."""
    time, batch, ins = inputs.shape
    slopes = features.slopes(weights, ins).T
    size = slopes.shape[1] // ins
    by_gates, by_inputs = torch.empty_like(gates), inputs.new_empty(inputs.shape)
    by_weights = torch.zeros_like(weights) if weighted else None
    by_outputs, by_cells = (None if grad is None else grad.unbind(0) for grad in grads)
    by_gate, by_input = by_gates.unbind(0), by_inputs.unbind(0)
    three, last = (part.unbind(0) for part in by_gates.view(time, batch, 4, -1).split([3, 1], 2))
    of_cell, of_last, of_three, of_forget = (factor.unbind(0) for factor in factors)
    by_output = by_cell = torch.zeros_like(of_cell[0])
    sloped = scratch(inputs, (batch, size, ins), "scan slopes")
    flat = sloped.flatten(1)
    steps = rows_within(BUDGET, batch * slopes.shape[1] * slopes.element_size())
    for stop in range(time, 0, -steps):
        part = slice(max(0, stop - steps), stop)
        rows = inputs[part].flatten(0, 1)
        held = scratch(inputs, (len(rows), size, ins), "scan features")
        features.fill_slopes(held, rows)
        for t, each in zip(range(stop - 1, part.start - 1, -1), reversed(held.split(batch)), strict=True):
            if by_outputs is not None:
                by_output = by_output + by_outputs[t]
            by_cell = torch.addcmul(by_cell, by_output, of_cell[t])
            if by_cells is not None:
                by_cell += by_cells[t]
            torch.mul(by_cell[:, None], of_three[t], out=three[t])
            torch.mul(by_output[:, None], of_last[t], out=last[t])
            by_cell = by_cell.mul_(of_forget[t])
            torch.mm(by_gate[t], slopes, out=flat)
            by_output = torch.sum(sloped.mul_(each), 1, out=by_input[t])
            if mixing is not None:
                by_output = by_output @ mixing.T
        if by_weights is not None:
            features.pull(by_weights, held, rows, by_gates[part].flatten(0, 1))
    return by_gates, by_inputs, by_weights, by_cell
