"""A perceptron with a learnable function on each node: what the functions are, where they start, what they cost."""

import numpy as np
import pytest
import torch
from torch import nn

from classical import MLP, Nodewise, Rational
from classical.chebyshev import Chebyshev
from classical.fourier import Fourier
from classical.rbf import GaussianRBF
from classical.relu import ReLUBump
from classical.spline_basis import BSpline
from tolerances import EXACT

F64 = torch.float64

pytestmark = pytest.mark.usefixtures("seeded")

BASES = {
    "B-splines": lambda width: BSpline(5, 3, (-3.0, 3.0)),
    "Fourier": lambda width: Fourier(3, 0.7),
    "Chebyshev": lambda width: Chebyshev(5),
    "Gaussian bells": lambda width: GaussianRBF(8, (-4.0, 4.0)),
    "ReLU bumps": lambda width: ReLUBump(width, domain=(-3.0, 3.0), dtype=F64),
}
each_basis = pytest.mark.parametrize("make", BASES.values(), ids=BASES)


def draw(*shape):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(0))


@each_basis
@pytest.mark.parametrize("base", [None, "tanh"])
def test_each_node_has_a_sum_of_functions_of_its_own(make, base):
    module, x = Nodewise(3, make(3), base=base, dtype=F64), draw(2, 5, 3)
    module.coefficients.data = draw(3, module.basis.size)
    features = module.basis(x)
    for i in range(3):
        y = sum(module.coefficients[i, m] * features[..., i, m] for m in range(module.basis.size))
        if module.base_weight is not None:
            module.base_weight.data[i] = 0.5 + i
            y = y + (0.5 + i) * x[..., i].tanh()
        torch.testing.assert_close(module(x)[..., i], y, **EXACT)


@each_basis
def test_functions_start_at_the_least_squares(make):
    """The same problem by singular values of the functions themselves."""
    module = Nodewise(2, make(2), start="silu", dtype=F64)
    nodes, weights = module.basis.inputs()
    functions = module.basis(nodes[:, None].expand(-1, 2))[:, 1].detach().numpy()
    root, target = weights.sqrt().numpy(), nn.functional.silu(nodes).numpy()
    solution = np.linalg.lstsq(root[:, None] * functions, root * target)[0]
    best = functions @ solution
    np.testing.assert_allclose(module(nodes[:, None].expand(-1, 2))[:, 1].detach(), best, atol=1e-6)
    assert (weights * (torch.from_numpy(best) - nn.functional.silu(nodes)).square()).sum() < 0.02


@pytest.mark.parametrize(
    ("basis", "start", "coefficients"),
    [
        (Chebyshev(3), "tanh", [0, 1, 0, 0]),
        (Chebyshev(3), lambda x: 4 * x.tanh() ** 3, [0, 3, 0, 1]),
        (Fourier(2), torch.sin, [0, 0, 1, 0]),
        (GaussianRBF(5), lambda x: torch.exp(-((x - 1) ** 2)), [0, 0, 0, 1, 0]),
        (BSpline(4, 3), torch.ones_like, [1] * 7),
    ],
)
def test_what_a_basis_spans_is_met_exactly(basis, start, coefficients):
    module = Nodewise(2, basis, start=start, dtype=F64)
    expected = torch.tensor(coefficients, dtype=F64).expand(2, -1)
    torch.testing.assert_close(module.coefficients.data, expected, rtol=0, atol=1e-9)


def test_a_cubic_is_met_by_cubic_splines():
    module, x = Nodewise(1, BSpline(4, 3), start=lambda x: x**3 - x, dtype=F64), torch.linspace(-1, 1, 21, dtype=F64)
    torch.testing.assert_close(module(x[:, None])[:, 0], x**3 - x, rtol=0, atol=1e-10)


