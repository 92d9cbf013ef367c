r"""The layer of B-splines, whose grid follows its inputs and becomes finer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from classical.checks import Base, checked_choice, checked_size
from classical.cost import Cost, activation_flops
from classical.edge import EdgeLayer
from classical.grids import insertion, knots_of_samples, nested_knots
from classical.published import spline_edge_flops
from classical.refit import change, double, replace_basis, resize, samples, transfer
from classical.spline_basis import BSpline

KEEPS = ("function", "cells")
"""What an update of the grid keeps."""

ANCHOR = 1e-10
"""Weight of the present function between samples, relative to the samples: it decides where they do not."""


class BSplineKANLayer(EdgeLayer):
    r"""$y_o = \sum_i [w_{oi} \mathrm{base}(x_i) + s_{oi} \sum_j c_{oij} B_j(x_i)]$, from `(*batch, in)` to
    `(*batch, out)`.

    The $B_j$ are the `grid_size + degree` B-splines of `bspline_basis`, at first the same for all inputs and outputs;
    `update_grid` and `refine` give every input knots of its own. They are evaluated once per input, then one matrix
    product sums over `i` and `j`; nothing of shape `(batch, out, in)` exists.

    Parameters are `base_weight` of shape `(out, in)` for the $w$, `coefficients` of shape
    `(out, in, grid_size + degree)` for the $c$, `scaler` of shape `(out, in)` for the $s$, and `bias` of shape `(out,)`
    if asked for: with a base and a scaler `in * out * (grid_size + degree + 2)` numbers.

    **Outside the domain** the splines fade out by default: they reach zero `degree` cells beyond each end and stay
    there. Only the base branch goes on, so without one the layer is constant far away and has no gradient there. With
    `outside="clamp"` they keep the values at the ends, continuous but without a gradient; with "linear" they go on
    along their tangents, with the slopes of the ends.

    **On a finer grid** `coefficients` is a new parameter: make a new optimiser afterwards, for an old one would go on
    with a tensor that is in no model. With as many cells as before it stays what it is. A state dict holds the knots if
    they are not uniform, and a layer that loads it takes them over with their number, whatever its own grid was.

    **At the start** inputs that are uniform on the domain give outputs of mean 0 and mean square $(b - a)^2 / 12$, the
    variance of such inputs, half of it from each branch: all weights are normal with the variance that this needs,
    scalers 1 and the bias 0. So the scale of a signal survives many layers if the domain is symmetric about zero. With
    "linear" the same holds for normal inputs of that variance instead, because what goes on outside would grow.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        grid_size: Number of cells of the domain.
        degree: Degree of the splines, 3 for cubic ones. With degree 0 they are steps, without a gradient in `x`.
        domain: The ends `(a, b)` of the interval that the cells divide.
        base: Function of the base branch, or None; see `EdgeLayer`.
        bias: Whether to add a bias to each output.
        scaler: Whether each edge has a factor in front of its spline; see `EdgeLayer`.
        norm: "layer" or "batch" for a normalisation of what the splines see, or None; see `EdgeLayer`.
        outside: "fade", "clamp" or "linear".

    Shapes:
        `(*batch, in_features) -> (*batch, out_features)`, for any leading shape, none and empty included.

    Raises:
        TypeError: If a size is not an integer, the domain not a pair of numbers, or the base not callable.
        ValueError: If a size is too small, the domain empty or not finite, or the name of the base or of what happens
            outside unknown, or if the last axis of an input does not have `in_features` entries.

    Reference:
        Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, arXiv:2404.19756.
    """

    basis: BSpline

    def __init__(
        self,
        in_features: int,
        out_features: int,
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
        basis = BSpline(grid_size, degree, domain, outside)
        super().__init__(
            in_features,
            out_features,
            basis,
            base=base,
            bias=bias,
            scaler=scaler,
            norm=norm,
            device=device,
            dtype=dtype,
        )

    @torch.no_grad()
    def refine(self, grid_size: int, x: Tensor | None = None) -> None:
        """Divide the domain into more cells; the function stays the same, everywhere.

        Every knot stays, and each added one halves a cell: the widest, or the one with most of the samples. So the new
        splines can be every spline of the old grid, and knot insertion finds the coefficients without a fit. If the
        splines fade, the domain grows to hold all samples; otherwise it stays, because the function has a kink there.

        Args:
            grid_size: The new number of cells, at least the present one; at most `2 degree + 2` more for a new domain.
            x: Inputs of the layer that tell where more cells are needed, `(*batch, in)`; None for equal cells, as far
                as halving goes.

        Raises:
            TypeError: If the size is not an integer.
            ValueError: If there are more cells already, or the samples are none or not finite.

        Reference:
            Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, arXiv:2404.19756, section 2.4, where the finer grid
            has other knots and the function is fitted.
        """
        checked_size("grid_size", grid_size, at_least=1)
        self._nest(grid_size, None if x is None else double(self).normalised(samples(self, x)))

    @torch.no_grad()
    def update_grid(self, x: Tensor, keep: str = "function", mix: float = 0.02) -> float:
        """Move the grid to where samples are.

        Args:
            x: Inputs of the layer, `(*batch, in)`.
            keep: "function" for twice as many cells, the present knots among theirs, and the function as it was: this
                is `refine`. "cells" for as many cells as before, between quantiles of the samples, and the function
                that comes closest to the present one on the samples.
            mix: With "cells" the share of a uniform grid in the new one, in (0, 1]; 1 for uniform cells on the range
                of the samples. No cell is narrower than this share of the mean one.

        Returns:
            The largest change of an output on the samples, computed in float64.

        Raises:
            ValueError: If the samples are none or not finite, `keep` is unknown, or `mix` is not in (0, 1].
        """
        checked_choice("keep", keep, KEEPS)
        if not 0 < mix <= 1:
            raise ValueError(f"Argument `mix` must be above 0 and at most 1, but is {mix}.")
        x, before = samples(self, x), double(self)
        seen = before.normalised(x)
        if keep == "function":
            self._nest(None, seen)
        else:
            self._move(seen, mix)
        return change(before, self, x)

    def _nest(self, grid_size: int | None, seen: Tensor | None) -> None:
        """Among more knots, by insertion."""
        like, degree = self.coefficients, self.basis.degree
        old = self._grid()
        new = nested_knots(old, degree, grid_size, seen, self.basis.outside == "fade", like.dtype)
        replace_basis(self, self.basis.moved(new.to(like.dtype)), insertion(old, new, degree))

    def _move(self, seen: Tensor, mix: float) -> None:
        """To other knots, by least squares."""
        like, degree = self.coefficients, self.basis.degree
        new = self.basis.moved(knots_of_samples(self._grid(), degree, seen, mix, like.dtype).to(like.dtype))
        # Between samples, and in cells without any, the present function is the best guess.
        inner = new.grid(self.in_features)[:, degree : degree + new.grid_size + 1].T
        steps = torch.arange(0.5, degree + 1, dtype=inner.dtype, device=inner.device)[:, None, None] / (degree + 1)
        anchors = torch.lerp(inner[:-1], inner[1:], steps).flatten(0, 1)
        weights = [part.new_full((len(part),), total / len(part)) for part, total in ((seen, 1), (anchors, ANCHOR))]
        matrix = transfer(double(self.basis), double(new), torch.cat([seen, anchors]), torch.cat(weights), ridge=0.0)
        replace_basis(self, new, matrix)

    def _grid(self) -> Tensor:
        """The knots in float64, as far as the dtype of the layer can represent them."""
        return self.basis.grid(self.in_features).to(self.coefficients).double()

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Tensor],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """As `nn.Module`, after taking over the grid of what is loaded."""
        knots, coefficients = (state_dict.get(prefix + name) for name in ("basis.knots", "coefficients"))
        if coefficients is not None and coefficients.ndim == 3:
            self._adopt(knots, coefficients.shape[-1], error_msgs)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _adopt(self, knots: Tensor | None, size: int, errors: list[str]) -> None:
        degree = self.basis.degree
        if knots is None and size == self.basis.size:
            self.basis.reset_parameters()
        elif knots is not None and knots.shape == (self.in_features, size + degree + 1):
            self.basis = self.basis.moved(knots.to(self.coefficients, copy=True))
            resize(self, size)
        else:
            grid = "uniform knots" if knots is None else f"knots of shape {tuple(knots.shape)}"
            errors.append(
                f"{type(self).__name__}: {size} coefficients an edge on {grid} do not fit {self.in_features} inputs"
                f" and degree {degree} on {self.basis.grid_size} cells: make the model with the arguments that the "
                f"saved one had."
            )

    def cost(self) -> Cost:
        """As `EdgeLayer.cost`, with the published operations, those of `spline_edge_flops` for every edge.

        There are none if another basis has taken the place of the splines, see `refit`.

        Reference:
            R. Yu, W. Yu and X. Wang, KAN or MLP: A Fairer Comparison, 2024, arXiv:2407.16674.
        """
        ours, edges = super().cost(), self.in_features * self.out_features
        if not isinstance(self.basis, BSpline):
            return ours
        published = edges * spline_edge_flops(self.basis.grid_size, self.basis.degree)
        if self.base is not None:
            published += self.in_features * activation_flops(self.base) + 2 * edges
        return Cost(ours.parameters, ours.flops, round(published))
