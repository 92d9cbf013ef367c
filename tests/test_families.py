"""What every family of classical Kolmogorov-Arnold networks has in common. A new family is one more row."""

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from classical import (
    AFKAN,
    SKAN,
    AFKANLayer,
    BSplineKAN,
    BSplineKANLayer,
    ChebyshevKAN,
    ChebyshevKANLayer,
    FastKAN,
    FastKANLayer,
    FourierKAN,
    FourierKANLayer,
    ReLUKAN,
    ReLUKANLayer,
    SingleParameterKAN,
    SingleParameterKANLayer,
    SKANLayer,
    WaveletKAN,
    WaveletKANLayer,
)
from classical.pairs import ActivationPairs
from classical.spline_basis import BSpline
from tolerances import EXACT, ROUNDED

F64 = torch.float64

BATCHES = [(), (1,), (4,), (2, 3), (2, 1, 3)]


@dataclass(frozen=True)
class Row:
    """A family.

    Args:
        model: from widths to the network.
        layer: from numbers of inputs and outputs to a layer of it.
        edges: parameters an edge has by default.
        units: parameters an output has by default.
        inputs: parameters an input has by default.
        layers: parameters a layer has by default beside.
        summed: whether a layer is an `EdgeLayer`, a sum of functions of one input each.
        options: combinations of arguments, each of which is tested.
        start: samples as the layer expects them, from a shape and a generator.
    """

    model: Callable[..., nn.Module]
    layer: Callable[..., nn.Module]
    edges: int
    units: int = 0
    inputs: int = 0
    layers: int = 0
    summed: bool = True
    options: tuple[dict[str, Any], ...] = field(default=({},))
    start: Callable[..., torch.Tensor] = torch.randn


def centred(*shape, **kwargs):
    return 2 * torch.rand(*shape, **kwargs) - 1


FAMILIES = {
    "B-splines": Row(
        BSplineKAN,
        BSplineKANLayer,
        edges=10,
        options=(
            {},
            {"bias": True, "base": None},
            {"grid_size": 2, "degree": 2, "domain": (-2.0, 1.0), "base": torch.tanh, "scaler": False},
            {"grid_size": 3, "degree": 4, "base": "identity", "norm": "layer"},
            {"base": None, "outside": "clamp"},
            {"degree": 2, "outside": "linear", "bias": True},
        ),
        start=centred,
    ),
    "Fourier": Row(
        FourierKAN,
        FourierKANLayer,
        edges=10,
        units=1,
        options=(
            {},
            {"bias": False, "base": "silu", "degree": 1},
            {"base": torch.tanh, "degree": 3, "frequency": math.pi},
            {"base": "identity", "frequency": 0.3, "smoothness": 0.0, "norm": "layer"},
        ),
    ),
    "Gaussian bells": Row(
        FastKAN,
        FastKANLayer,
        edges=9,
        units=1,
        inputs=2,
        options=(
            {},
            {"centres": 2, "base": None, "bias": False, "norm": None},
            {"centres": 3, "domain": (-1.0, 2.0), "width": 0.7, "base": torch.tanh, "norm": None},
        ),
    ),
    "Chebyshev": Row(
        ChebyshevKAN,
        ChebyshevKANLayer,
        edges=4,
        options=({}, {"degree": 1, "base": "silu", "bias": True}, {"degree": 6, "norm": "layer"}),
    ),
    "ReLU bumps": Row(
        ReLUKAN,
        ReLUKANLayer,
        edges=6,
        units=1,
        inputs=12,
        options=(
            {},
            {"grid_size": 2, "order": 1, "domain": (0.0, 1.0), "base": "silu", "bias": False},
            {"grid_size": 5, "trainable": False, "base": torch.tanh, "norm": "layer"},
        ),
        start=centred,
    ),
    "wavelets": Row(
        WaveletKAN,
        WaveletKANLayer,
        edges=3,
        units=1,
        inputs=6,
        options=(
            {},
            {"wavelet": "morlet", "size": 1, "base": "silu", "bias": False},
            {"wavelet": "dog", "size": 2, "trainable": False, "base": torch.tanh},
            {"wavelet": "meyer", "domain": (-1.0, 3.0)},
            {"wavelet": "shannon", "norm": "layer"},
        ),
    ),
    "a parameter on each edge": Row(
        SingleParameterKAN,
        SingleParameterKANLayer,
        edges=1,
        units=1,
        inputs=2,
        options=({}, {"function": "arctan", "bias": False, "norm": None}, {"function": "tanh", "base": "silu"}),
    ),
    "pairs of activations": Row(
        AFKAN,
        AFKANLayer,
        edges=1,
        inputs=2,
        layers=3 * 6 + 2,
        summed=False,
        options=(
            {},
            {"activation": torch.tanh, "combination": "sum_prod", "reductions": "multistep", "norm": None},
            {"grid_size": 2, "reductions": ["spatial_attn", "multihead_attn"], "merge": "quadratic"},
            {"degree": 1, "function_norm": "sample", "reductions": ("local_attn", "self_attn")},
        ),
    ),
    "selected spaces": Row(
        SKAN,
        SKANLayer,
        edges=8 + 8 + 4 + 3 + 10,
        units=4 + 5,
        inputs=2 * 3,
        summed=False,
        options=(
            {},
            {"pool": (BSpline(2, 2), partial(FourierKANLayer, degree=1, base="silu"), ActivationPairs(dtype=F64))},
        ),
    ),
}

