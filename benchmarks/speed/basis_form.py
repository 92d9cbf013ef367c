r"""The layer of B-splines in the form that most users know: the recursion over all knots, then one matrix product."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class BasisForm(nn.Module):
    r"""$y = W \mathrm{SiLU}(x) + (S \circ C) B(x)$ with all functions of all degrees of every input, as tensors.

    The recursion of Cox and de Boor, for all functions at once,
    $$B_{j,p}(x) = \frac{x - t_j}{t_{j+p} - t_j} B_{j,p-1}(x)
    + \frac{t_{j+p+1} - x}{t_{j+p+1} - t_{j+1}} B_{j+1,p-1}(x),$$
    works on tensors of shape `(batch, in, cells + 2 degree - p)`, of which all but `degree + 1` entries of a row are 0.

    Args:
        knots: `(in, cells + 2 degree + 1)`.
        degree: of the splines.
        outputs: their number.

    Reference:
        Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, arXiv:2404.19756, section 2.2.
    """

    knots: Tensor

    def __init__(self, knots: Tensor, degree: int, outputs: int) -> None:
        super().__init__()
        inputs, count = knots.shape
        self.degree = degree
        self.register_buffer("knots", knots)
        self.base_weight = nn.Parameter(knots.new_zeros(outputs, inputs))
        self.coefficients = nn.Parameter(knots.new_zeros(outputs, inputs, count - degree - 1))
        self.scaler = nn.Parameter(knots.new_ones(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        weights = self.coefficients * self.scaler[..., None]
        splines = functional.linear(self.functions(x).flatten(-2), weights.flatten(-2))
        return splines + functional.linear(functional.silu(x), self.base_weight)

    def functions(self, x: Tensor) -> Tensor:
        """`(batch, in) -> (batch, in, cells + degree)`."""
        x, t = x[..., None], self.knots
        values = ((x >= t[:, :-1]) & (x < t[:, 1:])).to(x.dtype)
        for p in range(1, self.degree + 1):
            rising = (x - t[:, : -p - 1]) / (t[:, p:-1] - t[:, : -p - 1])
            falling = (t[:, p + 1 :] - x) / (t[:, p + 1 :] - t[:, 1:-p])
            values = rising * values[..., :-1] + falling * values[..., 1:]
        return values


def loaded(layer: nn.Module, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of a layer by the names of the case's arrays, whose values they get."""
    leaves: dict[str, Tensor] = dict(layer.named_parameters())
    with torch.no_grad():
        for name, leaf in leaves.items():
            leaf.copy_(arrays[name])
    return leaves
