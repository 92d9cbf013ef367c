r"""Coefficients of rational functions that are close to a given function on an interval, by least squares."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from classical.checks import ACTIVATIONS

Coefficients = tuple[tuple[float, ...], tuple[float, ...]]
"""Of the numerator, $a_0 \\dots a_m$, and of the denominator, $b_1 \\dots b_n$."""

RADIUS = 3.0
"""Functions are fitted from -3 to 3, where nearly all of what has been normalised is."""

MOST_STEPS, MOST_DAMPING = 400, 1e8
"""Where the search ends."""

STARTS = (0.01, 0.1, 1.0)
"""Of all coefficients of the denominator, tried in turn: the problem is not convex."""


def fitted(
    function: Callable[[Tensor], Tensor], numerator: int = 5, denominator: int = 4, form: str = "A"
) -> Coefficients:
    r"""The coefficients with the least sum of squared errors at 1000 equidistant points of [-3, 3].

    The identity, which is a rational function, is met exactly, and those of `FITTED` are looked up.

    Args:
        function: Of one tensor, entry by entry.
        numerator: The degree m.
        denominator: The degree n.
        form: Of the denominator; see `rational`.
    """
    if function is ACTIVATIONS["identity"]:
        return (0.0, 1.0, *[0.0] * (numerator - 1)), (0.0,) * denominator
    for name, known in ACTIVATIONS.items():
        if function is known and (numerator, denominator) == (5, 4):
            return FITTED[form][name]
    return least_squares(function, numerator, denominator, form)


@lru_cache
def least_squares(function: Callable[[Tensor], Tensor], numerator: int, denominator: int, form: str) -> Coefficients:
    """What `fitted` returns, computed: the best of what Levenberg and Marquardt's method finds from `STARTS`."""
    x = torch.linspace(-RADIUS, RADIUS, 1000, dtype=torch.float64)
    with torch.no_grad():
        y = function(x).double()
    found = [_descend(x, y, numerator, torch.full((denominator,), b, dtype=torch.float64), form) for b in STARTS]
    _, a, b = min(found, key=lambda each: each[0])
    return tuple(a.tolist()), tuple(b.tolist())


def _descend(x: Tensor, y: Tensor, degree: int, b: Tensor, form: str) -> tuple[float, Tensor, Tensor]:
    """The error and the coefficients that it leads to; a is always the best one for its b."""
    powers = x[:, None] ** torch.arange(max(degree, len(b)) + 1)
    (error, a), damping, steps = _best(powers, y, degree, b, form), 1e-3, 0
    while damping < MOST_DAMPING and steps < MOST_STEPS:
        steps += 1
        trial = _step(powers, y, a, b, damping, form)
        new_error, new_a = _best(powers, y, degree, trial, form)
        if better := new_error < error:
            error, a, b = new_error, new_a, trial
        damping = max(0.3 * damping, 1e-15) if better else 4 * damping
    return error, a, b


def _step(powers: Tensor, y: Tensor, a: Tensor, b: Tensor, damping: float, form: str) -> Tensor:
    """The next b. In form A it stays positive: what is at zero and wants to go below is held, and the rest goes on."""
    q, by_b = _denominator(powers, b, form)
    columns = powers[:, : len(a)] / q
    value = columns @ a
    jacobian = torch.cat([columns, -value[:, None] / q * by_b], 1)
    step = _solve(jacobian, y - value, damping)[len(a) :]
    if form == "B":
        return b + step
    jacobian[:, len(a) :] *= ~((b == 0) & (step < 0))
    return (b + _solve(jacobian, y - value, damping)[len(a) :]).clamp(min=0)


def _best(powers: Tensor, y: Tensor, degree: int, b: Tensor, form: str) -> tuple[float, Tensor]:
    """The least error for these b, and the a that has it."""
    columns = powers[:, : degree + 1] / _denominator(powers, b, form)[0]
    a = _solve(columns, y, 0.0)
    return (y - columns @ a).square().sum().item(), a


def _denominator(powers: Tensor, b: Tensor, form: str) -> tuple[Tensor, Tensor]:
    """Q, `(points, 1)`, and its derivatives by b, `(points, n)`."""
    terms = powers[:, 1 : len(b) + 1]
    terms = terms.abs() if form == "A" else terms
    h = terms @ b[:, None]
    return 1 + h.abs(), torch.where(h < 0, -terms, terms)


def _solve(columns: Tensor, y: Tensor, damping: float) -> Tensor:
    """The factors of the columns that come closest to y, if they are damped each by its own norm."""
    norms = columns.norm(dim=0).clamp(min=1e-30)
    rows = torch.cat([columns / norms, damping**0.5 * torch.eye(len(norms), dtype=y.dtype)])
    target = torch.cat([y, y.new_zeros(len(norms))])
    return torch.linalg.lstsq(rows, target[:, None], driver="gelsd").solution[:, 0] / norms


