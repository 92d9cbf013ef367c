"""AF-KAN is what its equations say, one sample, input and function at a time."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from classical import AFKAN, AFKANLayer
from classical.pairs import COMBINATIONS, ActivationPairs
from classical.reductions import REDUCTIONS
from tolerances import EXACT

F64 = torch.float64


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape):
    return torch.randn(*shape, dtype=F64, generator=drawn())


def made(*sizes: Any, make: Callable[..., Any] = AFKANLayer, **options: Any) -> Any:
    model = make(*sizes, **options, dtype=F64)
    model.reset_parameters(drawn(1))
    with torch.no_grad():  # Zeros would hide what is multiplied by them, temperatures below 1 what bounds them.
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "low", "high")):
                parameter.add_(torch.rand(parameter.shape, dtype=F64, generator=drawn(2)))
    return model


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


NAIVE_ACTIVATIONS = {
    "softplus": lambda x: math.log1p(math.exp(x)),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "tanh": math.tanh,
}

NAIVE_COMBINATIONS = {
    "quad1": lambda a, b: (a * b) ** 2,
    "quad2": lambda a, b: a * b + a**2 + b**2,
    "sum": lambda a, b: a + b,
    "prod": lambda a, b: a * b,
    "sum_prod": lambda a, b: a + b + a * b,
    "cubic1": lambda a, b: (a + b) * (a**2 + b**2),
    "cubic2": lambda a, b: (a * b) ** 3,
}


def softmax(scores):
    return [math.exp(score) / sum(map(math.exp, scores)) for score in scores]


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def naive_sum(r, f):
    return [dot(r.weight[0], row) + r.bias[0] for row in f]


def naive_global(r, f):
    scores = [(dot(r.weight[0], row) + r.bias[0]) / max(r.temperature, 1) for row in f]
    return [len(f) * share * sum(row) for share, row in zip(softmax(scores), f, strict=True)]


def naive_spatial(r, f):
    def score(i, m):
        near = [(k, i + k - 1) for k in range(3) if 0 <= i + k - 1 < len(f)]
        return (sum(r.weight[k, m] * f[j][m] for k, j in near) + r.bias[m]) / max(r.temperature, 1)

    return [dot(softmax([score(i, m) for m in range(len(row))]), row) for i, row in enumerate(f)]


def naive_attention(heads, window):
    def reduced(r, f):
        size, z = len(f[0]), []
        query, key, value = ([[dot(row, g) for row in part] for g in f] for part in r.projection.split(size))
        depth = size // heads(size)
        for i in range(len(f)):
            start = i - i % window(len(f))
            near = range(start, min(start + window(len(f)), len(f)))
            attended = list(f[i])
            for head in range(heads(size)):
                own = slice(head * depth, (head + 1) * depth)
                shares = softmax([dot(query[i][own], key[j][own]) / math.sqrt(depth) for j in near])
                for m in range(size)[own]:
                    attended[m] += sum(share * value[j][m] for share, j in zip(shares, near, strict=True))
            z.append(dot(r.weight[0], attended) + r.bias[0])
        return z

    return reduced


NAIVE_REDUCTIONS = {
    "global_attn": naive_global,
    "spatial_attn": naive_spatial,
    "multistep": naive_sum,
    "local_attn": naive_attention(lambda size: 1, lambda count: 2),
    "self_attn": naive_attention(lambda size: 1, lambda count: count),
    "multihead_attn": naive_attention(lambda size: size, lambda count: count),
}

NAIVE_MERGES = {
    "sum": sum,
    "product": math.prod,
    "sum_product": lambda z: sum(z) + math.prod(z),
    "quadratic": lambda z: sum(z[a] * z[b] for a in range(len(z)) for b in range(a, len(z))),
}


def flat(rows):
    return [entry for row in rows for entry in row]


def stretched(samples, together):
    """Divided by the norm, then moved and scaled to [0, 1]: over each sample, or together."""
    groups = [flat(flat(samples))] * len(samples) if together else [flat(f) for f in samples]
    results = []
    for f, group in zip(samples, groups, strict=True):
        norm = math.sqrt(dot(group, group))
        low, high = min(group) / norm, max(group) / norm
        results.append([[(entry / norm - low) / (high - low) for entry in row] for row in f])
    return results


def naive(layer, x, activation="silu", combination="quad1", reductions=("global_attn",), merge="sum", **options):
    """The layer without a single operation on tensors."""
    sigma, combine = NAIVE_ACTIVATIONS[activation], NAIVE_COMBINATIONS[combination]
    phases = list(zip(layer.basis.low.tolist(), layer.basis.high.tolist(), strict=True))
    samples = [[[combine(sigma(v - low), sigma(high - v)) for low, high in phases] for v in one] for one in x.tolist()]
    if (norm := options.get("function_norm")) is not None:
        samples = stretched(samples, norm == "batch")
    y = []
    for f in samples:
        with torch.no_grad():
            parts = [NAIVE_REDUCTIONS[name](r, f) for name, r in zip(reductions, layer.reductions, strict=True)]
        z = [float(NAIVE_MERGES[merge](each)) for each in zip(*parts, strict=True)]
        if options.get("norm", "layer") == "layer":
            mean = sum(z) / len(z)
            deviation = math.sqrt(sum((v - mean) ** 2 for v in z) / len(z) + 1e-5)
            factors, shifts = layer.norm.weight.tolist(), layer.norm.bias.tolist()
            z = [g * (v - mean) / deviation + b for v, g, b in zip(z, factors, shifts, strict=True)]
        y.append([dot(row, map(sigma, z)) for row in layer.weight.tolist()])
    return torch.tensor(y, dtype=F64)


OPTIONS = (
    [{"activation": name} for name in NAIVE_ACTIVATIONS]
    + [{"combination": name} for name in NAIVE_COMBINATIONS]
    + [{"reductions": (name,)} for name in NAIVE_REDUCTIONS]
    + [{"merge": name, "reductions": ("multistep", "global_attn", "spatial_attn")} for name in NAIVE_MERGES]
    + [{"merge": name, "reductions": ("local_attn",)} for name in NAIVE_MERGES]
    + [{"function_norm": name, "reductions": ("multistep",), "norm": None} for name in ("sample", "batch")]
    + [{"grid_size": 1, "degree": 0}, {"grid_size": 2, "degree": 4, "norm": None}]
)
EACH = pytest.mark.parametrize("options", OPTIONS, ids=str)
EVERY = pytest.mark.parametrize("reduction", REDUCTIONS)


def test_all_that_is_published_is_there():
    assert REDUCTIONS.keys() == NAIVE_REDUCTIONS.keys()
    assert COMBINATIONS.keys() == NAIVE_COMBINATIONS.keys()


@EACH
def test_a_layer_is_what_its_equations_say(options):
    layer, x = made(5, 3, **options), 2 * draw(4, 5)
    torch.testing.assert_close(layer(x), naive(layer, x, **options), rtol=1e-10, atol=1e-11)


@EVERY
def test_attention_has_a_temperature_of_at_least_one(reduction):
    layer, x = made(5, 3, reductions=reduction), draw(4, 5)
    if not reduction.startswith(("global", "spatial")):
        assert "temperature" not in dict(layer.reductions[0].named_parameters())
        return
    assert layer.reductions[0].temperature.item() == pytest.approx(math.sqrt(5))
    results = []
    for temperature in (0.3, 1.0, 2.0):
        layer.reductions[0].temperature.data.fill_(temperature)
        results.append(layer(x))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[1], results[2])


@pytest.mark.parametrize("options", [*OPTIONS, {"norm": None}, {"norm": "batch"}], ids=str)
def test_no_sample_sees_another_unless_asked(options):
    layer, x = made(5, 3, **options).eval(), draw(6, 5)
    alone = torch.cat([layer(one[None]) for one in x])
    if options.get("function_norm") == "batch":
        assert (layer(x) - alone).abs().max() > 1e-3
    else:
        torch.testing.assert_close(layer(x), alone, **EXACT)


def test_batch_statistics_are_used_in_training_if_asked():
    layer, x = made(5, 3, norm="batch"), draw(2, 3, 5)
    z = layer.reductions[0](layer.basis(x)).flatten(0, 1)
    z = (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt()
    expected = nn.functional.linear(nn.functional.silu(z * layer.norm.weight + layer.norm.bias), layer.weight)
    torch.testing.assert_close(layer(x), expected.reshape(2, 3, 3), **EXACT)


def test_functions_that_are_all_equal_are_scaled_to_zero():
    layer = made(3, 2, activation="relu", function_norm="sample", reductions="multistep", norm=None)
    assert layer(torch.full((1, 3), 100.0, dtype=F64)).isfinite().all()


def test_with_relus_the_functions_are_the_bumps_of_a_relu_kan():
    """Unit heights after the factor 4 g^2 / (k + 1)^2, on intervals of width (k + 1) / g."""
    basis, middles = ActivationPairs(5, 3, "relu", dtype=F64), (torch.arange(-3, 5, dtype=F64) + 2) / 5
    values = basis(middles) * (4 * 5**2 / 4**2) ** 2
    torch.testing.assert_close(values.diagonal(), torch.ones(8, dtype=F64), **EXACT)
    assert not basis(middles + 0.4 + 1e-9).diagonal().any()


def published(inputs, outputs, size, reduction):
    return (
        inputs * outputs
        + 2 * inputs
        + {"global_attn": 3 * size + 2, "spatial_attn": 6 * size + 1}.get(reduction, 3 * size + 1)
    )


@pytest.mark.parametrize("reduction", ["global_attn", "spatial_attn", "multistep"])
@pytest.mark.parametrize(("grid_size", "degree"), [(3, 3), (5, 2)])
def test_parameters_are_those_published(reduction, grid_size, degree):
    layer = AFKANLayer(7, 4, grid_size, degree, reductions=reduction)
    assert sum(parameter.numel() for parameter in layer.parameters()) == published(7, 4, grid_size + degree, reduction)


def test_the_published_network_has_52552_parameters():
    model = AFKAN([784, 64, 10])
    assert sum(parameter.numel() for parameter in model.parameters()) == model.cost().parameters == 52_552


@EVERY
def test_all_parameters_matter_but_the_bias_of_scores_and_what_a_normalisation_undoes(reduction):
    layer = made(5, 3, reductions=reduction)
    layer(draw(4, 5)).square().sum().backward()
    still = {name for name, parameter in layer.named_parameters() if not (parameter.grad.abs() > 1e-12).any()}
    assert still == (set() if reduction == "spatial_attn" else {"reductions.0.bias"})


MATRIX_FLOPS = {"global_attn": 2, "spatial_attn": 0, "multistep": 2}
"""Per input and function; what the flop counter of torch sees."""


@pytest.mark.parametrize("merge", NAIVE_MERGES)
@pytest.mark.parametrize("reduction", MATRIX_FLOPS)
def test_costs_are_what_is_counted(reduction, merge):
    layer = AFKANLayer(5, 3, 2, 2, "relu", "quad2", [reduction] * 3, merge, function_norm="sample")
    cost = layer.cost()
    assert cost.parameters == sum(parameter.numel() for parameter in layer.parameters())
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(7, 5))
    assert counter.get_total_flops() == 7 * (5 * 4 * 3 * MATRIX_FLOPS[reduction] + 2 * 5 * 3)
    functions = 4 * (2 + 2 + 5 + 2)  # differences, activations, their combination and its scaling
    # Sums over the functions and softmaxes, each of three operations per number beside its division by a temperature.
    reduced = {"global_attn": 4 * 3 + 1 + 3 + 2, "spatial_attn": 4 * (6 + 1 + 3 + 2), "multistep": 2 * 4}[reduction]
    merged = {"sum": 2, "product": 2, "sum_product": 5, "quadratic": 11}[merge]
    assert cost.flops == 5 * (functions + 3 * reduced + merged + 4 + 1) + 2 * 5 * 3


@pytest.mark.parametrize(
    ("reduction", "heads", "pairs"), [("local_attn", 1, 9), ("self_attn", 1, 25), ("multihead_attn", 4, 25)]
)
def test_attention_costs_what_its_matrices_cost(reduction, heads, pairs):
    """Five inputs have windows of 2, 2 and 1 inputs, so 4 + 4 + 1 pairs, or one of 25."""
    layer: Any = AFKANLayer(5, 3, 2, 2, reductions=reduction)
    cost = layer.reductions[0].cost()
    assert cost.parameters == sum(p.numel() for p in layer.reductions[0].parameters()) == 3 * 16 + 5
    with FlopCounterMode(display=False) as counter, nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
        layer(torch.randn(7, 5))
    residual, softmax_and_scale = 5 * 4, 4 * heads * pairs
    assert counter.get_total_flops() == 7 * (cost.flops - residual - softmax_and_scale + 2 * 5 * 3)


SMOOTH = [
    options
    for options in OPTIONS
    if options.get("activation") not in ("relu", "leaky_relu", "elu", "selu") and "function_norm" not in options
]


@pytest.mark.parametrize("options", [*SMOOTH, {"norm": "batch"}, {"function_norm": "sample"}], ids=str)
def test_gradients_are_those_of_finite_differences(options):
    layer = made(3, 2, **options)
    names, values = zip(*layer.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (draw(4, 3).requires_grad_(), *values))


@EVERY
def test_it_is_traced_as_one_graph_and_takes_any_leading_shape(reduction):
    model, x = made([5, 3, 2], make=AFKAN, reductions=reduction, function_norm="sample"), draw(2, 3, 5)
    torch.compiler.reset()  # which has a limit of kinds of models in a process
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x), **EXACT)
    for shape in [(), (1,), (0,), (2, 0), (1, 3)]:
        part = x.reshape(-1, 5)[: math.prod(shape)].reshape(*shape, 5)
        each = [model(one) for one in part.reshape(-1, 5)]
        assert model(part).shape == (*shape, 2)
        if each:
            torch.testing.assert_close(model(part), torch.stack(each).reshape(*shape, 2), **EXACT)


def test_an_empty_batch_can_be_scaled_together():
    assert AFKANLayer(3, 2, function_norm="batch")(torch.empty(0, 3)).shape == (0, 2)


@pytest.mark.parametrize(
    "options",
    [{"combination": name} for name in COMBINATIONS]
    + [{"reductions": name} for name in REDUCTIONS]
    + [{"reductions": ["multistep", "spatial_attn"], "merge": "quadratic"}, {"function_norm": "sample"}]
    + [{"norm": "batch"}, {"activation": "softplus", "norm": "batch", "reductions": "multistep"}],
    ids=str,
)
def test_signals_keep_their_scale_through_many_layers(options):
    model = AFKAN([32] * 7, **options, dtype=F64)
    model.reset_parameters(drawn(3))
    x = torch.randn(256, 32, dtype=F64, generator=drawn(4))
    assert 0.5 < model(x).square().mean().item() < 2


def test_one_layer_starts_with_unit_mean_square_without_a_normalisation():
    for reduction in REDUCTIONS:
        layer = AFKANLayer(20, 500, reductions=reduction, norm=None, dtype=F64)
        layer.reset_parameters(drawn(3))
        x = torch.randn(1000, 20, dtype=F64, generator=drawn(4))
        assert layer(x).square().mean().item() == pytest.approx(1, rel=0.25)


def test_probes_leave_no_trace_in_running_statistics():
    layer: Any = AFKANLayer(4, 2, norm="batch")
    assert not layer.norm.running_mean.any()
    assert layer.norm.num_batches_tracked == 0


def test_a_module_as_activation_is_trained_along():
    activation = nn.PReLU(dtype=F64)
    layer = AFKANLayer(3, 2, activation=activation, dtype=F64)
    assert any(parameter is activation.weight for parameter in layer.parameters())
    with pytest.raises(ValueError, match=r"The operations of PReLU\(num_parameters=1\) are not known"):
        layer.cost()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: AFKANLayer(0, 1), ValueError, r"Argument `in_features` must be at least 1, but is 0\."),
        (lambda: AFKANLayer(2, 1, 0), ValueError, r"Argument `grid_size` must be at least 1, but is 0\."),
        (lambda: AFKANLayer(2, 1, 3, -1), ValueError, r"Argument `degree` must be at least 0, but is -1\."),
        (lambda: AFKANLayer(2, 1, activation="swish"), ValueError, r"`activation` must be .* relu, .*'swish'\."),
        (lambda: AFKANLayer(2, 1, combination="quad3"), ValueError, r"`combination` must be one of quad1, .*'quad3'\."),
        (lambda: AFKANLayer(2, 1, reductions="mean"), ValueError, r"`reductions` must be one of global_attn, .*'mean'"),
        (lambda: AFKANLayer(2, 1, reductions=[]), ValueError, r"`reductions` must have one name or more, but is \[\]"),
        (lambda: AFKANLayer(2, 1, merge="max"), ValueError, r"`merge` must be one of sum, product, .*'max'\."),
        (lambda: AFKANLayer(2, 1, norm="rms"), ValueError, r"`norm` must be one of layer, batch, but is 'rms'\."),
        (lambda: AFKANLayer(1, 1), ValueError, r"`norm` must not be 'layer' for 1 input"),
        (lambda: AFKANLayer(2, 1, function_norm="l2"), ValueError, r"`function_norm` must be one of sample, batch"),
        (lambda: AFKANLayer(3, 1)(torch.ones(5, 2)), ValueError, r"`x` must have shape \(\*batch, 3\), .* \(5, 2\)"),
        (lambda: AFKAN([3]), ValueError, r"`widths` must have 2 entries or more, as in AFKAN\(\[2, 5, 1\]\)"),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
