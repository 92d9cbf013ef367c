r"""What a circuit makes of product states, as a sum over Pauli strings.

$n$ wires with Bloch vectors $r_w$ are in the state $\prod_w (1 + r_w \cdot \sigma) / 2$. So whatever acts on them,
every expectation value is linear in each of the $4^n$ products of $(1, r_w)$: $f = \sum_P c_P \prod_w (1, r_w)_{P_w}$.
Values where all wires are in one of four states, which are a tetrahedron on the sphere, tell the coefficients $c_P$.
As long as the circuit stays the same, each further value is one product of features with them.

Reference: Nielsen and Chuang, Quantum Computation and Quantum Information, 2010, section 8.4.2.
"""

import math
from functools import reduce

import torch
from torch import Tensor

TETRAHEDRON = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
"""The corners, times the root of 3."""


def nodes(wires: int, like: Tensor) -> Tensor:
    r"""Angles $\alpha_w, \beta_w$ of $R_Z(\beta_w) R_Y(\alpha_w) |+\rangle$ in all corners, `(4**wires, 2, wires)`."""
    corners = torch.tensor(TETRAHEDRON, dtype=like.dtype, device=like.device)
    angles = torch.stack([torch.asin(-corners[:, 2] / math.sqrt(3)), torch.atan2(corners[:, 1], corners[:, 0])], dim=-1)
    chosen = torch.cartesian_prod(*[torch.arange(4, device=like.device)] * wires).view(-1, wires)
    return angles[chosen].movedim(-1, -2)


def coefficients(values: Tensor) -> Tensor:
    """From values in the nodes `(..., 4**wires)` to coefficients of the features, of the same shape."""
    corners = torch.tensor(TETRAHEDRON, dtype=values.dtype, device=values.device)
    # Rows (1, r) of the corners are orthogonal, so that the inverse of their matrix is its transpose, but for factors.
    inverse = torch.cat([torch.ones_like(corners[:, :1]), math.sqrt(3) * corners], dim=1).T / 4
    shape, wires = values.shape, round(math.log(values.shape[-1], 4))
    for _ in range(wires):  # the last wire comes to the front, until all have been there
        values = (values.reshape(*shape[:-1], -1, 4) @ inverse.T).movedim(-1, -2).reshape(shape)
    return values


def features(alpha: Tensor, beta: Tensor) -> Tensor:
    r"""The products of $(1, r_w)$ of $R_Z(\beta_w) R_Y(\alpha_w) |+\rangle$, `(*batch, wires)` to `(*batch, 4**wires)`.

    $r = (\cos \alpha \cos \beta, \cos \alpha \sin \beta, -\sin \alpha)$.
    """
    cosine = torch.cos(alpha)
    vectors = torch.stack(
        [torch.ones_like(alpha), cosine * torch.cos(beta), cosine * torch.sin(beta), -torch.sin(alpha)], dim=-1
    )
    return reduce(lambda first, second: (first[..., None] * second[..., None, :]).flatten(-2), vectors.unbind(-2))
