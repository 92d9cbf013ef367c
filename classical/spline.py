r"""Kolmogorov-Arnold networks of B-splines."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from classical.checks import Base
from classical.refit import change, double, outputs
from classical.spline_layer import BSplineKANLayer
from classical.stack import Stack


class BSplineKAN(Stack):
    """Layers of B-splines one after the other, each a `BSplineKANLayer`.

    `BSplineKAN([2, 5, 1])` has 2 inputs, 5 hidden units and 1 output, so (2 * 5 + 5 * 1) * (5 + 3 + 2) = 150
    parameters.

    Args:
        widths: Numbers of inputs, of units in each hidden layer, and of outputs; at least two.
        grid_size: Number of cells of the domain.
        degree: Degree of the splines.
        domain: The interval that the cells divide, in all layers.
        base: Function of the base branch, one for all layers, or None; see `BSplineKANLayer`.
        bias: Whether the layers add biases.
        scaler: Whether the edges have factors; see `BSplineKANLayer`.
        norm: Of what the splines of each layer see, "layer", "batch" or None.
        outside: What the splines do outside the domain, "fade", "clamp" or "linear".

    Shapes:
        `(*batch, widths[0]) -> (*batch, widths[-1])`, for any leading shape, none and empty included.

    Raises:
        TypeError: If the widths are not integers, and as `BSplineKANLayer`.
        ValueError: If there are too few widths or one is not positive, and as `BSplineKANLayer`.

    Reference:
        Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, arXiv:2404.19756.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        grid_size: int = 5,
        degree: int = 3,
        domain: tuple[float, float] = (-1.0, 1.0),
        base: Base = "silu",
        bias: bool = False,
        scaler: bool = True,
        norm: str | None = None,
        outside: str = "fade",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            widths,
            lambda inputs, outputs: BSplineKANLayer(
                inputs, outputs, grid_size, degree, domain, base, bias, scaler, norm, outside, device, dtype
            ),
        )

    def refine(self, grid_size: int, x: Tensor | None = None) -> None:
        """Divide the domains of all layers into more cells; the network stays the same function.

        The ladder of grids: coarse splines are quick to fit, and where they end is a start for finer ones, without a
        jump of the loss. See `BSplineKANLayer.refine`; and `BSplineKANLayer` for what an optimiser has to forget.

        Args:
            grid_size: The new number of cells of every layer.
            x: Inputs of the network, `(*batch, widths[0])`, that tell where more cells are needed; or None.

        >>> x = torch.linspace(-1, 1, 200)[:, None]
        >>> y, model, losses = torch.sin(9 * x), BSplineKAN([1, 1], grid_size=3), []
        >>> for cells in (3, 5, 10, 20):
        ...     model.refine(cells)
        ...     optimizer = torch.optim.LBFGS(model.parameters(), max_iter=50)
        ...     def closure():
        ...         optimizer.zero_grad()
        ...         loss = (model(x) - y).square().mean()
        ...         loss.backward()
        ...         return loss
        ...     before = optimizer.step(closure)
        ...     losses.append(closure().item())
        >>> losses == sorted(losses, reverse=True)
        True
        """
        for layer in self._spline_layers():
            layer.refine(grid_size, x)
            x = None if x is None else outputs(layer, x)

    def update_grid(self, x: Tensor, keep: str = "function", mix: float = 0.02) -> float:
        """Move the grids of all layers to where samples are, layer by layer; see `BSplineKANLayer.update_grid`.

        Args:
            x: Inputs of the network, `(*batch, widths[0])`.
            keep: "function" for more cells and the same function, or "cells" for as many cells and a function nearby.
            mix: With "cells" the share of a uniform grid in the new ones.

        Returns:
            The largest change of an output of the network on the samples, computed in float64.
        """
        start, before = x, double(self)
        for layer in self._spline_layers():
            layer.update_grid(x, keep, mix)
            x = outputs(layer, x)
        return change(before, self, start)

    def _spline_layers(self) -> list[BSplineKANLayer]:
        return [layer for layer in self.layers if isinstance(layer, BSplineKANLayer)]