FITTED: dict[str, dict[str, Coefficients]] = {
    "A": {
        "relu": (
            (0.0300017926043, 0.616883371196, 2.37272751567, 3.05944303129, 1.5198839884, 0.251758099145),
            (1.19019226232, 4.39864785313, 0.908178739075, 0.347398249456),
        ),
        "silu": (
            (3.08442236999e-07, 0.500000781995, 0.249997813134, 0.0532656212632, 0.00580272287865, 0.000275153625254),
            (4.08044413052e-06, 0.106527709003, 1.25125712109e-06, 0.000550150890691),
        ),
        "gelu": (
            (-0.00100620837322, 0.498613288804, 0.406131628293, 0.108679007488, 0.010755020419, 0.000477355203865),
            (0.0, 0.210481020951, 0.00500061269516, 0.0),
        ),
        "tanh": (
            (0.0, 1.0000155945, 0.0, 0.10723974236, 0.0, 0.00085364350934),
            (7.96455670976e-05, 0.440476261887, 0.0, 0.0144289603699),
        ),
        "sigmoid": (
            (0.500000000348, 0.249999994731, 0.0554424783365, 0.00688792282457, 0.000484857222267, 1.5643948177e-05),
            (3.32426853787e-09, 0.110884952699, 1.7365318571e-09, 0.000969714191997),
        ),
        "softplus": (
            (0.693148636134, 0.499999556673, 0.181284553951, 0.0406098080042, 0.00541755186659, 0.000330739233534),
            (0.0, 0.081217649659, 1.37942836347e-06, 0.000661222381627),
        ),
        "leaky_relu": (
            (0.0298304947318, 0.618359273578, 2.32074478381, 3.04541415682, 1.48074115361, 0.249982165794),
            (1.14065023012, 4.38378584991, 0.868735183187, 0.345751217533),
        ),
        "elu": (
            (0.000272807841144, 0.997749549663, 0.240662132942, 0.321305541254, 0.0579852620403, 0.00642644855043),
            (0.236329078867, 0.324546712439, 0.0569486082509, 0.00654537232189),
        ),
        "selu": (
            (-0.0257919727254, 1.34291333751, -0.697946601072, 4.25460763224, 0.554528197589, 0.0271669995725),
            (0.0503574005846, 3.40866797965, 0.75130441968, 0.0),
        ),
    },
    "B": {
        "relu": (
            (0.0339365629357, 0.49999999947, 1.6683749575, 1.98596246242, 0.938400437549, 0.150296025981),
            (-5.128718316e-09, 3.97192493204, -3.72828699053e-09, 0.300592052594),
        ),
        "silu": (
            (3.27646482959e-07, 0.5, 0.249997351639, 0.0532648195655, 0.00580239762285, 0.000275113854361),
            (0.0, 0.106529639131, 0.0, 0.000550227708722),
        ),
        "gelu": (
            (-0.000423987541128, 0.500000000038, 0.402693493512, 0.0737607149236, -0.0128837657522, -0.00372796967355),
            (-5.14520172794e-09, 0.147521434152, -1.17969006394e-09, -0.00745593924255),
        ),
        "tanh": (
            (0.0, 0.999994208363, 0.0, 0.107702233606, 0.0, 0.000870831406855),
            (0.0, 0.441007600642, 0.0, 0.014578746599),
        ),
        "sigmoid": (
            (0.5, 0.2499999945, 0.05544253732, 0.0068879523637, 0.000484863029359, 1.56443972748e-05),
            (0.0, 0.11088507464, 0.0, 0.000969726058718),
        ),
        "softplus": (
            (0.693148682248, 0.500568727704, 0.181697498179, 0.0407462420058, 0.00544123517398, 0.00033248441099),
            (0.000820312037371, 0.0812224180832, 4.72704303735e-05, 0.000661383973506),
        ),
        "leaky_relu": (
            (0.0335971973063, 0.504999998935, 1.65169120521, 2.00582208345, 0.929016431199, 0.151798985924),
            (-1.0406295496e-08, 3.97192493204, -7.5647876745e-09, 0.300592052594),
        ),
        "elu": (
            (-0.000563974310868, 0.948111665973, 0.417732871011, 0.891920001111, 0.235182325231, 0.0325518553045),
            (0.19469519319, 1.17336980962, 0.100723775768, 0.0540172345736),
        ),
        "selu": (
            (-0.0329630552072, 1.35328627839, 0.355004912846, 3.52849409364, 1.21216065446, 0.212706765559),
            (0.709382905662, 3.50904761866, 0.86213718353, 0.276426531256),
        ),
    },
}
"""What `least_squares` finds for degrees 5 and 4 in each form, rounded to 12 digits."""
