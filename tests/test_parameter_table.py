"""Parameters of all families at 784-64-10, as their publications count them."""

import pytest

from classical import (
    AFKAN,
    MLP,
    BSplineKAN,
    BSplineKANLayer,
    ChebyshevKAN,
    FastKAN,
    FourierKAN,
    ReLUKAN,
    SingleParameterKAN,
)
from classical.published import spline_edge_flops, spline_layer_parameters

TABLE = {
    "MLP": (MLP, {}, 50_890),
    "MLP, normalised": (MLP, {"norm": True, "bias": False}, 52_512),
    "pairs of activations": (AFKAN, {}, 52_552),
    "a parameter on each edge": (SingleParameterKAN, {}, 52_586),
    "Chebyshev": (ChebyshevKAN, {}, 203_264),
    "Chebyshev, normalised": (ChebyshevKAN, {"norm": "layer"}, 204_960),
    "ReLU bumps": (ReLUKAN, {}, 315_146),
    "ReLU bumps, normalised": (ReLUKAN, {"norm": "layer"}, 316_842),
    "ReLU bumps of 5 cells": (ReLUKAN, {"grid_size": 5}, 420_170),
    "Gaussian bells": (FastKAN, {}, 459_114),
    "B-splines": (BSplineKAN, {}, 508_160),
    "Fourier": (FourierKAN, {}, 508_234),
}
"""Family, arguments beside the widths, and the count."""


@pytest.mark.parametrize(("family", "options", "count"), TABLE.values(), ids=TABLE)
def test_parameters_are_the_published_ones(family, options, count):
    model = family([784, 64, 10], **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert model.cost().parameters == count


def test_the_fairer_comparison_counts_a_factor_on_each_edge_and_a_bias_more():
    published = sum(spline_layer_parameters(*sizes, 5, 3) for sizes in ((784, 64), (64, 10)))
    edges = 784 * 64 + 64 * 10
    assert published == 559_050 == BSplineKAN([784, 64, 10], bias=True).cost().parameters + edges


@pytest.mark.parametrize(("cells", "degree", "flops"), [(5, 3, 260), (3, 2, 110), (20, 5, 1266)])
def test_operations_of_a_spline_on_an_edge_are_those_of_the_fairer_comparison(cells, degree, flops):
    """9 k (G + 1.5 k) + 2 G - 2.5 k + 1, and 2 more and a SiLU of 5 for each input with a base; halves are rounded."""
    assert round(spline_edge_flops(cells, degree)) == flops
    exact = 6 * 4 * spline_edge_flops(cells, degree)
    assert BSplineKANLayer(6, 4, cells, degree, base=None).cost().published_flops == round(exact)
    assert BSplineKANLayer(6, 4, cells, degree).cost().published_flops == round(exact) + 6 * 5 + 2 * 6 * 4
