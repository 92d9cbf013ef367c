r"""Units that choose one of several modules: mixed at first, annealed, and pruned to the choice.

The equations are our reconstruction; of the paper only the idea and the three stages could be had.

Reference:
    Yang et al., Activation Space Selectable Kolmogorov-Arnold Networks, 2024, arXiv:2408.08338.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from classical.checks import checked_size
from classical.cost import Cost, known_cost
from classical.narrow import narrowed

Maker = Callable[[int, int], nn.Module]
"""From numbers of inputs and outputs to a module."""


class Selection(nn.Module):
    r"""$y_o = \sum_m g_{om} y_o^{(m)}$ of candidates m, where $g_o = p_o / |p_o|$ and
    $p_{om} = \mathrm{softmax}_m((\theta_{om} + n_{om}) / \tau)$.

    Each output has a choice of its own, so that candidates may be any modules. The gates g have Euclidean norm 1 rather
    than sum 1: outputs of candidates that know nothing of each other then mix to the variance of one, whatever p, and
    where p is certain both are the same.

    **Stages**, with the tools of `classical.stages`. First all candidates train along, with $\tau$ at 1. Then $\tau$
    falls, see `Annealing` and `anneal`, or a multiple of `selection_entropy` joins the loss, until each p is nearly
    certain. Then `prune` keeps the choices alone, and training can go on.

    **Noise.** Candidates that train along cover for each other, so that little tells which could do without the others,
    and the first to learn may be chosen. If `shake` draws the noise n anew before each step of training, outputs try
    candidates nearly alone, as often as these are probable. The noise is 0 at first, and in evaluation.

    The parameters are `logits` of shape `(out, candidates)` for the $\theta$ and those of the candidates; `temperature`
    is a buffer for the $\tau$, and `noise` one that is not part of the state.

    Args:
        makers: Of the candidates, from numbers of inputs and outputs to modules. To be pruned to some of its outputs a
            candidate must compute them apart from each other, each from rows of its own, as linear, edge and
            convolution layers do; see `narrowed`. Makers are called again for that; each time a copy is, so that a
            module in a `functools.partial` is never shared.
        inputs: What the makers are given.
        outputs: What the makers are given, and the size of the axis of outputs in results of candidates.
        axis: Of the outputs, counted from the end: -1 for layers, -3 for convolutions of images.

    Raises:
        TypeError: If a size is not an integer or a maker not callable.
        ValueError: If a size is not positive, if there are no makers, or if results of candidates differ in shape.
    """

    temperature: Tensor
    noise: Tensor

    def __init__(
        self,
        makers: Sequence[Maker],
        inputs: int,
        outputs: int,
        axis: int = -1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.inputs = checked_size("inputs", inputs, at_least=1)
        self.outputs = checked_size("outputs", outputs, at_least=1)
        self.makers, self.axis = copy.deepcopy(_checked_makers(makers)), axis
        candidates = [copy.deepcopy(maker)(inputs, outputs) for maker in self.makers]
        self.candidates = nn.ModuleList(candidate.to(device=device, dtype=dtype) for candidate in candidates)
        self.logits = nn.Parameter(torch.zeros(outputs, len(candidates), device=device, dtype=dtype))
        self.register_buffer("temperature", torch.ones((), device=device, dtype=dtype))
        self.register_buffer("noise", torch.zeros_like(self.logits), persistent=False)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw those of all candidates anew, which must have this method, too, and forget choices and temperature."""
        for candidate in self.candidates:
            candidate.reset_parameters(generator)  # pyright: ignore[reportCallIssue]
        self.logits.zero_()
        self.temperature.fill_(1)
        self.noise.zero_()

    def probabilities(self) -> Tensor:
        """The p without noise, `(out, candidates)`."""
        return (self.logits / self.temperature).softmax(-1)

    def entropy(self) -> Tensor:
        r"""$-\sum_m p_{om} \ln p_{om}$ without noise, `(out,)`."""
        logarithms = (self.logits / self.temperature).log_softmax(-1)
        return -(logarithms.exp() * logarithms).sum(-1)

    def gates(self) -> Tensor:
        """The g, `(out, candidates)`."""
        logits = self.logits + self.noise if self.training else self.logits
        probabilities = (logits / self.temperature).softmax(-1)
        return probabilities / torch.linalg.vector_norm(probabilities, dim=-1, keepdim=True)

    def choice(self) -> Tensor:
        """The number of the most probable candidate of each output, `(out,)`."""
        return self.logits.argmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        results = [candidate(x) for candidate in self.candidates]
        self._check(results)
        gates = self.gates().unflatten(0, (-1, *[1] * (-self.axis - 1))).to(results[0].dtype)
        y = gates[..., 0] * results[0]
        for number, result in enumerate(results[1:], start=1):
            y = y + gates[..., number] * result
        return y

    def _check(self, results: Sequence[Tensor]) -> None:
        first = results[0].shape
        for result in results:
            # Shapes that broadcast would be mixed in silence.
            if result.shape != first or result.shape[self.axis] != self.outputs:
                shapes = ", ".join(str(tuple(result.shape)) for result in results)
                raise ValueError(
                    f"Results of candidates must have one shape, with {self.outputs} at axis {self.axis}, but have "
                    f"{shapes}."
                )

    def prune(self) -> Chosen:
        """What is left if each output keeps its most probable candidate, and no other output's."""
        choice, parts, places = self.choice(), [], []
        for number, (maker, candidate) in enumerate(zip(self.makers, self.candidates, strict=True)):
            rows = (choice == number).nonzero().flatten()
            if len(rows):
                parts.append(narrowed(candidate, maker, self.inputs, self.outputs, rows))
                places.append(rows)
        return Chosen(parts, torch.cat(places).argsort(), self.axis).train(self.training)

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}"


class Chosen(nn.Module):
    """Modules that each compute some of the outputs: what `Selection.prune` leaves.

    Args:
        parts: Modules from the input to some outputs.
        order: Where each output is in the results of all parts, one after the other along `axis`.
        axis: Of the outputs.
    """

    order: Tensor

    def __init__(self, parts: Sequence[nn.Module], order: Tensor, axis: int = -1) -> None:
        super().__init__()
        self.parts, self.axis = nn.ModuleList(parts), axis
        self.register_buffer("order", order)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, from `generator` or torch's global one; choices stay."""
        for part in self.parts:
            part.reset_parameters(generator)  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> Tensor:
        if len(self.parts) == 1:
            return self.parts[0](x)
        return torch.cat([part(x) for part in self.parts], self.axis).index_select(self.axis, self.order)

    def cost(self, *size: int) -> Cost:
        """Parameters and operations for one sample, by formula; of convolutions for an image of height and width."""
        first, *others = (known_cost(part, *size) for part in self.parts)
        return sum(others, start=first)


def _checked_makers(makers: Sequence[Maker]) -> tuple[Maker, ...]:
    makers = tuple(makers)
    if not makers:
        raise ValueError("Argument `pool` must have one candidate or more, but is empty.")
    for maker in makers:
        if not callable(maker):
            raise TypeError(
                "Argument `pool` must have functions from numbers of inputs and outputs to a module, such as "
                f"`nn.Linear`, but has {maker!r}."
            )
    return makers
