r"""Parameters and operations by the formulas of a published comparison, which are not ours.

The formulas charge a spline the recursion of de Boor, once per edge in a Kolmogorov-Arnold network and once per node in
a perceptron. A layer that evaluates its functions once per input does less work: see `Cost.flops`.

Reference:
    R. Yu, W. Yu and X. Wang, KAN or MLP: A Fairer Comparison, 2024, arXiv:2407.16674.
"""

from __future__ import annotations


def spline_edge_flops(grid_size: int, degree: int) -> float:
    r"""Of a B-spline on an edge, $9 k (G + 1.5 k) + 2 G - 2.5 k + 1$; the product with its factor included."""
    return 9 * degree * (grid_size + 1.5 * degree) + 2 * grid_size - 2.5 * degree + 1


def spline_node_flops(grid_size: int, degree: int) -> float:
    r"""Of a B-spline as the activation of a node, $9 k (G + 1.5 k) + 2 G - 2.5 k - 1$."""
    return spline_edge_flops(grid_size, degree) - 2


def spline_layer_parameters(in_features: int, out_features: int, grid_size: int, degree: int) -> int:
    """Of a B-spline layer, `in * out * (G + k + 3) + out`: an edge has two factors and a shortcut, an output a bias.

    >>> spline_layer_parameters(784, 64, 5, 3) + spline_layer_parameters(64, 10, 5, 3)
    559050
    """
    return in_features * out_features * (grid_size + degree + 3) + out_features
