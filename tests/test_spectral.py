"""Layers as matrix products: fast paths equal plain ones, domains and degrees, memory, precision, transformations."""

import copy
import math
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from circuits import (
    Circuit,
    Encode,
    Gate,
    Slot,
    UnsupportedCircuit,
    bases,
    expectation,
    mix,
    precision,
    px,
    pz,
    real,
    rpz,
    scratch,
    unchecked,
)
from circuits.bases import Chebyshev
from circuits.derived import TAKES_CONSTANTS
from circuits.engines import Auto, Choice, get, select, spectral
from circuits.engines.spectral import Spectral
from judge import assert_same, derivatives
from qkan import QKAN, QKANLayer
from random_circuits import inputs
from tolerances import EXPANDED, ROUNDED, Tolerance

F32, F64, BF16 = torch.float32, torch.float64, torch.bfloat16

ENTANGLED = Circuit(
    (
        Gate("RY", 0, Encode(Slot("scale"), Slot("shift"))),
        Gate("RY", 1, Slot("theta")),
        Gate("CNOT", (0, 1)),
        Gate("CRX", (1, 0), Encode(Slot("scale", 1), 0.3)),
        Gate("RX", 1, Slot("theta", 1)),
    ),
    "ZX",
)
CIRCUITS = {
    "integer scales": pz(3, scale=1, shift=0),
    "geometric scales": rpz(3, scale=[1, 3, 9]),
    "arccos": px(3, scale=1, shift=0),
    "trainable scales": pz(3),
    "real scales": mix(2, scale=0.7, shift=0),
    "real ansatz": real(2),
    "two wires": ENTANGLED,
}
expandable = pytest.mark.parametrize("circuit", CIRCUITS.values(), ids=CIRCUITS)


def expanded(**options: object) -> Spectral:
    engine = get("spectral", **options)
    assert isinstance(engine, Spectral)
    return engine


def layer_leaves(circuit: Circuit, batch=(11,), shape=(4, 3), dtype=F64, seed=0) -> dict[str, Tensor]:
    x, params = inputs(circuit, x_grid=(*batch, shape[1]), params_grid=shape, seed=seed, dtype=dtype)
    weight = torch.linspace(-1, 1, math.prod(shape), dtype=dtype).reshape(shape)
    return {"x": x[..., 0], "weight": weight, **params}


def contraction(engine, circuit):
    def function(x, weight, **params):
        return engine.contract(circuit, x, params, weight)

    return function


# Fast is plain.


@expandable
@pytest.mark.parametrize("batch", [(1,), (11,), (2, 3), ()])
@pytest.mark.parametrize("shape", [(4, 3), (1, 3), (4, 1), (1, 1)])
def test_a_layer_is_the_sum_of_its_activations(circuit, batch, shape):
    leaves = layer_leaves(circuit, batch, shape)
    expected = derivatives(contraction(get("reference"), circuit), leaves)
    assert_same(derivatives(contraction(get("spectral"), circuit), leaves), expected, EXPANDED)


@expandable
@pytest.mark.parametrize("dtype", [F32, F64])
def test_the_product_in_parts_is_the_plain_product(circuit, dtype):
    """Values and every gradient of the hand-written derivative against torch's of the plain twin."""
    leaves = layer_leaves(circuit, (13,), dtype=dtype)
    size = 4 * leaves["x"].element_size() / 2**20  # a row at a time
    fast = derivatives(contraction(get("spectral", budget=size), circuit), leaves)
    whole = derivatives(contraction(get("spectral"), circuit), leaves)
    with patch.object(spectral, "transformed", lambda: True):
        plain = derivatives(contraction(get("spectral"), circuit), leaves)
    tolerance: Tolerance = {"rtol": 1e-11, "atol": 1e-11} if dtype == F64 else {"rtol": 2e-5, "atol": 2e-5}
    assert_same(fast, plain, tolerance)
    assert_same(whole, plain, tolerance)


@expandable
def test_relative_errors_are_small(circuit):
    """What users are promised: output within 1e-5, every gradient within 1e-4 in float32; 1e-10 in float64."""
    leaves = layer_leaves(circuit, (200,), (5, 7), seed=3)
    expected = derivatives(contraction(get("reference"), circuit), leaves)
    for dtype, of_value, of_gradient in ((F32, 1e-5, 1e-4), (F64, 1e-10, 1e-10)):
        cast = {name: tensor.to(dtype) for name, tensor in leaves.items()}
        actual = derivatives(contraction(get("spectral"), circuit), cast)
        for name, tensor in actual.items():
            error = (tensor.double() - expected[name]).norm() / expected[name].norm()
            assert error <= (of_value if name == "value" else of_gradient), (name, dtype, error)


