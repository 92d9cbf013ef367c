r"""How much the outputs of a network depend on each of its inputs.

A network is looked at as a whole, or through its first layer, whose edges are the only way in for an input. That is all
that is asked of it, so that the scores are those of any family of edges, of this package or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from classical.checks import check_features, checked_number
from classical.edge import EdgeLayer
from classical.probe import Edges
from classical.selection import Chosen, Selection

Loss = Callable[[Tensor], Tensor]
"""From the outputs of a network for some samples to a number; it knows the targets of these samples."""

Score = Callable[[nn.Module, Tensor, Loss], Tensor]
"""From a network, inputs `(*batch, in)` and a loss of its outputs to a number for each input, `(in,)`."""

SMOOTH = 1e-12
"""Added to mean squares, so that the root has a gradient where an input adds nothing."""

ROWS = 1024
"""Samples at a time, so that what edges add to outputs fits into memory however many samples there are."""


def first_layer(model: nn.Module) -> nn.Module:
    """The layer of edges that a network begins with: itself, or the first child of the first child of it, and so on.

    Raises:
        TypeError: If the network begins with anything else, such as a layer of several spaces side by side, of which
            the first would not be the only way in.
    """
    layer = model
    while not isinstance(layer, Edges):
        children = list(layer.children())
        if not children or isinstance(layer, Selection | Chosen):
            raise TypeError(
                "Argument `model` must begin with a layer that has `edge_values`, such as BSplineKANLayer, but begins "
                f"with {type(layer).__name__}: only the sensitivity is known of such models, and no penalty."
            )
        layer = children[0]
    return layer


def coefficient_norm(model: nn.Module, order: float = 2) -> Tensor:
    r"""The norms $(\sum_{o,m} |s_{oj} c_{ojm}|^p)^{1/p}$ of the coefficients of each input, `(in,)`.

    They are those of the first layer, with their scalers, and without the weights of the base branch. Coefficients are
    seen, data are not: those of functions that are zero for all samples count as much as others.

    Args:
        model: A network that begins with an `EdgeLayer`.
        order: The $p$, 1 or more.

    Raises:
        TypeError: If edges of the first layer are not sums of functions times coefficients. Angles of a circuit, for
            example, have a size that says nothing.
        ValueError: If the order is below 1.

    Reference:
        C. Akazan and V. Mbingui, arXiv:2509.23366, 2025.
    """
    layer = first_layer(model)
    if not isinstance(layer, EdgeLayer):
        raise TypeError(
            "Argument `model` must begin with an EdgeLayer, such as BSplineKANLayer, for its coefficients to be "
            f"compared, but begins with a {type(layer).__name__}: take the contribution norm."
        )
    return torch.linalg.vector_norm(layer.weights().detach(), _order(order), dim=(0, 2))


@torch.no_grad()
def contribution_norm(model: nn.Module, x: Tensor, order: float = 2) -> Tensor:
    r"""The means $(\frac{1}{N O} \sum_{n,o} |\phi_{oj}(x_{nj})|^p)^{1/p}$ of what the first layer's edges add, `(in,)`.

    Args:
        model: A network that begins with a layer that has `edge_values`.
        x: Inputs `(*batch, in)`, which the N samples are taken from.
        order: The $p$, 1 or more.

    Raises:
        TypeError: If the network begins with anything else.
        ValueError: If the order is below 1, or there is no sample or one of another size than the layer's.

    Reference:
        C. Akazan and V. Mbingui, arXiv:2509.23366, 2025, in the version of its code.
    """
    layer, order = first_layer(model), _order(order)
    rows = _rows(x, layer)
    with _evaluating(model):
        sums = [_edge_values(layer, part).abs().pow(order).mean(1).sum(0) for part in rows.split(ROWS)]
    return (torch.stack(sums).sum(0) / len(rows)).pow(1 / order)


def contribution_penalty(model: nn.Module, x: Tensor) -> Tensor:
    r"""The sum over inputs of `contribution_norm` of order 2, with gradients: a group LASSO of what inputs add.

    Added to a loss it silences the inputs that the loss does not need, as their edges have no other reason to be what
    they are; without it untrained parts of edges count as importance. Memory grows with samples times edges.

    Args:
        model: A network that begins with a layer that has `edge_values`.
        x: Inputs `(*batch, in)`.

    Raises:
        TypeError: If the network begins with anything else.
        ValueError: If there is no sample or one of another size than the layer's.

    Reference:
        M. Yuan and Y. Lin, Model selection and estimation in regression with grouped variables, 2006,
        doi:10.1111/j.1467-9868.2005.00532.x.
    """
    layer = first_layer(model)
    squares = _edge_values(layer, _rows(x, layer)).square().mean((0, 1))
    return (squares + SMOOTH).sqrt().sum()


@torch.enable_grad()
def sensitivity(model: nn.Module, x: Tensor) -> Tensor:
    r"""How fast outputs change with each input, $\frac{1}{N} \sum_n |\partial_{x_{nj}} \sum_o |f_o(x_n)||$, `(in,)`.

    Samples are looked at one by one, in evaluation mode.

    Args:
        model: Any network, from `(*batch, in)`.
        x: Inputs `(*batch, in)`, which the N samples are taken from.

    Raises:
        ValueError: If there is no sample.

    Reference:
        C. Akazan and V. Mbingui, arXiv:2509.23366, 2025.
    """
    rows = _rows(x)
    with _evaluating(model):
        return torch.stack([_slopes(model, part).sum(0) for part in rows.split(ROWS)]).sum(0) / len(rows)


@torch.no_grad()
def knock_out(model: nn.Module, x: Tensor, loss: Loss) -> Tensor:
    r"""How much the loss grows without the edges of each input, $\max(0, L_{-j} - L)$, `(in,)`.

    What edges of the input j add to outputs of the first layer is taken away, as if all their parameters were zero; the
    other layers see what is left. The network itself stays as it is.

    Args:
        model: A network that begins with a layer that has `edge_values`.
        x: Inputs `(*batch, in)`.
        loss: From outputs `(*batch, ...)` to a number.

    Raises:
        TypeError: If the network begins with anything else.
        ValueError: If there is no sample or one of another size than the layer's.

    Reference:
        C. Akazan and V. Mbingui, arXiv:2509.23366, 2025.
    """
    layer = first_layer(model)
    parts = _rows(x, layer).split(ROWS)
    with _evaluating(model):
        whole = torch.cat([model(part) for part in parts])
        reduced = torch.cat([_knocked_out(model, layer, part) for part in parts], dim=1)
    without = [loss(outputs.reshape(*x.shape[:-1], *outputs.shape[1:])) for outputs in reduced]
    return (torch.stack(without) - loss(whole.reshape(*x.shape[:-1], *whole.shape[1:]))).clamp(min=0)


SCORES: Mapping[str, Score] = {
    "L1": lambda model, x, loss: contribution_norm(model, x, order=1),
    "L2": lambda model, x, loss: contribution_norm(model, x, order=2),
    "L1 of coefficients": lambda model, x, loss: coefficient_norm(model, order=1),
    "L2 of coefficients": lambda model, x, loss: coefficient_norm(model, order=2),
    "SI": lambda model, x, loss: sensitivity(model, x),
    "KO": knock_out,
}
"""By name, those of arXiv:2509.23366; its text has the norms of coefficients, its code those of contributions."""


def _edge_values(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, Edges)
    return layer.edge_values(x)


def _slopes(model: nn.Module, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    total = model(x).abs().sum()
    if not total.requires_grad:
        return torch.zeros_like(x)
    (slopes,) = torch.autograd.grad(total, x, allow_unused=True, materialize_grads=True)
    return slopes.abs()


def _knocked_out(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    """The outputs without each of the inputs, `(in, n, ...)`."""
    return torch.stack([_without(model, layer, value, x) for value in _edge_values(layer, x).unbind(-1)])


def _without(model: nn.Module, layer: nn.Module, value: Tensor, x: Tensor) -> Tensor:
    def reduced(module: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> Tensor:
        return outputs - value

    handle = layer.register_forward_hook(reduced)
    try:
        return model(x)
    finally:
        handle.remove()


def _rows(x: Tensor, layer: nn.Module | None = None) -> Tensor:
    if isinstance(layer, Edges):
        check_features(x, layer.in_features)  # pyright: ignore[reportArgumentType]
    if not x.numel():
        raise ValueError(f"Argument `x` must have samples, but has shape {tuple(x.shape)}.")
    return x.reshape(-1, x.shape[-1])


def _order(order: float) -> float:
    if checked_number("order", order, above=0.0) < 1:
        raise ValueError(f"Argument `order` must be 1 or more, but is {order}.")
    return float(order)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, and afterwards each module in the mode where it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
