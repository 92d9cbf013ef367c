"""Scores of edges, nodes and inputs are those of the recursion from the outputs back."""

import math

import pytest
import torch
from torch import nn

from classical import BSplineKAN, FourierKANLayer, SingleParameterKANLayer, attribution
from classical.probe import edge_layers
from tolerances import EXACT

F64 = torch.float64

pytestmark = pytest.mark.usefixtures("seeded")

IDENTITY = {"norm": None, "bias": False, "base": "identity", "dtype": F64}


def draw(*shape):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(0))


def linear(weight):
    """Edges that are straight lines."""
    weight = torch.tensor(weight, dtype=F64)
    layer = SingleParameterKANLayer(weight.shape[1], weight.shape[0], **IDENTITY)
    layer.coefficients.data.zero_()
    layer.get_parameter("base_weight").data = weight
    return layer


def test_two_layers_by_hand():
    """Inputs +-1 that are independent on four samples: standard deviations are s = sqrt(4 / 3) times root sums.

    Hidden nodes 3 x_1 + 4 x_2 and 2 x_2 have deviations 5 s and 2 s; the output 1 h_1 - 1 h_2 = 3 x_1 + 2 x_2 has
    sqrt(13) s.
    """
    model = nn.Sequential(linear([[3.0, 4.0], [0.0, 2.0]]), linear([[1.0, -1.0]]))
    x = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=F64)
    scores, s = attribution(model, x), math.sqrt(4 / 3)
    output = math.sqrt(13) * s + 1e-4
    one, two = 5 * s / output, 2 * s / output
    edges = [[one * 3 * s / (5 * s + 1e-4), one * 4 * s / (5 * s + 1e-4)], [0.0, two * 2 * s / (2 * s + 1e-4)]]
    expected = [[one, two]], edges
    torch.testing.assert_close(scores.edges[1], torch.tensor(expected[0], dtype=F64), **EXACT)
    torch.testing.assert_close(scores.edges[0], torch.tensor(expected[1], dtype=F64), **EXACT)
    torch.testing.assert_close(scores.nodes[2], torch.ones(1, dtype=F64), **EXACT)
    torch.testing.assert_close(scores.nodes[1], torch.tensor([one, two], dtype=F64), **EXACT)
    features = torch.tensor([edges[0][0], edges[0][1] + edges[1][1]], dtype=F64)
    torch.testing.assert_close(scores.features, features, **EXACT)


def test_scores_are_averages_over_the_outputs():
    """The recursion of each output on its own, from edge values."""
    model, x = BSplineKAN([3, 4, 2], dtype=F64), draw(30, 3)
    score = torch.eye(2, dtype=F64)
    edges = []
    for seen in reversed(edge_layers(model, x)):
        spreads, nodes = seen.layer.edge_values(seen.x).std(0), seen.y.std(0)
        edges.append(score[:, :, None] * spreads / (nodes[:, None] + 1e-4))
        score = edges[-1].sum(1)
    scores = attribution(model, x)
    for found, expected in zip(scores.edges, reversed(edges), strict=True):
        torch.testing.assert_close(found, expected.mean(0), rtol=0, atol=1e-9)
    torch.testing.assert_close(scores.features, score.mean(0), rtol=0, atol=1e-9)


def test_what_nothing_depends_on_has_score_zero():
    model, x = BSplineKAN([3, 4, 1], dtype=F64), draw(30, 3)
    for layer, dead in zip(model.layers, (1, 2), strict=True):
        for name in ("coefficients", "base_weight"):
            layer.get_parameter(name).data[:, dead] = 0
    scores = attribution(model, x)
    assert scores.features[1] == 0
    assert scores.nodes[1][2] == 0
    assert not scores.edges[0][2].any()
    assert (scores.features[[0, 2]] > 0).all()


def test_scores_have_the_shapes_of_layers_and_no_graph():
    scores = attribution(BSplineKAN([3, 4, 2]), torch.randn(4, 5, 3))
    assert [edge.shape for edge in scores.edges] == [(4, 3), (2, 4)]
    assert [node.shape for node in scores.nodes] == [(3,), (4,), (2,)]
    assert not scores.features.requires_grad


def test_layers_that_do_not_follow_one_another_are_refused():
    model = nn.Sequential(FourierKANLayer(2, 4), nn.Unflatten(-1, (2, 2)), FourierKANLayer(2, 1))
    with pytest.raises(ValueError, match=r"`model` must have layers that follow .* 4 outputs where the next has 2"):
        attribution(model, torch.randn(5, 2))