@pytest.mark.parametrize(
    "circuit", [pz(2), pz(2, scale=1, shift=0), ENTANGLED], ids=["trainable", "fixed", "entangled"]
)
def test_second_derivatives_in_x_are_those_of_the_circuit(circuit):
    """Physics-informed losses differentiate the output twice in x, and the square of that in the parameters."""
    leaves = layer_leaves(circuit, (5,), (2, 2))

    def residual(engine):
        def function(x, weight, **params):
            y = engine.contract(circuit, x, params, weight)
            (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            (curvature,) = torch.autograd.grad(slope.sin().sum(), x, create_graph=True)
            return (curvature + y.sum(-1, keepdim=True)) ** 2

        return function

    # Two derivatives of a polynomial of degree 30: D**4 times the error of the value, at worst.
    tolerance: Tolerance = {"rtol": 1e-6, "atol": 1e-6}
    assert_same(
        derivatives(residual(get("spectral")), leaves), derivatives(residual(get("reference")), leaves), tolerance
    )


def test_gradcheck():
    leaves = layer_leaves(pz(1), (3,), (2, 2))
    names, tensors = list(leaves), [leaf.requires_grad_() for leaf in leaves.values()]

    def function(*tensors):
        return contraction(get("spectral", domain=(-1, 1)), pz(1))(**dict(zip(names, tensors, strict=True)))

    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors)


def test_only_what_is_wanted_is_differentiated():
    leaves = layer_leaves(pz(2))
    expected = derivatives(contraction(get("reference"), pz(2)), leaves)
    for name in leaves:
        given = {key: leaf.clone().requires_grad_(key == name) for key, leaf in leaves.items()}
        y = contraction(get("spectral"), pz(2))(**given)
        weight = torch.linspace(0.5, 1.5, y.numel(), dtype=F64).reshape(y.shape)
        (gradient,) = torch.autograd.grad((weight * y).sum(), given[name])
        torch.testing.assert_close(gradient, expected[f"d/d{name}"], **EXPANDED)


# Nothing large is formed.