SUMMED = {name: row for name, row in FAMILIES.items() if row.summed}

EVERY = pytest.mark.parametrize("row", FAMILIES.values(), ids=FAMILIES)
EVERY_SUMMED = pytest.mark.parametrize("row", SUMMED.values(), ids=SUMMED)
EACH_SUMMED = pytest.mark.parametrize(
    ("row", "options"),
    [(row, options) for row in SUMMED.values() for options in row.options],
    ids=[f"{name}-{number}" for name, row in SUMMED.items() for number in range(len(row.options))],
)
EACH = pytest.mark.parametrize(
    ("row", "options"),
    [(row, options) for row in FAMILIES.values() for options in row.options],
    ids=[f"{name}-{number}" for name, row in FAMILIES.items() for number in range(len(row.options))],
)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64):
    return torch.randn(*shape, dtype=dtype, generator=drawn())


def made(make, *sizes, **options):
    model = make(*sizes, **{"dtype": F64, **options})
    model.reset_parameters(drawn(1))
    with torch.no_grad():  # Zeros would hide what is multiplied by them.
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "scaler")):
                parameter.add_(torch.rand(parameter.shape, dtype=parameter.dtype, generator=drawn(2)))
    return model


@EACH_SUMMED
def test_a_layer_is_the_sum_of_its_edges(row, options):
    """One edge, function and sample at a time."""
    layer, x = made(row.layer, 3, 2, **options), draw(5, 3)
    features = layer.basis(x if layer.norm is None else layer.norm(x))
    y = torch.zeros(5, 2, dtype=F64)
    for o in range(2):
        for i in range(3):
            edge = sum(layer.coefficients[o, i, m] * features[:, i, m] for m in range(layer.basis.size))
            edge = edge if layer.scaler is None else edge * layer.scaler[o, i]
            y[:, o] += edge if layer.base is None else edge + layer.base_weight[o, i] * layer.base(x[:, i])
        y[:, o] += 0 if layer.bias is None else layer.bias[o]
    torch.testing.assert_close(layer(x), y, **EXACT)


@EACH_SUMMED
def test_what_edges_add_sums_to_the_layer(row, options):
    layer, x = made(row.layer, 3, 2, **options), draw(2, 5, 3)
    y = layer.edge_values(x).sum(-1) + (0 if layer.bias is None else layer.bias)
    torch.testing.assert_close(layer(x), y, **EXACT)


@EVERY
def test_a_network_is_its_layers_in_turn(row):
    model, x = made(row.model, [3, 4, 2], **row.options[-1]), draw(7, 3)
    first, second = model.layers
    assert torch.equal(model(x), second(first(x)))
    alone = [row.layer(3, 4, **row.options[-1], dtype=F64), row.layer(4, 2, **row.options[-1], dtype=F64)]
    assert repr(list(model.layers)) == repr(alone)