@each_basis
@pytest.mark.parametrize("start", ["silu", "relu"])
def test_with_a_base_that_is_the_start_a_perceptron_starts_as_the_ordinary_one(make, start):
    mlp = MLP([3, 4, 5, 2], activation=start, dtype=F64)
    twin = MLP([3, 4, 5, 2], nodewise=lambda width: Nodewise(width, make(width), start=start, base=start, dtype=F64))
    twin.double().load_state_dict(mlp.state_dict(), strict=False)
    x = draw(7, 3)
    assert torch.equal(twin(x), mlp(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_starts_and_bases_may_be_modules(dtype):
    start, base, x = nn.PReLU(init=0.2, dtype=dtype), nn.PReLU(init=0.2, dtype=dtype), draw(9, 3).to(dtype)
    assert torch.equal(Nodewise(3, Chebyshev(), start=start, base=base, dtype=dtype)(x), base(x))
    fitted = Nodewise(3, Chebyshev(), start=start, dtype=dtype)
    named = Nodewise(3, Chebyshev(), start=lambda x: nn.functional.leaky_relu(x, 0.2), dtype=dtype)
    torch.testing.assert_close(fitted.coefficients, named.coefficients)
    assert start.weight.dtype == dtype


@pytest.mark.parametrize("norm", [False, True])
def test_a_perceptron_has_a_module_for_each_hidden_layer(norm):
    mlp, x = (
        MLP([3, 4, 5, 2], norm=norm, nodewise=lambda width: Nodewise(width, Chebyshev()), dtype=F64).double(),
        draw(3),
    )
    assert mlp.nodewise is not None
    one, two = mlp.nodewise
    assert [module.coefficients.shape for module in (one, two)] == [(4, 4), (5, 4)]
    (first, second, third), (a, b, c) = mlp.layers, mlp.norms
    assert torch.equal(mlp(x), third(c(two(second(b(one(first(a(x)))))))))


@pytest.mark.parametrize(("cells", "degree"), [(5, 3), (3, 2), (20, 5)])
def test_with_splines_parameters_and_operations_are_those_of_the_fairer_comparison(cells, degree):
    """Of a layer out (in + 1) + out (G + k), and 2 in out + out (9 k (G + 1.5 k) + 2 G - 2.5 k - 1)."""
    mlp = MLP([784, 64, 10], nodewise=lambda width: Nodewise(width, BSpline(cells, degree)))
    cost = mlp.cost()
    assert cost.parameters == sum(p.numel() for p in mlp.parameters()) == 64 * 785 + 64 * (cells + degree) + 10 * 65
    splines = 64 * (9 * degree * (cells + 1.5 * degree) + 2 * cells - 2.5 * degree - 1)
    assert cost.published_flops == 2 * 784 * 64 + splines + 2 * 64 * 10
    assert cost.flops == 2 * 784 * 64 + 64 * (BSpline(cells, degree).flops + 2 * (cells + degree)) + 2 * 64 * 10


@each_basis
@pytest.mark.parametrize("base", [None, "silu"])
def test_parameters_are_what_is_counted(make, base):
    module = Nodewise(3, make(3), base=base)
    assert module.cost().parameters == sum(parameter.numel() for parameter in module.parameters())
    assert module.cost().flops == 3 * (module.basis.flops + 2 * module.basis.size + (0 if base is None else 7))


@each_basis
@pytest.mark.parametrize("base", [None, "silu"])
def test_gradients_are_those_of_finite_differences(make, base):
    module = Nodewise(2, make(2), base=base, dtype=F64)
    names, values = zip(*module.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (draw(4, 2).requires_grad_(), *values))


@each_basis
def test_it_is_a_module_like_any_other(make):
    mlp = MLP([2, 3, 1], nodewise=lambda width: Nodewise(width, make(width)), dtype=F64).double()
    other, x = MLP([2, 3, 1], nodewise=lambda width: Nodewise(width, make(width))).double(), draw(4, 2)
    other.load_state_dict(mlp.state_dict())
    assert torch.equal(other(x), mlp(x))
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(mlp, fullgraph=True, backend="eager")(x), mlp(x), **EXACT)
    assert mlp(x[:0]).shape == (0, 1)
    assert mlp.to(torch.float32)(x.float()).dtype == torch.float32


def test_on_the_meta_device_nothing_is_fitted():
    module = Nodewise(3, Chebyshev(), device="meta", base="silu")
    assert module(torch.empty(5, 3, device="meta")).shape == (5, 3)


@pytest.mark.parametrize("activation", ["silu", nn.PReLU()])
def test_a_perceptron_starts_anew_by_its_generator(activation):
    mlp = MLP([20, 30, 5], norm=True, activation=activation, nodewise=lambda width: Nodewise(width, GaussianRBF()))
    states = []
    for seed in (1, 1, 2):
        with torch.no_grad():
            for parameter in mlp.parameters():
                parameter.fill_(7)
        mlp.reset_parameters(torch.Generator().manual_seed(seed))
        states.append(nn.utils.parameters_to_vector(mlp.parameters()).clone())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert not (states[0] == 7).any()
    weight = mlp.layers[0].get_parameter("weight")
    assert 0.9 / 20**0.5 < weight.abs().max() <= 1 / 20**0.5


class Random(nn.Module):
    """Lines whose slopes are drawn."""

    def __init__(self, width):
        super().__init__()
        self.slope = nn.Parameter(torch.ones(width))

    @torch.no_grad()
    def reset_parameters(self, generator=None):
        self.slope.normal_(generator=generator)

    def forward(self, x):
        return self.slope * x


def test_modules_on_nodes_draw_from_the_generator_too():
    mlp, slopes = MLP([2, 3, 1], nodewise=Random), []
    assert mlp.nodewise is not None
    before = torch.get_rng_state()
    for seed in (1, 1, 2):
        mlp.reset_parameters(torch.Generator().manual_seed(seed))
        slopes.append(mlp.nodewise[0].get_parameter("slope").detach().clone())
    assert torch.equal(slopes[0], slopes[1])
    assert not torch.equal(slopes[0], slopes[2])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("form", ["A", "B"])
def test_rational_functions_may_be_on_the_nodes(form):
    mlp = MLP([6, 8, 4, 2], nodewise=lambda width: Rational(width, "silu", form=form))
    cost, ordinary = mlp.cost(), MLP([6, 8, 4, 2], activation="identity").cost()
    assert (
        cost.parameters == sum(p.numel() for p in mlp.parameters()) == ordinary.parameters + (6 + 4 * 8) + (6 + 4 * 4)
    )
    assert cost.published_flops == (ordinary.published_flops or 0) + 12 * (2 * 5 + 2 * 4 + 3)
    twin, x = MLP([6, 8, 4, 2], activation="silu"), torch.rand(9, 6) - 0.5
    twin.load_state_dict(mlp.state_dict(), strict=False)
    torch.testing.assert_close(mlp(x), twin(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Nodewise(0, Chebyshev()), ValueError, r"`features` must be at least 1, but is 0\."),
        (lambda: Nodewise(2, Chebyshev(), start="swish"), ValueError, r"`start` must be .*, but is 'swish'\."),
        (lambda: Nodewise(2, Chebyshev(), base="swish"), ValueError, r"`base` must be .*, but is 'swish'\."),
        (lambda: Nodewise(2, Chebyshev())(torch.ones(3)), ValueError, r"`x` must have shape \(\*batch, 2\), .* \(3,\)"),
        (lambda: MLP([2, 1, 3], norm=True), ValueError, r"`norm` must be False where .* 1 input.*\(2, 1, 3\): widen"),
        (
            lambda: MLP([2, 3, 1], nodewise=lambda width: nn.PReLU(width)).cost(),
            ValueError,
            r"are not known: give each",
        ),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