class Largest(TorchDispatchMode):
    """Remembers the number of entries of the largest tensor that an operation made."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(tensor, Tensor):
                self.entries = max(self.entries, tensor.numel())
        return made


@pytest.mark.parametrize("circuit", [pz(2), pz(2, scale=1, shift=0)], ids=["trainable", "fixed"])
@pytest.mark.parametrize("name", ["spectral", "bloch"])
def test_no_tensor_is_batch_by_out_by_in(circuit, name):
    batch, outs, ins = 3000, 20, 10
    layer = QKANLayer(ins, outs, circuit, engine=get(name, budget=0.25))
    x = torch.rand(batch, ins).requires_grad_()
    with Largest() as largest:
        layer(x).square().sum().backward()
    assert largest.entries < batch * outs * ins / 4


def test_features_stay_within_the_budget():
    layer = QKANLayer(10, 2, pz(2), engine=get("spectral", budget=0.5), base=None)
    x = torch.rand(6000, 10)
    with Largest() as largest:
        layer(x).square().sum().backward()
    assert 60_000 < largest.entries <= 0.5 * 2**20 / 4


# Range and degree.


def test_the_range_follows_each_input():
    """An input far from 0, or wide, does not make the others dear."""
    leaves = layer_leaves(pz(2), (50,), (3, 2))
    params = {name: leaves[name] for name in pz(2).slots}
    x = leaves["x"] + torch.tensor([0.0, 1000.0])
    params["scale"] = torch.rand_like(params["scale"]) + 0.5
    expansion = expanded().layer(pz(2), x, params)
    assert expansion.basis.degree < 40
    expected = get("reference").contract(pz(2), x, params, leaves["weight"])
    torch.testing.assert_close(
        get("spectral").contract(pz(2), x, params, leaves["weight"]), expected, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("x", [torch.full((4, 2), 0.3, dtype=F64), torch.tensor([[0.3, -0.8]], dtype=F64)])
def test_a_range_without_length_keeps_values_and_slopes(x):
    leaves = layer_leaves(pz(2), (1,), (3, 2)) | {"x": x}
    expected = derivatives(contraction(get("reference"), pz(2)), leaves)
    assert_same(derivatives(contraction(get("spectral"), pz(2)), leaves), expected, EXPANDED)


def test_a_domain_makes_predictions_independent_of_the_batch():
    leaves = layer_leaves(pz(3), (9,))
    params = {name: leaves[name] for name in pz(3).slots}
    engine = get("spectral", domain=(-1, 1), tolerance=1e-3)
    together = engine.contract(pz(3), leaves["x"], params, leaves["weight"])
    alone = torch.cat([engine.contract(pz(3), row[None], params, leaves["weight"]) for row in leaves["x"]])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-14)


def test_data_outside_the_domain_are_refused():
    leaves = layer_leaves(pz(2))
    function = contraction(get("spectral", domain=(-0.5, 0.5)), pz(2))
    with pytest.raises(ValueError, match=r"`x` must lie in the domain \[-0.5, 0.5\] of engine 'spectral', but reaches"):
        function(**leaves)
    with unchecked():
        function(**leaves)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-8])
def test_the_tolerance_is_kept_and_not_wasted(tolerance):
    circuit = pz(3)
    x, params = inputs(circuit, x_grid=(400,), seed=5)
    exact = expectation(circuit, x, params, "reference")
    engine = get("spectral", tolerance=tolerance)
    assert (engine(circuit, x, params) - exact).abs().max() <= tolerance
    degrees = [expanded(tolerance=t).expand(circuit, x, params).basis.degree for t in (tolerance, 1e-12)]
    assert degrees[0] < degrees[1]


def test_a_degree_that_does_not_meet_the_tolerance_is_refused():
    leaves = layer_leaves(pz(3))
    needed = expanded().layer(pz(3), leaves["x"], {k: leaves[k] for k in pz(3).slots}).basis.degree
    with pytest.raises(ValueError, match=r"`degree` of engine 'spectral' is 6, .* error .*: take \d+, a narrower"):
        contraction(get("spectral", degree=6), pz(3))(**leaves)
    fixed = contraction(get("spectral", degree=needed), pz(3))(**leaves)
    torch.testing.assert_close(fixed, contraction(get("reference"), pz(3))(**leaves), **EXPANDED)
    with unchecked():
        rough = contraction(get("spectral", degree=6), pz(3))(**leaves)
    assert not torch.allclose(rough, fixed, atol=1e-9)


def test_a_range_that_no_degree_covers_is_refused():
    leaves = layer_leaves(pz(2)) | {"x": torch.linspace(0, 1e6, 33, dtype=F64).reshape(11, 3)}
    with pytest.raises(ValueError, match=r"needs degree \d+ > 2048: rescale x or the scales, or use 'bloch'"):
        contraction(get("spectral"), pz(2))(**leaves)


@pytest.mark.parametrize(
    ("circuit", "remedy"),
    [
        (px(2), "edges have no phase in common to expand in; use 'bloch', or fix scale and shift"),
        (Circuit((Gate("RX", 0, Encode(feature=0)), Gate("RX", 0, Encode(feature=1)))), "several features"),
        (pz(9, scale=[3.0**k for k in range(9)]), "its degree 9841 is above 2048; use 'bloch'"),
    ],
)
def test_what_cannot_be_expanded_is_refused(circuit, remedy):
    x, params = inputs(circuit)
    with pytest.raises(UnsupportedCircuit, match=remedy):
        get("spectral")(circuit, x, params)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domain": (1, -1)}, r"`domain` must be \(low, high\) with low < high, or None, but is \(1, -1\)"),
        ({"domain": (0, math.inf)}, "`domain` must be"),
        ({"domain": 3}, "`domain` must be"),
        ({"degree": 0}, "`degree` must be an int from 1 to 2048 or None, but is 0"),
        ({"degree": 2.5}, "`degree` must be an int"),
        ({"tolerance": 0.0}, "`tolerance` must be a number between 0 and 1 or None, but is 0.0"),
        ({"budget": -1}, "`budget` must be a positive number of MiB, but is -1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        get("spectral", **options)


def test_repr_shows_what_was_asked_for():
    assert repr(get("spectral")) == "Spectral()"
    assert repr(get("spectral", degree=12, domain=(-1, 1))) == "Spectral(domain=(-1.0, 1.0), degree=12)"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["x", "theta", "scale", "weight"])
def test_values_that_are_not_finite_are_named(value, name):
    leaves = layer_leaves(pz(2))
    leaves[name].view(-1)[1] = value
    with pytest.raises(ValueError, match=rf"{name}.* must be finite, but is {value}"):
        contraction(get("spectral"), pz(2))(**leaves)


# Dtypes and precision.


def test_bfloat16_inputs_are_computed_in_float32_and_rounded_once():
    leaves = layer_leaves(pz(3), (40,), dtype=BF16)
    y = contraction(get("spectral"), pz(3))(**leaves)
    exact = contraction(get("reference"), pz(3))(**{name: leaf.double() for name, leaf in leaves.items()})
    assert y.dtype == BF16
    torch.testing.assert_close(y.double(), exact, rtol=2**-8, atol=ROUNDED[BF16]["atol"])


class Precisions(TorchDispatchMode):
    """Remembers the precision that products were allowed, and their dtypes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, torch.dtype]] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.addmm_):
            self.seen.add((torch.get_float32_matmul_precision(), args[0].dtype))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("circuit", [pz(2), pz(2, scale=1, shift=0)], ids=["trainable", "fixed"])
