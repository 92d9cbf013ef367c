"""The Fourier layers are trigonometric series, summed over the inputs: the classical twins of circuits."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from circuits import pz
from classical import FourierKAN, FourierKANLayer
from classical.fourier import fourier_basis
from qkan import QKANLayer
from tolerances import EXACT, ROUNDED

F64 = torch.float64

BATCHES = [(), (1,), (4,), (2, 3), (2, 1, 3)]


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64):
    return torch.randn(*shape, dtype=dtype, generator=drawn())


def summed(layer, x):
    """The layer by its formula, one term at a time."""
    y = torch.zeros(*x.shape[:-1], layer.out_features, dtype=x.dtype)
    for o in range(layer.out_features):
        for i in range(layer.in_features):
            for k in range(1, layer.degree + 1):
                angle = k * layer.frequency * x[..., i]
                y[..., o] += layer.coefficients[o, i, k - 1] * torch.cos(angle)
                y[..., o] += layer.coefficients[o, i, layer.degree + k - 1] * torch.sin(angle)
            if layer.base is not None:
                y[..., o] += layer.base_weight[o, i] * layer.base(x[..., i])
        if layer.bias is not None:
            y[..., o] += layer.bias[o]
    return y


LAYERS = [
    {},
    {"bias": False},
    {"base": None},
    {"base": None, "bias": False, "degree": 1},
    {"base": torch.tanh, "degree": 5, "frequency": math.pi},
    {"base": "identity", "frequency": 0.3, "smoothness": 0.0},
]


@pytest.mark.parametrize("kwargs", LAYERS)
def test_a_layer_is_the_double_sum(kwargs):
    layer, x = FourierKANLayer(3, 2, **kwargs, dtype=F64), draw(7, 3)
    if layer.bias is not None:
        layer.bias.data = draw(2)
    torch.testing.assert_close(layer(x), summed(layer, x), **EXACT)


def test_no_tensor_has_an_entry_per_sample_and_edge():
    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            largest.extend(tensor.numel() for tensor in tree_leaves(out) if isinstance(tensor, torch.Tensor))
            return out

    largest, layer, x = [], FourierKANLayer(20, 30), draw(40, 20, dtype=torch.float32).requires_grad_()
    with Sizes():
        layer(x).square().sum().backward()
    assert max(largest) == 40 * 20 * 2 * 3 < 40 * 30 * 20


@pytest.mark.parametrize("frequency", [0.5, 1.0, math.pi])
def test_without_a_base_the_layer_has_the_period_of_its_first_harmonic(frequency):
    layer, x = FourierKANLayer(2, 3, 4, frequency, base=None, dtype=F64), draw(5, 2)
    period = 2 * math.pi / frequency
    torch.testing.assert_close(layer(x + period), layer(x), **EXACT)
    assert (layer(x + period / 2) - layer(x)).abs().max() > 1e-2


def test_its_spectrum_is_its_coefficients():
    layer = FourierKANLayer(1, 1, 4, base=None, dtype=F64)
    assert layer.bias is not None
    layer.bias.data.fill_(0.7)
    x = 2 * math.pi * torch.arange(16, dtype=F64)[:, None] / 16
    spectrum = np.fft.rfft(layer(x)[:, 0].detach().numpy()) / 8
    cosines, sines = layer.coefficients.detach().numpy().reshape(2, 4)
    np.testing.assert_allclose(spectrum[1:5], cosines - 1j * sines, atol=1e-12)
    assert spectrum[0] / 2 == pytest.approx(0.7)
    np.testing.assert_allclose(spectrum[5:], 0, atol=1e-12)


@pytest.mark.parametrize("reps", [1, 3])
@pytest.mark.parametrize("frequency", [1.0, math.pi])
def test_a_circuit_with_equal_scales_is_such_a_series_of_the_degree_of_its_repetitions(reps, frequency):
    """Solve for the coefficients of a quantum layer, and find nothing left over: the control has its spectrum."""
    quantum = QKANLayer(2, 3, pz(reps), init_scale=frequency, frozen=["scale"], dtype=F64)
    layer = FourierKANLayer(2, 3, reps, frequency, dtype=F64)
    x, y = draw(60, 2), quantum(draw(60, 2)).detach()

    def fitted(degree):
        features = fourier_basis(x, degree, frequency).flatten(-2)
        features = torch.cat([features, nn.functional.silu(x), torch.ones(60, 1, dtype=F64)], -1)
        return torch.linalg.lstsq(features, y).solution, features

    solution, features = fitted(reps)
    torch.testing.assert_close(features @ solution, y, rtol=0, atol=1e-9)
    assert layer.base_weight is not None
    assert layer.bias is not None
    series, base, bias = solution.T.split([4 * reps, 2, 1], -1)
    layer.coefficients.data, layer.base_weight.data = series.reshape(3, 2, 2 * reps), base
    layer.bias.data = bias[:, 0]
    torch.testing.assert_close(layer(x), y, rtol=0, atol=1e-9)
    if reps > 1:
        solution, features = fitted(reps - 1)
        assert (features @ solution - y).abs().max() > 1e-3


@pytest.mark.parametrize("widths", [[3, 1], [2, 5, 1], [2, 4, 3, 2]])
@pytest.mark.parametrize("degree", [1, 3, 8])
def test_each_edge_has_two_coefficients_per_harmonic_and_a_base_weight(widths, degree):
    def count(**kwargs):
        model = FourierKAN(widths, degree=degree, **kwargs)
        return sum(parameter.numel() for parameter in model.parameters())

    edges = sum(i * o for i, o in pairwise(widths))
    assert count() == edges * (2 * degree + 1) + sum(widths[1:])
    assert count(bias=False) == edges * (2 * degree + 1)
    assert count(base=None) == edges * 2 * degree + sum(widths[1:])


def test_a_network_is_its_layers_in_turn():
    model = FourierKAN([3, 4, 2], degree=4, frequency=2.0, base="tanh", smoothness=0.5, dtype=F64)
    first, second = model.layers
    x = draw(7, 3)
    assert torch.equal(model(x), second(first(x)))
    described = {(layer.degree, layer.frequency, layer.base, layer.smoothness) for layer in model.layers}
    assert described == {(4, 2.0, torch.tanh, 0.5)}


@pytest.mark.parametrize("batch", BATCHES)
def test_leading_axes_are_independent_samples(batch):
    model, x = FourierKAN([2, 4, 3], dtype=F64), draw(*batch, 2)
    each = torch.stack([model(one) for one in x.reshape(-1, 2)])
    torch.testing.assert_close(model(x), each.reshape(*batch, 3), **EXACT)


@pytest.mark.parametrize("batch", [(0,), (2, 0), (0, 3)])
def test_an_empty_batch_has_an_empty_result_and_no_gradient(batch):
    model, x = FourierKAN([2, 4, 3]), torch.empty(*batch, 2, requires_grad=True)
    y = model(x)
    assert y.shape == (*batch, 3)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert [parameter.grad for parameter in model.parameters() if parameter.grad is None or parameter.grad.any()] == []


def test_views_are_as_good_as_copies():
    model, x, one = FourierKAN([3, 2], dtype=F64), draw(3, 7), draw(3)
    torch.testing.assert_close(model(x.T), model(x.T.contiguous()), **EXACT)
    torch.testing.assert_close(model(one.expand(4, 3)), model(one).expand(4, 2), **EXACT)


@pytest.mark.parametrize("base", ["silu", None])
def test_gradients_are_those_of_finite_differences(base):
    model = FourierKAN([2, 3, 2], degree=2, frequency=1.5, base=base, dtype=F64)
    model.reset_parameters(drawn())
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    x = draw(4, 2).requires_grad_()
    assert torch.autograd.gradcheck(function, (x, *values))
    assert torch.autograd.gradgradcheck(function, (x, *values))


def test_per_sample_transforms_agree_with_the_batch():
    model, x = FourierKAN([2, 3, 2], dtype=F64), draw(5, 2)
    torch.testing.assert_close(torch.vmap(model)(x), model(x), **EXACT)
    jacobians = torch.vmap(torch.func.jacrev(model))(x)
    each = torch.stack([torch.autograd.functional.jacobian(model, one) for one in x])
    torch.testing.assert_close(jacobians, each, **EXACT)


def test_it_is_traced_as_one_graph():
    model, x = FourierKAN([2, 3, 2], dtype=F64), draw(5, 2)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x), **EXACT)


def test_nan_travels_to_the_result():
    y = FourierKANLayer(2, 3)(torch.tensor([[0.1, math.nan], [0.1, 0.2]]))
    assert y[0].isnan().all()
    assert y[1].isfinite().all()


@pytest.mark.parametrize(("degree", "smoothness"), [(1, 1.0), (3, 0.0), (6, 1.0), (6, 2.0)])
@pytest.mark.parametrize("location", [0.0, 3.0])
def test_the_series_starts_with_unit_mean_square_wherever_the_inputs_are(degree, smoothness, location):
    """2,000 outputs with 100 inputs, each of its own weights, so independent and nearly normal: five deviations."""
    layer = FourierKANLayer(100, 2000, degree, base=None, smoothness=smoothness, dtype=F64)
    layer.reset_parameters(drawn(2))
    y = layer(location + 0.01 * torch.randn(100, dtype=F64, generator=drawn(1)))
    assert y.mean().item() == pytest.approx(0, abs=5 / math.sqrt(2000))
    assert y.square().mean().item() == pytest.approx(1, rel=5 * math.sqrt(2 / 2000))


@pytest.mark.parametrize("base", ["silu", "identity", "tanh", nn.PReLU(dtype=F64)])
def test_the_base_gives_half_of_it_for_normal_inputs(base):
    layer = FourierKANLayer(100, 2000, base=base, dtype=F64)
    layer.reset_parameters(drawn(2))
    assert layer.base is not None
    assert layer.base_weight is not None
    x = torch.randn(2000, 100, dtype=F64, generator=drawn(1))
    half = (layer.base_weight * layer.base(x)).sum(-1)
    assert half.square().mean().item() == pytest.approx(0.5, rel=5 * math.sqrt(2 / 2000))
    assert layer(x).square().mean().item() == pytest.approx(1, rel=0.1)


def test_harmonics_start_as_their_smoothness_says():
    layer = FourierKANLayer(100, 1000, degree=4, smoothness=2.0, dtype=F64)
    layer.reset_parameters(drawn(3))
    deviations = layer.coefficients.detach().square().mean((0, 1)).sqrt().reshape(2, 4)
    expected = torch.arange(1, 5, dtype=F64) ** -2.0 * deviations[0, 0]
    torch.testing.assert_close(deviations, expected.expand(2, 4), rtol=0.02, atol=0.0)


def test_initial_signals_keep_their_scale_through_many_layers():
    model = FourierKAN([64] * 9, dtype=F64)
    model.reset_parameters(drawn(3))
    assert 0.5 < model(torch.randn(256, 64, dtype=F64, generator=drawn(4))).square().mean().item() < 2


def test_a_base_that_vanishes_starts_with_weight_zero():
    layer = FourierKANLayer(2, 3, base=torch.zeros_like)
    assert layer.base_weight is not None
    assert not layer.base_weight.any()
    assert layer.coefficients.isfinite().all()


def test_the_generator_alone_decides_what_is_drawn():
    model, states = FourierKAN([2, 3, 1]), []
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
    for seed in (7, 8, 7):
        nn.init.ones_(biases[0])
        before = torch.get_rng_state()
        model.reset_parameters(drawn(seed))
        assert torch.equal(torch.get_rng_state(), before)
        states.append(nn.utils.parameters_to_vector(model.parameters()).clone())
    assert torch.equal(states[0], states[2])
    assert not torch.equal(states[0], states[1])
    assert not biases[0].any()


def test_a_state_dict_carries_the_whole_function():
    model, other, x = FourierKAN([2, 3, 1], dtype=F64), FourierKAN([2, 3, 1], dtype=F64), draw(5, 2)
    assert not torch.equal(model(x), other(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))


def test_device_and_dtype_reach_every_parameter():
    model = FourierKAN([2, 4, 3], device="meta", dtype=F64)
    assert {(p.device.type, p.dtype) for p in model.parameters()} == {("meta", F64)}
    assert model(torch.empty(5, 2, device="meta", dtype=F64)).shape == (5, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_results_are_those_of_double_precision_rounded(dtype):
    layer = FourierKANLayer(2, 3, dtype=dtype)
    layer.reset_parameters(drawn())
    x = draw(40, 2).to(dtype).requires_grad_()
    y = layer(x)
    y.sum().backward()
    assert y.dtype == dtype
    assert x.grad is not None
    assert x.grad.isfinite().all()
    exact = layer.double()(x.double())
    # Angles up to 10 are rounded before they are used, and some ten terms of size 1 are added.
    tolerance = 20 * max(ROUNDED[dtype]["atol"], 1e-7)
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=tolerance)


def test_the_repr_says_what_the_layer_is():
    assert repr(FourierKANLayer(2, 3, 5, math.pi, None, False)) == (
        "FourierKANLayer(2, 3, degree=5, frequency=3.141592653589793, base=None, bias=False, smoothness=1.0)"
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FourierKANLayer(0, 1), ValueError, r"Argument `in_features` must be at least 1, but is 0\."),
        (lambda: FourierKANLayer(1, -2), ValueError, r"Argument `out_features` must be at least 1, but is -2\."),
        (lambda: FourierKANLayer(2.0, 1), TypeError, r"`in_features` must be an integer, such as 3, but is 2\.0\."),  # pyright: ignore
        (lambda: FourierKANLayer(1, 1, degree=0), ValueError, r"`degree` must be at least 1, but is 0\."),
        (lambda: FourierKANLayer(1, 1, True), TypeError, r"`degree` must be an integer, .*, but is True\."),
        (lambda: FourierKANLayer(1, 1, 3, 0.0), ValueError, r"`frequency` must be positive and finite, but is 0\.0\."),
        (lambda: FourierKANLayer(1, 1, 3, math.nan), ValueError, r"`frequency` must be positive .*, but is nan\."),
        (lambda: FourierKANLayer(1, 1, 3, "1"), TypeError, r"`frequency` must be a number, such as 1\.0, but is '1'\."),  # pyright: ignore
        (lambda: FourierKANLayer(1, 1, smoothness=math.inf), ValueError, r"`smoothness` must be finite, but is inf\."),
        (lambda: FourierKANLayer(1, 1, base="swish"), ValueError, r"`base` must be .* relu, .*, but is 'swish'\."),
        (lambda: FourierKANLayer(1, 1, base=nn.SiLU), TypeError, r"`base` must be a name or a function .*, but is <"),  # pyright: ignore
        (lambda: FourierKAN([3]), ValueError, r"`widths` must have 2 entries or more, as in FourierKAN\(\[2, 5, 1\]\)"),
        (lambda: FourierKAN([3, 0]), ValueError, r"`widths` must have positive entries only, but has 0\."),
        (lambda: FourierKAN([3, 1], degree=0), ValueError, r"`degree` must be at least 1, but is 0\."),
        (
            lambda: FourierKANLayer(3, 1)(torch.ones(5, 2)),
            ValueError,
            r"`x` must have shape \(\*batch, 3\), .* \(5, 2\)",
        ),
        (
            lambda: FourierKAN([1, 1])(torch.tensor(1.0)),
            ValueError,
            r"`x` must have shape \(\*batch, 1\), but has \(\)",
        ),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
