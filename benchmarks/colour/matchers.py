"""What makes the pictures of one camera those of another: a new matcher is one row."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.colour.task import Pairs
from circuits import Circuit, engines, pz
from classical import MLP, CmKAN

BLOCH = engines.get("bloch")


@dataclass(frozen=True)
class Matcher:
    """A kind of matcher.

    Args:
        name: as tables show it.
        make: from pairs to the matcher, `(n, 3, H, W)` to the same.
        trained: whether it is to be trained by steps; if not, it fits the pairs as it is made.
        engine: what evaluates it.
    """

    name: str
    make: Callable[[Pairs], nn.Module]
    trained: bool = True
    engine: str = "torch"


class LeastSquares(nn.Module):
    """The linear map of some functions of a pixel's colours that fits pairs best.

    Args:
        functions: from `(n, 3, H, W)` to `(n, functions, H, W)`.
        pairs: what is fitted.
    """

    def __init__(self, functions: Callable[[Tensor], Tensor], pairs: Pairs) -> None:
        super().__init__()
        self.functions = functions
        x, y = (part.movedim(1, -1).flatten(0, -2).double() for part in (functions(pairs[0]), pairs[1]))
        self.weight = nn.Parameter(torch.linalg.lstsq(x, y).solution.T.float(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("oi,nihw->nohw", self.weight, self.functions(x))


def roots(x: Tensor) -> Tensor:
    """The three colours and the roots of their products, `(n, 3, H, W)` to `(n, 6, H, W)`.

    Reference: G. Finlayson, M. Mackiewicz and A. Hurlbert, Color correction using root-polynomial regression, IEEE
    Transactions on Image Processing 24, 2015.
    """
    x = x.clamp(min=0)
    return torch.cat([x, (x * x.roll(1, 1)).sqrt()], 1)


class PixelMLP(nn.Module):
    """The colours, and what a perceptron adds to them; it sees one pixel, and where it is if told so.

    Args:
        hidden: units of its two hidden layers.
        placed: whether it sees the row and the column.
    """

    def __init__(self, hidden: int, placed: bool = False) -> None:
        super().__init__()
        self.placed = placed
        self.mlp = MLP([5 if placed else 3, hidden, hidden, 3])
        with torch.no_grad():  # As the others, it starts as the identity.
            for parameter in self.mlp.layers[-1].parameters():
                parameter.zero_()

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (torch.linspace(-1, 1, side) for side in x.shape[-2:])
        place = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(x), -1, -1, -1)
        seen = torch.cat([x, place], 1) if self.placed else x
        return x + self.mlp(seen.movedim(1, -1)).movedim(-1, 1)


@dataclass(frozen=True)
class PixelDaruan:
    r"""$y_o = \sum_i [u_{oi} x_i + v_{oi} f(x_i; \theta_{oi})]$ with the expectation $f$ of a circuit, at every pixel.

    Args:
        circuit: of one feature, whose only slots are angles theta.
    """

    circuit: Circuit = pz(2, scale=3.0, shift=0)

    @property
    def _angles(self) -> int:
        return self.circuit.slots["theta"]

    @property
    def channels(self) -> int:
        """Angles, then v and u, for every pair of colours."""
        return 9 * (self._angles + 2)

    def start(self) -> Tensor:
        """Angles that differ, so that their slopes do, weights v of 0 and u of the identity."""
        edge = torch.cat([torch.linspace(0.3, 1.3, self._angles), torch.zeros(2)])
        start = edge.repeat(3, 3, 1)
        start[..., -1] = torch.eye(3)
        return start.flatten()

    def __call__(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """`(n, 3, H, W)` and `(n, channels, H, W)` to `(n, 3, H, W)`."""
        edges = coefficients.unflatten(1, (3, 3, -1)).movedim((4, 5), (1, 2))
        x = x.movedim(1, -1)[..., None, :]
        values = BLOCH(self.circuit, x[..., None], {"theta": edges[..., : self._angles]})
        return (edges[..., -1] * x + edges[..., -2] * values).sum(-1).movedim(-1, 1)


LIGHT = Matcher("cmKAN light", lambda pairs: CmKAN.light())

BY_LEAST_SQUARES = (
    Matcher("least squares, 3 x 3", lambda pairs: LeastSquares(lambda x: x, pairs), trained=False),
    Matcher("least squares, roots of degree 2", lambda pairs: LeastSquares(roots, pairs), trained=False),
)

MATCHERS = (
    Matcher("identity", lambda pairs: nn.Identity(), trained=False),
    *BY_LEAST_SQUARES,
    Matcher("MLP of a pixel", lambda pairs: PixelMLP(81)),
    Matcher("MLP of a pixel and its place", lambda pairs: PixelMLP(80, placed=True)),
    LIGHT,
    Matcher("cmKAN light, DARUAN edges", lambda pairs: CmKAN.light(PixelDaruan()), engine=repr(BLOCH)),
    Matcher("cmKAN", lambda pairs: CmKAN()),
)
"""The perceptrons have as many parameters as the light cmKAN."""