def test_products_are_full_float32_whatever_is_allowed_elsewhere(circuit):
    leaves = {name: leaf.requires_grad_() for name, leaf in layer_leaves(circuit, dtype=F32).items()}
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", BF16):
            y = contraction(get("spectral"), circuit)(**leaves)
        with Precisions() as precisions, torch.autocast("cpu", BF16):
            contraction(get("spectral"), circuit)(**leaves)
            torch.autograd.grad(y.sum(), list(leaves.values()))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert precisions.seen == {("highest", F32)}
    assert y.dtype == BF16


# torch.func and torch.compile.


@pytest.mark.parametrize("circuit", [pz(2), pz(2, scale=1, shift=0)], ids=["trainable", "fixed"])
def test_ensembles_and_jacobians_by_torch_func(circuit):
    leaves = layer_leaves(circuit, (5,), (2, 3))
    engine, judge = get("spectral"), get("reference")
    params = {name: torch.stack([leaves[name], leaves[name] * 0.5]) for name in circuit.slots}

    def member(engine):
        return lambda params: engine.contract(circuit, leaves["x"], params, leaves["weight"])

    expected = torch.stack([member(judge)({k: v[i] for k, v in params.items()}) for i in range(2)])
    torch.testing.assert_close(torch.func.vmap(member(engine))(params), expected, **EXPANDED)
    one = {name: leaves[name] for name in circuit.slots}
    torch.testing.assert_close(
        torch.func.jacrev(member(engine))(one), torch.func.jacrev(member(judge))(one), **EXPANDED
    )


@pytest.mark.skipif(not TAKES_CONSTANTS, reason="torch.compile of this version breaks the graph")
@pytest.mark.parametrize("engine", [get("bloch"), get("spectral", domain=(-1, 1), degree=20), get("auto")], ids=repr)
def test_a_network_compiles_to_one_graph(engine):
    torch.compiler.reset()
    model = QKAN([2, 3, 1], circuit=pz(2), engine=engine)
    model = nn.Sequential(model[0], nn.Tanh(), model[1])
    x = torch.rand(7, 2) * 2 - 1
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected, actual = model(x), compiled(x)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    wanted = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    found = torch.autograd.grad(actual.square().sum(), list(model.parameters()))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


# Auto.


def layer_of(batch, ins, outs, circuit, dtype=F32):
    layer = QKANLayer(ins, outs, circuit, dtype=dtype)
    return layer, torch.rand(batch, ins, dtype=dtype)


@pytest.mark.parametrize(
    "circuit", [pz(3), pz(3, scale=1, shift=0), ENTANGLED], ids=["trainable", "fixed", "entangled"]
)
def test_auto_expands_large_layers_and_says_so(circuit):
    layer, x = layer_of(1024, 64, 64, circuit)
    layer(x)
    assert isinstance(auto := layer.activation.engine, Auto)
    assert auto.last is not None
    assert auto.last.engine.name == layer.activation.running_engine.name == "spectral"
    assert "features an input in about" in auto.last.reason
    assert "engine=auto -> Spectral()" in repr(layer)


def test_auto_walks_small_layers():
    layer, x = layer_of(8, 2, 3, pz(3))
    layer(x)
    assert layer.activation.running_engine.name == "bloch"


def test_auto_walks_what_cannot_be_one_product():
    big = torch.rand(2048, 64)
    layer = QKANLayer(64, 64, px(2), engine="auto")
    layer(big * 0.3)
    assert layer.activation.running_engine.name == "bloch"


