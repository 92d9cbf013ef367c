"""Functions on boxes that papers fit, by formula."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.special
import torch
from torch import Tensor

PAPERS, FEYNMAN, SPECIAL = "papers", "Feynman", "special"
"""Where targets come from."""

Formula = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Target:
    """A function on a box.

    Args:
        key: names it in rows and on the command line.
        label: what it is, for people.
        source: of `PAPERS`, `FEYNMAN` and `SPECIAL`.
        formula: from one array an input to an array, all `(n,)` and float64.
        box: lower and upper end of every input.
    """

    key: str
    label: str
    source: str
    formula: Formula
    box: tuple[tuple[float, float], ...]

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return len(self.box)

    def sample(self, size: int, seed: int) -> tuple[Tensor, Tensor]:
        """Uniform points of the box as models see them, scaled to [-1, 1], `(n, inputs)`, and the values `(n, 1)`."""
        generator = torch.Generator().manual_seed(seed)
        unit = torch.rand(size, self.inputs, dtype=torch.float64, generator=generator)
        return 2 * unit - 1, self(unit)

    def __call__(self, unit: Tensor) -> Tensor:
        """The values `(n, 1)` at points `(n, inputs)` given as parts, 0 to 1, of the edges of the box."""
        low, high = torch.tensor(self.box, dtype=torch.float64).T
        columns = (low + (high - low) * unit).numpy().T
        return torch.as_tensor(self.formula(*columns))[:, None]


def _spherical(order: int, degree: int) -> Formula:
    """The real part of a spherical harmonic with the phase of Condon and Shortley, from azimuth and polar angle."""
    norm = math.sqrt((2 * degree + 1) / (4 * math.pi) * math.factorial(degree - order) / math.factorial(degree + order))

    def real_part(azimuth: np.ndarray, polar: np.ndarray) -> np.ndarray:
        return norm * scipy.special.lpmv(order, degree, np.cos(polar)) * np.cos(order * azimuth)

    return real_part


SQUARE = ((-1.0, 1.0), (-1.0, 1.0))
UNIT = ((0.0, 1.0), (0.0, 1.0))
SPHERE = ((0.0, 2 * math.pi), (0.0, math.pi))
CIRCLE = (0.0, 2 * math.pi)

EXPONENTIAL = Target("exp", "exp(sin πx + y²)", PAPERS, lambda x, y: np.exp(np.sin(math.pi * x) + y**2), SQUARE)
BESSEL = Target("j0", "J₀(20x)", PAPERS, lambda x: scipy.special.j0(20 * x), ((0.0, 1.0),))

TARGETS: tuple[Target, ...] = (
    EXPONENTIAL,
    Target("sin", "sin(eˣ + y²)", PAPERS, lambda x, y: np.sin(np.exp(x) + y**2), SQUARE),
    BESSEL,
    Target("sinc", "sin(20x) / 20x", PAPERS, lambda x: np.sinc(20 * x / math.pi), ((0.0, 1.0),)),
    Target(
        "I.6.2",
        "exp(-θ²/2σ²) / √(2πσ²)",
        FEYNMAN,
        lambda theta, sigma: np.exp(-((theta / sigma) ** 2) / 2) / np.sqrt(2 * math.pi * sigma**2),
        ((-1.0, 1.0), (0.5, 2.0)),
    ),
    Target(
        "I.6.2b",
        "exp(-(θ-φ)²/2σ²) / √(2πσ²)",
        FEYNMAN,
        lambda theta, phi, sigma: np.exp(-(((theta - phi) / sigma) ** 2) / 2) / np.sqrt(2 * math.pi * sigma**2),
        ((-1.5, 1.5), (-1.5, 1.5), (0.5, 2.0)),
    ),
    Target(
        "I.9.18",
        "a / ((b-1)² + (c-d)² + (e-f)²)",
        FEYNMAN,
        lambda a, b, c, d, e, f: a / ((b - 1) ** 2 + (c - d) ** 2 + (e - f) ** 2),
        ((-1.0, 1.0), (-1.0, -0.5), (-1.0, -0.5), (0.5, 1.0), (-1.0, -0.5), (0.5, 1.0)),
    ),
    Target("I.12.11", "1 + a sin θ", FEYNMAN, lambda a, theta: 1 + a * np.sin(theta), ((-1.0, 1.0), CIRCLE)),
    Target("I.13.12", "a (1/b - 1)", FEYNMAN, lambda a, b: a * (1 / b - 1), ((0.0, 1.0), (0.5, 2.0))),
    Target(
        "I.15.3x",
        "(1-a) / √(1-b²)",
        FEYNMAN,
        lambda a, b: (1 - a) / np.sqrt(1 - b**2),
        ((-1.0, 1.0), (-0.9, 0.9)),
    ),
    Target("I.16.6", "(a+b) / (1+ab)", FEYNMAN, lambda a, b: (a + b) / (1 + a * b), ((-0.8, 0.8), (-0.8, 0.8))),
    Target("I.18.4", "(1+ab) / (1+a)", FEYNMAN, lambda a, b: (1 + a * b) / (1 + a), ((0.5, 2.0), (-1.0, 1.0))),
    Target(
        "I.26.2",
        "arcsin(n sin θ)",
        FEYNMAN,
        lambda n, theta: np.arcsin(n * np.sin(theta)),
        ((0.0, 0.99), CIRCLE),
    ),
    Target("I.27.6", "1 / (1+ab)", FEYNMAN, lambda a, b: 1 / (1 + a * b), ((0.5, 2.0), (0.5, 2.0))),
    Target("ellipkinc", "F(φ, m)", SPECIAL, scipy.special.ellipkinc, UNIT),
    Target("ellipeinc", "E(φ, m)", SPECIAL, scipy.special.ellipeinc, UNIT),
    Target("jv", "Jᵥ(x)", SPECIAL, scipy.special.jv, UNIT),
    Target("lpmv", "P⁰ᵥ(x)", SPECIAL, lambda degree, x: scipy.special.lpmv(0, degree, x), UNIT),
    Target("sphharm11", "Re Y₁¹(φ, θ)", SPECIAL, _spherical(1, 1), SPHERE),
    Target("sphharm12", "Re Y₂¹(φ, θ)", SPECIAL, _spherical(1, 2), SPHERE),
)
"""Papers: arXiv:2509.14026 and 2404.19756. Feynman: ten dimensionless equations of 2404.19756, by their numbers in the
lectures; their boxes are those of the package `pykan` for the same variables, and for quotients what follows from them,
kept away from poles. Special: of 2404.19756, on the unit square as in 2407.16674, and all around the sphere."""

BY_KEY = {target.key: target for target in TARGETS}
