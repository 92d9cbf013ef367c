"""GR-KANs: shared rational functions, then an affine map."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap
from torch.utils.flop_counter import FlopCounterMode

from classical import GRKAN, GRKANLayer
from classical.rational_function import plain_rational
from tolerances import EXACT, ROUNDED

F64 = torch.float64

OPTIONS = [
    {},
    {"start": "gelu", "first": "silu", "groups": (2, 1), "form": "B"},
    {"start": torch.tanh, "degrees": (3, 2), "groups": (1, 2), "bias": False},
]
EACH = pytest.mark.parametrize("options", OPTIONS)
TRACED = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
"""Torch instantiates functions that it traces, and warns of it."""


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64):
    return torch.randn(*shape, dtype=dtype, generator=drawn())


def made(widths, **options):
    """All of its parameters away from zero."""
    model = GRKAN(widths, **options, dtype=F64)
    model.reset_parameters(drawn(1))
    with torch.no_grad():
        for parameter in model.parameters():
            noise = 0.05 + 0.1 * torch.rand(parameter.shape, dtype=F64, generator=drawn(2))
            parameter.add_(torch.where(parameter < 0, -noise, noise))
    return model


@EACH
def test_a_layer_is_the_sum_of_its_edges(options):
    layer, x = made([4, 2, 4], **options).layers[1], draw(5, 2)
    assert isinstance(layer, GRKANLayer)
    values = plain_rational(x, layer.rational.numerator, layer.rational.denominator, layer.rational.form)
    y = torch.zeros(5, 4, dtype=F64)
    for o in range(4):
        for i in range(2):
            y[:, o] += layer.weight[o, i] * values[:, i]
        y[:, o] += 0 if layer.bias is None else layer.bias[o]
    torch.testing.assert_close(layer(x), y, **EXACT)


@pytest.mark.parametrize("widths", [[3, 1], [2, 6, 1], [784, 64, 10], [192, 768, 192]])
def test_parameters_are_those_of_the_formula(widths):
    """(m + 1) + n g for each layer beside its affine map, where m + n g is published."""
    model = GRKAN(widths)
    affine = sum(i * o + o for i, o in pairwise(widths))
    count = affine + sum(6 + 4 * math.gcd(8, width) for width in widths[:-1])
    assert sum(parameter.numel() for parameter in model.parameters()) == count == model.cost().parameters


@pytest.mark.parametrize("groups", [(1, 2), (2, 4)])
def test_costs_are_what_is_counted(groups):
    model = GRKAN([8, 12, 4], groups=groups)
    cost = model.cost()
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(7, 8))
    products = 2 * (8 * 12 + 12 * 4)
    assert counter.get_total_flops() == 7 * products
    assert (cost.flops, cost.published_flops) == (products + 20 * (8 + 12), products + 21 * (8 + 12))


@pytest.mark.parametrize("start", ["identity", "silu", "gelu", "relu", "tanh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_layer_keeps_the_scale_of_a_signal(start, dtype):
    model = GRKAN([512] * 7, start=start, dtype=dtype)
    model.reset_parameters(drawn(3))
    x = draw(256, 512, dtype=torch.float32).to(dtype)
    for layer in model.layers:
        y = layer(x)
        assert 0.8 < (y.float().square().mean() / x.float().square().mean()).item() < 1.25
        x = y


@pytest.mark.parametrize(
    ("start", "gain"), [("identity", 1), ("relu", 2), ("gelu", 2.3517), ("silu", 2.8108), ("tanh", 2.5362)]
)
def test_the_variance_of_the_weights_is_that_of_the_quadrature(start, gain):
    """Its product with the number of inputs is 1 / E F(z)^2: the published constants, of the function itself."""
    layer = GRKANLayer(1000, 1000, start, dtype=F64)
    layer.reset_parameters(drawn(5))
    # A million weights: the relative deviation of their mean square is 1.4e-3; ReLU is met to 3 % of its own.
    assert (1000 * layer.weight.square().mean()).item() == pytest.approx(gain, rel=0.02 if start == "relu" else 7e-3)


@EACH
@pytest.mark.parametrize("batch", [(), (1,), (4,), (2, 3), (2, 1, 3)])
def test_leading_axes_are_independent_samples(options, batch):
    model, x = made([2, 4, 3], **options), draw(*batch, 2)
    each = torch.stack([model(one) for one in x.reshape(-1, 2)])
    torch.testing.assert_close(model(x), each.reshape(*batch, 3), **EXACT)


@pytest.mark.parametrize("batch", [(0,), (2, 0), (0, 3)])
def test_an_empty_batch_has_an_empty_result_and_no_gradient(batch):
    model, x = GRKAN([2, 4, 3]), torch.empty(*batch, 2, requires_grad=True)
    y = model(x)
    assert y.shape == (*batch, 3)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert [parameter.grad for parameter in model.parameters() if parameter.grad is None or parameter.grad.any()] == []


@EACH
def test_gradients_are_those_of_finite_differences(options):
    model = made([2, 4, 2], **options)
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, *values):
        return functional_call(model, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (draw(4, 2).requires_grad_(), *values))


def test_per_sample_transforms_agree_with_the_batch():
    model, x = made([2, 4, 2]), draw(5, 2)
    torch.testing.assert_close(vmap(model)(x), model(x), **EXACT)
    each = torch.stack([torch.autograd.functional.jacobian(model, one) for one in x])
    torch.testing.assert_close(vmap(jacrev(model))(x), each, **EXACT)


@TRACED
@EACH
def test_it_is_traced_as_one_graph(options):
    model, x = made([2, 4, 2], **options), draw(5, 2)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x), **EXACT)


@EACH
def test_a_state_dict_carries_the_whole_function(options):
    model, other, x = made([2, 4, 1], **options), GRKAN([2, 4, 1], **options, dtype=F64), draw(5, 2)
    assert not torch.equal(model(x), other(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))


def test_the_generator_alone_decides_what_is_drawn():
    model, states = GRKAN([2, 4, 1]), []
    for seed in (7, 8, 7):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(3)
        before = torch.get_rng_state()
        model.reset_parameters(drawn(seed))
        assert torch.equal(torch.get_rng_state(), before)
        states.append(nn.utils.parameters_to_vector(model.parameters()).clone())
    assert torch.equal(states[0], states[2])
    assert not torch.equal(states[0], states[1])


def test_device_and_dtype_reach_every_parameter():
    model = GRKAN([2, 4, 3], device="meta", dtype=F64)
    assert {(p.device.type, p.dtype) for p in model.parameters()} == {("meta", F64)}
    assert model(torch.empty(5, 2, device="meta", dtype=F64)).shape == (5, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_results_are_those_of_double_precision_rounded(dtype):
    layer = GRKANLayer(2, 3, dtype=dtype)
    x = draw(40, 2).to(dtype).requires_grad_()
    y = layer(x)
    y.sum().backward()
    assert y.dtype == dtype
    assert x.grad is not None
    assert x.grad.isfinite().all()
    exact = layer.double()(x.double())
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=20 * max(ROUNDED[dtype]["atol"], 1e-7))


def test_what_is_left_out_in_training_is_there_in_evaluation():
    layer, x = GRKANLayer(64, 3, dropout=0.5, dtype=F64), draw(7, 64)
    torch.testing.assert_close(layer.eval()(x), nn.functional.linear(layer.rational(x), layer.weight, layer.bias))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.allclose(layer.train()(x), layer.eval()(x))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda: GRKANLayer(0, 1), ValueError, r"Argument `in_features` must be at least 1, but is 0\."),
        (lambda: GRKANLayer(2.0, 1), TypeError, r"`in_features` must be an integer, .*, but is 2\.0\."),  # pyright: ignore
        (lambda: GRKANLayer(1, -2), ValueError, r"Argument `out_features` must be at least 1, but is -2\."),
        (lambda: GRKANLayer(1, 1, "swish"), ValueError, r"`start` must be .* relu, .*, but is 'swish'\."),
        (lambda: GRKANLayer(6, 1, groups=(1, 4)), ValueError, r"`groups` must have divisors of the 6 channels, .* 4"),
        (lambda: GRKANLayer(1, 1, dropout=1.5), ValueError, r"`dropout` must be in \[0, 1\), but is 1\.5\."),
        (lambda: GRKAN([3]), ValueError, r"`widths` must have 2 entries or more, as in GRKAN\(\[2, 5, 1\]\)"),
        (lambda: GRKANLayer(3, 1)(torch.ones(5, 2)), ValueError, r"`x` must have shape \(\*batch, 3\), .* \(5, 2\)"),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(spoil, error, message):
    with pytest.raises(error, match=message):
        spoil()