@pytest.mark.parametrize("share", ["out", 3])
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("circuit", [pz(3), pz(3, scale=1, shift=0)], ids=["trainable", "fixed"])
def test_activations_that_outputs_share_are_expanded_as_themselves(share, dtype, circuit):
    layer = QKANLayer(16, 8, circuit, share=share, dtype=dtype)
    x = torch.randn(50, 16, dtype=dtype, requires_grad=True)
    results = []
    for engine in ("spectral", "bloch"):
        layer.activation.engine = engine
        y = layer(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])])
    tolerance = 1e-9 if dtype == F64 else 2e-4
    for fast, plain in zip(*results, strict=True):
        assert (fast - plain).abs().max() <= tolerance * max(1.0, plain.abs().max().item())


def test_auto_expands_many_samples_of_shared_activations():
    layer = QKANLayer(64, 64, pz(3), share="out")
    layer(torch.randn(2048, 64))
    assert layer.activation.running_engine.name == "spectral"


def test_auto_is_the_engine_it_chooses():
    layer, x = layer_of(600, 30, 20, pz(3), F64)
    y = layer(x)
    assert layer.activation.running_engine.name == "spectral"
    layer.activation.engine = "spectral"
    assert torch.equal(layer(x), y)


def test_activations_remember_their_own_choices():
    model = QKAN([2, 3, 200], circuit=pz(3), engine=get("auto"))
    model(torch.rand(3000, 2))
    first, second = (layer.activation.engine for layer in model if isinstance(layer, QKANLayer))
    assert first is not second
    assert [isinstance(engine.last, Choice) for engine in (first, second) if isinstance(engine, Auto)] == [True, True]


def test_a_choice_explains_itself():
    layer, x = layer_of(2000, 50, 50, pz(3))
    choice = select(pz(3), x, layer.activation.slots(), layer.weight)
    assert choice.expansion is not None
    assert str(choice).startswith(f"spectral: {choice.expansion.basis.size} features an input in about ")
    assert isinstance(choice.expansion.basis, Chebyshev)


# Memory that is used again.


def test_calls_do_not_share_what_they_return_or_keep():
    """Two calls, and their backwards in the other order, are what they are alone."""
    leaves = [layer_leaves(pz(2), seed=seed) for seed in (1, 2)]
    function = contraction(get("spectral"), pz(2))
    alone = [derivatives(function, each) for each in leaves]
    given = [{name: leaf.clone().requires_grad_() for name, leaf in each.items()} for each in leaves]
    outputs = [function(**each) for each in given]
    for output, each, expected in reversed(list(zip(outputs, given, alone, strict=True))):
        assert torch.equal(output, expected["value"])
        weight = torch.linspace(0.5, 1.5, output.numel(), dtype=F64).reshape(output.shape)
        gradients = torch.autograd.grad((weight * output).sum(), list(each.values()))
        for name, gradient in zip(each, gradients, strict=True):
            assert torch.equal(gradient, expected[f"d/d{name}"])


def test_memory_met_in_inference_mode_serves_training():
    scratch._KEPT.__dict__.clear()
    bases._remembered.cache_clear()
    layer, x = layer_of(500, 16, 16, pz(2))
    layer.activation.engine = "spectral"
    with torch.inference_mode():
        layer(torch.rand(900, 16))
    layer(x).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters() if parameter.grad is not None)
    assert layer.weight.grad is not None
    assert layer.weight.grad.any()


def test_threads_have_memory_of_their_own():
    function = contraction(get("spectral", budget=0.02), pz(2))
    leaves = [layer_leaves(pz(2), (300,), (12, 12), seed=seed) for seed in range(4)]
    alone = [derivatives(function, each) for each in leaves]
    with ThreadPoolExecutor(4) as pool:
        for k, found in enumerate(pool.map(lambda k: derivatives(function, leaves[k % 4]), range(40))):
            assert all(torch.equal(found[name], alone[k % 4][name]) for name in found)


# Corners.


def test_auto_walks_data_that_span_too_many_waves():
    layer, x = layer_of(1024, 64, 64, pz(3))
    layer(x * 1e4)
    assert layer.activation.running_engine.name == "bloch"
    assert isinstance(auto := layer.activation.engine, Auto)
    assert auto.last is not None
    assert "needs degree" in auto.last.reason


