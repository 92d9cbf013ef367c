r"""How much of what a network computes passes through each edge, node and input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from classical.probe import edge_layers, edge_spreads, spread


@dataclass(frozen=True)
class Attribution:
    """Scores, at least 0, of a network of layers with edges.

    Args:
        edges: of each layer, `(out, in)`.
        nodes: of the inputs, of the outputs of each layer but the last, and of those of the network, which are all one
            over their number; each `(width,)`.
    """

    edges: tuple[Tensor, ...]
    nodes: tuple[Tensor, ...]

    @property
    def features(self) -> Tensor:
        """Of the inputs of the network, `(in,)`."""
        return self.nodes[0]


@torch.no_grad()
def attribution(model: nn.Module, x: Tensor) -> Attribution:
    r"""The scores of a network on samples, from the last layer back to the inputs.

    With $E_{oi}$ the standard deviation over the samples of what an edge of layer $l$ adds, base included, and $N_o$
    that of the output o, each output of the network has the score 1, and

    $$B_{oi} = A_o \frac{E_{oi}}{N_o + 10^{-4}}, \qquad A_i = \sum_o B_{oi}$$

    are the scores of edges and of the nodes that they come from; they are averaged over the outputs of the network. An
    edge of score 0 can be left out; the literature prunes nodes below 0.01 and edges below 0.03.

    Args:
        model: Layers that have `edge_values`, one after the other.
        x: Samples for it, at least 2.

    Raises:
        ValueError: If the model has no edges, its layers do not follow one another, or there are fewer than 2 samples.

    Reference:
        Z. Liu et al., KAN 2.0: Kolmogorov-Arnold Networks Meet Science, 2024, arXiv:2408.10205.
    """
    edges: list[Tensor] = []
    nodes: list[Tensor] = []
    for seen in reversed(edge_layers(model, x)):
        spreads = edge_spreads(seen.layer, seen.x)
        score = nodes[-1] if nodes else torch.full_like(spreads[:, 0], 1 / len(spreads))
        if len(score) != len(spreads):
            raise ValueError(
                f"Argument `model` must have layers that follow one another, but one has {len(spreads)} outputs where "
                f"the next has {len(score)} inputs."
            )
        nodes += [] if nodes else [score]
        edges.append((score / (spread(seen.y) + 1e-4))[:, None] * spreads)
        nodes.append(edges[-1].sum(0))
    return Attribution(tuple(reversed(edges)), tuple(reversed(nodes)))