class Sizes(TorchDispatchMode):
    """The most entries a tensor has."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [tensor.numel() for tensor in tree_leaves(out) if isinstance(tensor, torch.Tensor)]
        self.largest = max(self.largest, *sizes, 0)
        return out


@EVERY_SUMMED
def test_no_tensor_has_an_entry_per_sample_and_edge(row):
    layer, x = row.layer(20, 30), draw(40, 20, dtype=torch.float32).requires_grad_()
    with Sizes() as sizes:
        layer(x).square().sum().backward()
    assert sizes.largest == max(40 * 20 * layer.basis.size, 40 * 30) < 40 * 30 * 20


@EVERY
@pytest.mark.parametrize("widths", [[3, 1], [2, 5, 1], [784, 64, 10]])
def test_parameters_are_those_of_the_formula(row, widths):
    count = sum(parameter.numel() for parameter in row.model(widths).parameters())
    edges = sum(i * o for i, o in pairwise(widths))
    assert (
        count
        == edges * row.edges
        + sum(widths[1:]) * row.units
        + sum(widths[:-1]) * row.inputs
        + (len(widths) - 1) * row.layers
    )


@EACH_SUMMED
def test_costs_are_what_is_counted(row, options):
    """Parameters are counted, and operations of matrix products, by torch's counter."""
    model = row.model([6, 5, 4], **options | ({"base": "silu"} if callable(options.get("base")) else {}))
    cost = model.cost()
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(7, 6))
    functions = sum(function_flops(layer) for layer in model.layers)
    assert counter.get_total_flops() == 7 * (cost.flops - functions)


def function_flops(layer):
    """What is not in matrix products."""
    bases = {"silu": 5, "tanh": 6, "identity": 0}
    base = 0 if layer.base is None else bases[layer.base.__name__]
    scalers = 0 if layer.scaler is None else layer.coefficients.numel()
    return layer.in_features * (layer.basis.flops + base + 4 * (layer.norm is not None)) + scalers


@EACH
@pytest.mark.parametrize("batch", BATCHES)
def test_leading_axes_are_independent_samples(row, options, batch):
    model, x = made(row.model, [2, 4, 3], **options), draw(*batch, 2)
    each = torch.stack([model(one) for one in x.reshape(-1, 2)])
    torch.testing.assert_close(model(x), each.reshape(*batch, 3), **EXACT)


@EVERY
@pytest.mark.parametrize("batch", [(0,), (2, 0), (0, 3)])
def test_an_empty_batch_has_an_empty_result_and_no_gradient(row, batch):
    model, x = row.model([2, 4, 3]), torch.empty(*batch, 2, requires_grad=True)
    y = model(x)
    assert y.shape == (*batch, 3)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert [parameter.grad for parameter in model.parameters() if parameter.grad is None or parameter.grad.any()] == []


@EVERY
def test_views_are_as_good_as_copies(row):
    model, x, one = made(row.model, [3, 2]), draw(3, 7), draw(3)
    torch.testing.assert_close(model(x.T), model(x.T.contiguous()), **EXACT)
    torch.testing.assert_close(model(one.expand(4, 3)), model(one).expand(4, 2), **EXACT)


@EACH
def test_gradients_are_those_of_finite_differences(row, options):
    model = made(row.model, [2, 3, 2], **options)
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (draw(4, 2).requires_grad_(), *values))


@EVERY
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of torch 2.6, which maps over scatter_add_ slowly
def test_per_sample_transforms_agree_with_the_batch(row):
    model, x = made(row.model, [2, 3, 2]), draw(5, 2)
    torch.testing.assert_close(torch.vmap(model)(x), model(x), **EXACT)
    jacobians = torch.vmap(torch.func.jacrev(model))(x)
    each = torch.stack([torch.autograd.functional.jacobian(model, one) for one in x])
    torch.testing.assert_close(jacobians, each, **EXACT)


@EACH
def test_it_is_traced_as_one_graph(row, options):
    torch.compiler.reset()  # It gives up on code that was compiled for many classes before.
    model, x = made(row.model, [2, 3, 2], **options), draw(5, 2)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x), **EXACT)


@EVERY
def test_nan_travels_to_the_result(row):
    y = row.layer(2, 3)(torch.tensor([[0.1, math.nan], [0.1, 0.2]]))
    assert y[0].isnan().all()
    assert y[1].isfinite().all()


@EVERY
def test_signals_keep_their_scale_through_many_layers(row):
    model = row.model([64] * 9, dtype=F64)
    model.reset_parameters(drawn(3))
    x = row.start(256, 64, dtype=F64, generator=drawn(4))
    y = model(x)
    assert 0.5 < (y.square().mean() / x.square().mean()).item() < 2
    # Offsets, that are the same for all samples, do not count as signal.
    assert 0.3 < (y.var(0).mean() / x.var(0).mean()).item() < 2