def test_the_feature_is_that_of_the_encoding_that_is_seen():
    """RZ on |0> is a phase: what is left reads feature 1."""
    circuit = Circuit((Gate("RZ", 0, Encode(feature=0)), Gate("RX", 0, Encode(Slot("s"), feature=1))))
    x, params = inputs(circuit, x_grid=(6,))
    torch.testing.assert_close(get("spectral")(circuit, x, params), get("reference")(circuit, x, params), **EXPANDED)


@pytest.mark.parametrize("scale", [2.0**-9, 0.01, 1.0])
@pytest.mark.parametrize("span", [1.0, 0.01])
def test_slopes_keep_their_digits_on_short_intervals(scale, span):
    leaves = layer_leaves(pz(1), (40,), (3, 3), seed=4)
    leaves |= {"x": leaves["x"] * span, "scale": torch.full_like(leaves["scale"], scale)}
    expected = derivatives(contraction(get("reference"), pz(1)), leaves)
    # Where all that varies is far less than a wave, gradients of scales are tiny, and lose a digit of what is left.
    for dtype, most in ((F32, 1e-4 if scale * span > 1e-3 else 1e-3), (F64, 1e-9)):
        cast = {name: leaf.to(dtype) for name, leaf in leaves.items()}
        actual = derivatives(contraction(get("spectral"), pz(1)), cast)
        errors = {k: ((v.double() - expected[k]).norm() / expected[k].norm()).item() for k, v in actual.items()}
        assert max(errors.values()) <= most, (dtype, errors)


@pytest.mark.parametrize("name", ["spectral", "bloch", "statevector"])
def test_gradients_can_be_batched(name):
    leaves = {key: leaf.requires_grad_() for key, leaf in layer_leaves(pz(2), (6,), (2, 3)).items()}
    y = contraction(get(name), pz(2))(**leaves)
    directions = torch.eye(y.numel(), dtype=F64).reshape(-1, *y.shape)
    batched = torch.autograd.grad(y, leaves["theta"], directions, is_grads_batched=True, retain_graph=True)[0]
    one_by_one = [torch.autograd.grad(y, leaves["theta"], each, retain_graph=True)[0] for each in directions]
    torch.testing.assert_close(batched, torch.stack(one_by_one), **EXPANDED)


def test_float64_is_left_alone_by_autocast():
    layer, x = layer_of(30, 4, 4, pz(2), F64)
    with torch.autocast("cpu", BF16):
        y = layer(x)
    torch.testing.assert_close(y, layer(x), rtol=0, atol=1e-12)


def test_what_has_no_say_may_be_nan():
    circuit = Circuit((Gate("RZ", 0, Slot("a")), Gate("RX", 0, Encode())))
    a = torch.full((1,), math.nan, requires_grad=True)
    value = get("bloch")(circuit, torch.zeros(1), {"a": a})
    (gradient,) = torch.autograd.grad(value, a)
    assert (value.item(), gradient.item()) == (1.0, 0.0)


def test_constants_have_the_gradient_zero_when_it_is_differentiable():
    layer = QKANLayer(2, 3, pz(0), base=None, engine="spectral", frozen=["theta", "weight"])
    x = torch.rand(5, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    assert not gradient.any()


def test_copies_of_a_model_make_their_own_choices():
    layer, x = layer_of(1024, 64, 64, pz(3))
    twin = copy.deepcopy(layer)
    layer(x)
    assert layer.activation.running_engine.name == "spectral"
    assert twin.activation.running_engine.name == "bloch"


def test_select_answers_for_half_precision():
    layer, x = layer_of(2000, 50, 50, pz(3))
    slots = {name: slot.bfloat16() for name, slot in layer.activation.slots().items()}
    assert select(pz(3), x.bfloat16(), slots, layer.weight.bfloat16()).engine.name == "spectral"


def test_precision_set_for_each_backend_is_kept(monkeypatch):
    """What torch does once `torch.backends.*.matmul.fp32_precision` is used: it refuses to answer for all at once."""
    cuda, cpu = SimpleNamespace(fp32_precision="tf32"), SimpleNamespace(fp32_precision="bf16")

    def refuse():
        raise RuntimeError("checking the matmul precision without a specific backend name")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuse)
    monkeypatch.setattr(precision, "_backends", lambda: [cuda, cpu])
    with precision.full_precision(torch.device("cpu")):
        assert (cuda.fp32_precision, cpu.fp32_precision) == ("ieee", "ieee")
    assert (cuda.fp32_precision, cpu.fp32_precision) == ("tf32", "bf16")