@EVERY
def test_the_generator_alone_decides_what_is_drawn(row):
    model, states = row.model([2, 3, 1]), []
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


@EACH
def test_a_state_dict_carries_the_whole_function(row, options):
    model, other, x = made(row.model, [2, 3, 1], **options), row.model([2, 3, 1], **options, dtype=F64), draw(5, 2)
    assert not torch.equal(model(x), other(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))


@EACH
def test_a_pickle_carries_the_whole_model(row, options):
    model, x = made(row.model, [2, 3, 1], **options), draw(5, 2)
    other = pickle.loads(pickle.dumps(model))
    assert torch.equal(model(x), other(x))
    assert repr(model) == repr(other)


@EVERY
def test_device_and_dtype_reach_every_parameter(row):
    model = row.model([2, 4, 3], device="meta", dtype=F64)
    assert {(p.device.type, p.dtype) for p in model.parameters()} == {("meta", F64)}
    assert model(torch.empty(5, 2, device="meta", dtype=F64)).shape == (5, 3)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_results_are_those_of_double_precision_rounded(row, dtype):
    layer = made(row.layer, 2, 3, dtype=dtype)
    x = draw(40, 2).to(dtype).requires_grad_()
    y = layer(x)
    y.sum().backward()
    assert y.dtype == dtype
    assert x.grad is not None
    assert x.grad.isfinite().all()
    exact = layer.double()(x.double())
    # Numbers up to 10 are rounded before they are used, and some ten terms of size 1 are added.
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=20 * max(ROUNDED[dtype]["atol"], 1e-7))


@EACH_SUMMED
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_functions_of_half_precision_are_rounded_once(row, options, dtype):
    layer = made(row.layer, 2, 3, **options, dtype=dtype)
    x = torch.cat([3 * draw(100, 2), 500 * draw(20, 2)]).to(dtype)
    found, wide = layer.features(x), layer.normalised(x).float()
    assert found.dtype == dtype
    torch.testing.assert_close(found, layer.basis.float()(wide).to(dtype), rtol=0, atol=0)


@EVERY_SUMMED
def test_a_module_as_base_is_trained_along(row):
    base = nn.PReLU()
    assert any(parameter is base.weight for parameter in row.layer(2, 3, base=base).parameters())


def test_a_base_that_vanishes_starts_with_weight_zero():
    layer = FourierKANLayer(2, 3, base=torch.zeros_like)
    assert layer.base_weight is not None
    assert not layer.base_weight.any()
    assert layer.coefficients.isfinite().all()


@EVERY
@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda row: row.layer(0, 1), ValueError, r"Argument `in_features` must be at least 1, but is 0\."),
        (lambda row: row.layer(1, -2), ValueError, r"Argument `out_features` must be at least 1, but is -2\."),
        (lambda row: row.layer(2.0, 1), TypeError, r"`in_features` must be an integer, such as 3, but is 2\.0\."),
        (lambda row: row.model([3]), ValueError, r"`widths` must have 2 entries or more, as in \w+\(\[2, 5, 1\]\)"),
        (lambda row: row.model([3, 0]), ValueError, r"`widths` must have positive entries only, but has 0\."),
        (lambda row: row.layer(3, 1)(torch.ones(5, 2)), ValueError, r"`x` must have shape \(\*batch, 3\), .* \(5, 2\)"),
        (lambda row: row.layer(2, 1)(torch.tensor(1.0)), ValueError, r"`x` must have shape \(\*batch, 2\), .* \(\)"),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(row, spoil, error, message):
    with pytest.raises(error, match=message):
        spoil(row)


@EVERY_SUMMED
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"base": "swish"}, ValueError, r"`base` must be .* relu, .*, but is 'swish'\."),
        ({"base": nn.SiLU}, TypeError, r"`base` must be a name or a function .*, but is <"),
        ({"norm": "rms"}, ValueError, r"`norm` must be one of layer, batch, but is 'rms'\."),
        ({"norm": "layer"}, ValueError, r"`norm` must not be 'layer' for 1 input"),
    ],
)
def test_an_impossible_option_is_named_with_its_value(row, options, error, message):
    with pytest.raises(error, match=message):
        row.layer(1 if options.get("norm") == "layer" else 2, 1, **options)
