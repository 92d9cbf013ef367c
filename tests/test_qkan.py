"""A QKAN is its formula, on every engine and with any circuit, and refuses what it cannot be."""

import copy
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from circuits import Circuit, Encode, Gate, Slot, UnsupportedCircuit, engines, expectation, px, pz, real, rpz
from circuits.engines import ENGINES, get
from judge import assert_same, derivatives
from models import (
    CIRCUITS,
    COSINE,
    ENTANGLED,
    F64,
    IN,
    OUT,
    copied,
    data,
    each_circuit,
    identical,
    layers,
    scrambled,
    shares,
)
from qkan import DARUAN, QKAN, QKANLayer, fit, parameter_count, set_engine
from qkan.layer import BASES, Base
from tolerances import EXACT, FOREIGN

BASE_FORMULAS: dict[str, tuple[Base, Callable[[Tensor], Tensor]]] = {
    "silu": ("silu", lambda x: x / (1 + torch.exp(-x))),
    "gelu": ("gelu", lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2),
    "relu": ("relu", lambda x: (x + x.abs()) / 2),
    "tanh": ("tanh", lambda x: 1 - 2 / (1 + torch.exp(2 * x))),
    "sigmoid": ("sigmoid", lambda x: 1 / (1 + torch.exp(-x))),
    "identity": ("identity", lambda x: x),
    "a function": (torch.sin, lambda x: (torch.exp(1j * x)).imag),
    "a module": (nn.PReLU(init=0.1, dtype=F64), lambda x: torch.where(x > 0, x, 0.1 * x)),
    "none": (None, torch.zeros_like),
}


pytestmark = pytest.mark.usefixtures("seeded")


def by_hand(activation: DARUAN, x: Tensor) -> Tensor:
    """The activations `(batch, out, in)` of `x (batch, in)`, one edge after the other on the reference engine."""
    share, slots = activation.share, {name: activation.get_parameter(name) for name in activation.circuit.slots}

    def edge(o: int, i: int) -> Tensor:
        at = (o, i) if share is None else {"out": (0, i), "in": (o, 0)}.get(str(share)) or (0, i % int(share))
        return expectation(activation.circuit, x[:, i, None], {n: slot[at] for n, slot in slots.items()}, "reference")

    rows = [
        torch.stack([edge(o, i) for i in range(activation.in_features)], -1) for o in range(activation.out_features)
    ]
    return torch.stack(rows, -2)


# What is computed.


@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,), (2, 0, 3)], ids=str)
@shares
def test_layers_map_any_batch(batch, share):
    activation, layer = DARUAN(IN, OUT, share=share), QKANLayer(IN, OUT, share=share)
    assert activation(torch.zeros(*batch, IN)).shape == (*batch, OUT, IN)
    assert layer(torch.zeros(*batch, IN)).shape == (*batch, OUT)


@each_circuit
@shares
def test_an_activation_is_the_expectation_edge_by_edge(circuit, share):
    activation = scrambled(DARUAN(IN, OUT, circuit, share, dtype=F64))
    x = data(4)
    torch.testing.assert_close(activation(x), by_hand(activation, x), **EXACT)


@pytest.mark.parametrize("bias", [True, False])
@shares
def test_a_layer_is_its_formula(share, bias):
    layer = scrambled(QKANLayer(IN, OUT, pz(2), bias=bias, share=share, dtype=F64))
    assert (layer.bias is None) == (not bias)
    x = data(4)
    f, base = by_hand(layer.activation, x), (x / (1 + torch.exp(-x)))[:, None, :]
    expected = (layer.weight * f + layer.get_parameter("base_weight") * base).sum(-1)
    if layer.bias is not None:
        expected = expected + layer.bias
    torch.testing.assert_close(layer(x), expected, **EXACT)


@pytest.mark.parametrize(("base", "formula"), BASE_FORMULAS.values(), ids=BASE_FORMULAS)
def test_a_base_function_is_what_it_says(base, formula):
    quantum = QKANLayer(IN, OUT, pz(1), base=None, bias=False, dtype=F64)
    layer = QKANLayer(IN, OUT, pz(1), base=base, dtype=F64)
    layer.load_state_dict(quantum.state_dict(), strict=False)
    x = 3 * data(6)
    weight = torch.zeros(OUT, IN, dtype=F64) if layer.base_weight is None else layer.base_weight
    torch.testing.assert_close(layer(x) - quantum(x), formula(x) @ weight.T + layer.bias, **EXACT)


def test_every_named_base_has_a_formula_here():
    assert BASES.keys() < BASE_FORMULAS.keys()


@pytest.mark.parametrize(
    ("share", "grid"), [(None, (3, 5)), ("out", (1, 5)), ("in", (3, 1)), (1, (1, 1)), (2, (1, 2)), (5, (1, 5))], ids=str
)
def test_shared_slots_are_smaller(share, grid):
    layer = QKANLayer(5, 3, pz(2), share=share)
    assert {name: tuple(parameter.shape) for name, parameter in layer.named_parameters()} == {
        "weight": (3, 5),
        "base_weight": (3, 5),
        "bias": (3,),
        "activation.theta": (*grid, 6),
        "activation.scale": (*grid, 2),
        "activation.shift": (*grid, 2),
    }


@pytest.mark.parametrize(("share", "repeats"), [("out", (3, 1)), ("in", (1, 5))])
def test_sharing_is_repeating(share, repeats):
    shared, full = QKANLayer(5, 3, share=share, dtype=F64), QKANLayer(5, 3, dtype=F64)
    state = shared.state_dict()
    full.load_state_dict({n: v.repeat(*repeats, 1) if v.ndim == 3 else v for n, v in state.items()})
    torch.testing.assert_close(shared(data(4)), full(data(4)), **EXACT)


def test_a_network_is_its_layers_one_after_the_other():
    model = QKAN([4, 3, 2, 1], pz(1), base="tanh", bias=False, share=1, dtype=F64)
    first, second, third = model
    assert [(layer.in_features, layer.out_features) for layer in layers(model)] == [(4, 3), (3, 2), (2, 1)]
    x = data(5, features=4)
    torch.testing.assert_close(model(x), third(second(first(x))), **EXACT)
    assert all(layer.activation.circuit == pz(1) and layer.bias is None for layer in layers(model))


def test_a_network_passes_every_argument_on_to_its_layers():
    arguments = pz(1), "tanh", False, 2, ["scale", "weight"], "reference", 0.5, 0.25, "cpu", F64
    (layer,), states = QKAN([4, 3], *arguments), []
    for make in (lambda: QKANLayer(4, 3, *arguments), lambda: QKAN([4, 3], *arguments)[0]):
        torch.manual_seed(7)
        states.append(copied(make()))
    assert identical(*states)
    assert repr(layer) == repr(QKANLayer(4, 3, *arguments))
    assert parameter_count(layer) == {"base_weight": 12, "theta": 8, "shift": 2}


def test_rows_of_a_batch_do_not_meet():
    layer = QKANLayer(IN, OUT, dtype=F64)
    x = data(6)
    torch.testing.assert_close(layer(x), torch.stack([layer(row) for row in x]), **EXACT)


def test_a_circuit_without_slots_is_a_closed_formula():
    layer = QKANLayer(IN, OUT, COSINE, base=None, dtype=F64)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    torch.testing.assert_close(
        layer(data(4)), torch.cos(data(4)) @ layer.weight.T + layer.get_parameter("bias"), **EXACT
    )


def test_a_layer_of_rpz_is_a_closed_formula():
    layer = scrambled(QKANLayer(1, 1, rpz(1), base=None, bias=False, dtype=F64))
    x, slots = data(9, features=1), layer.activation.slots()
    (a, b), s, t = slots["theta"][0, 0], slots["scale"][0, 0], slots["shift"][0, 0]
    value = -torch.sin(a) * torch.cos(b) - torch.cos(a) * torch.sin(b) * torch.cos(s * x + t)
    torch.testing.assert_close(layer(x), layer.weight * value, **EXACT)


# Engines.


class Echo:
    """Not an engine by birth: f(x) = x times the first angle of the first slot."""

    def __call__(self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        return x[..., 0] * next(iter(params.values()))[..., 0]

    def contract(
        self, circuit: Circuit, x: Tensor, params: Mapping[str, Tensor], weight: Tensor, judged: bool = True
    ) -> Tensor:
        return torch.einsum("...i,oi->...o", x, weight * next(iter(params.values()))[..., 0])

    def __repr__(self) -> str:
        return "Echo()"


@shares
def test_layers_need_only_the_contract(share):
    layer = QKANLayer(IN, OUT, base=None, bias=False, share=share, engine=Echo(), dtype=F64)  # pyright: ignore[reportArgumentType]
    x, theta = data(4), layer.activation.slots()["theta"][..., 0]
    torch.testing.assert_close(layer.activation(x), x[:, None, :] * theta.expand(OUT, IN), **EXACT)
    torch.testing.assert_close(layer(x), x @ (layer.weight * theta).T, **EXACT)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    assert repr(layer).endswith("engine=Echo())\n)")
    assert repr(set_engine(copy.deepcopy(layer), "auto")).endswith("engine=auto -> Bloch())\n)")


@pytest.mark.parametrize("share", [None, 2], ids=str)
@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "sampler"])  # which has no exact values
def test_one_network_is_the_same_on_every_engine(engine, share):
    model = scrambled(QKAN([2, 3, 1], circuit=pz(2), share=share, engine="reference", dtype=F64))
    leaves = {"x": data(3, features=2), **copied(model)}

    def report() -> dict[str, Tensor]:
        return derivatives(lambda x, **state: functional_call(model, state, (x,)), leaves)

    expected, before = report(), copied(model)
    assert set_engine(model, engine) is model
    first, second = (layer.activation.engine for layer in layers(model))
    assert type(first) is type(second)
    assert first is second or engine == "auto"  # each layer has an "auto" of its own, which remembers its choice
    assert first.name == engine
    assert_same(report(), expected, FOREIGN)
    assert identical(copied(model), before)


def test_the_contraction_of_a_layer_equals_its_activations():
    for circuit in CIRCUITS.values():
        activation = scrambled(DARUAN(IN, OUT, circuit, dtype=F64))
        x, weight = data(4), torch.randn(OUT, IN, dtype=F64)
        torch.testing.assert_close(activation.contract(x, weight), (weight * activation(x)).sum(-1), **EXACT)


# Any circuit is an activation.


def test_slots_take_the_names_of_the_circuit():
    layer = QKANLayer(2, 3, circuit=ENTANGLED)
    shapes = {name: tuple(parameter.shape) for name, parameter in layer.activation.named_parameters()}
    assert shapes == {"turn": (3, 2, 2), "speed": (3, 2, 1), "phase": (3, 2, 1)}
    slots = layer.activation.slots()
    assert slots["speed"].eq(1).all()
    assert slots["phase"].eq(0).all()
    assert slots["turn"].unique().numel() == 12


BOTH = Circuit((Gate("RX", 0, Encode()), Gate("RY", 0, Encode(feature=1))))
SECOND = Circuit((Gate("RX", 0, Encode(feature=1)),))
TWO_VALUES = Circuit((Gate("RX", 0, Encode()),), ("Z", "Y"))


@pytest.mark.parametrize("make", [DARUAN, QKANLayer])
@pytest.mark.parametrize(
    ("circuit", "told"),
    [(BOTH, r"reads 2 feature\(s\)"), (SECOND, r"reads 2 feature\(s\)"), (TWO_VALUES, r"measures \('Z', 'Y'\)")],
    ids=["two features", "not feature 0", "two values"],
)
def test_activations_have_one_variable_and_one_value(make, circuit, told):
    with pytest.raises(UnsupportedCircuit, match=told):
        make(2, 3, circuit)


@pytest.mark.parametrize("make", [DARUAN, QKANLayer])
@pytest.mark.parametrize("name", ["forward", "training", "circuit", "engine", "slots", "share", "in_features", "float"])
def test_slots_do_not_shadow_what_modules_need(make, name):
    with pytest.raises(ValueError, match=rf"has a slot '{name}', a name that torch modules need: rename it\."):
        make(2, 3, Circuit((Gate("RX", 0, Slot(name)),)))


@pytest.mark.parametrize("name", ["weight", "base_weight", "bias"])
def test_slots_do_not_share_a_family_with_the_layer(name):
    circuit = Circuit((Gate("RX", 0, Slot(name)),))
    with pytest.raises(ValueError, match=rf"has slots named \['{name}'\] like the layer's own: rename them\."):
        QKANLayer(2, 3, circuit)
    assert DARUAN(2, 3, circuit)(torch.zeros(1, 2)).shape == (1, 3, 2)


# What it tells.

TELLS = {
    "auto": (lambda: DARUAN(4, 8), "DARUAN(4, 8, circuit=pz(3), share=None, engine=auto -> Bloch())"),
    "auto, two wires": (
        lambda: DARUAN(4, 8, ENTANGLED, "in", ["speed"]),
        "DARUAN(4, 8, circuit=Circuit of 6 gates, readout='ZX', share='in', frozen=('speed',), "
        "engine=auto -> Statevector())",
    ),
    "named": (
        lambda: DARUAN(4, 8, real(1, scale=2), 3, engine="reference"),
        "DARUAN(4, 8, circuit=real(1, scale=2), share=3, engine=Reference())",
    ),
    "layer": (
        lambda: QKANLayer(4, 8, base=None, bias=False, frozen=["scale", "weight"]),
        "QKANLayer(\n  base=None, bias=False\n"
        "  (activation): DARUAN(4, 8, circuit=pz(3), share=None, frozen=('scale',), engine=auto -> Bloch())\n)",
    ),
}


@pytest.mark.parametrize(("make", "text"), TELLS.values(), ids=TELLS)
def test_repr_tells_circuit_sharing_and_the_engine_that_runs(make, text):
    assert repr(make()) == text


@pytest.mark.parametrize("name", ENGINES)
def test_repr_tells_every_engine(name):
    layer = QKANLayer(2, 2, engine=name)
    assert repr(get("bloch" if name == "auto" else name)) in repr(layer)
    assert ("auto -> " in repr(layer)) == (name == "auto")


X = torch.zeros(2, 3)
Layer: Any = QKANLayer
Activation: Any = DARUAN
Network: Any = QKAN

REFUSED: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "width": (lambda: Layer(4, 2)(X), ValueError, r"`x` must have shape (*batch, 4), but has shape (2, 3)."),
    "no dimension": (
        lambda: Activation(1, 2)(X[0, 0]),
        ValueError,
        "`x` must have shape (*batch, 1), but has shape ().",
    ),
    "no tensor": (lambda: Layer(3, 2)([0.0]), TypeError, "`x` must be a torch.Tensor, but is a list."),
    "dtype": (
        lambda: Layer(3, 2)(X.double()),
        TypeError,
        "`x` is torch.float64, but the layer is torch.float32: convert one of them.",
    ),
    "integers": (lambda: Layer(3, 2)(X.long()), TypeError, "`x` must be real floating-point, but is torch.int64"),
    "complex": (lambda: Layer(3, 2)(X + 0j), TypeError, "`x` must be real floating-point, but is torch.complex64"),
    "nan": (lambda: Layer(3, 2)(X * math.nan), ValueError, "`x` must be finite, but is nan"),
    "domain": (lambda: Layer(3, 2, px(1))(X + 2), ValueError, "|scale[0]*x+shift[0]| <= 1, the domain of arccos"),
    "circuit": (lambda: Layer(3, 2, "pz"), TypeError, "`circuit` must be a Circuit, such as pz(reps=3), but is 'pz'."),
    "no circuit": (lambda: Activation(3, 2, None), TypeError, "`circuit` must be a Circuit"),
    "share": (lambda: Activation(3, 2, share="edge"), ValueError, "`share` must be None, 'out', 'in' or a number"),
    "groups": (lambda: Layer(3, 2, share=4), ValueError, "from 1 to in_features=3, but is 4."),
    "no groups": (lambda: Layer(3, 2, share=0), ValueError, "from 1 to in_features=3, but is 0."),
    "bool groups": (lambda: Layer(3, 2, share=True), ValueError, "from 1 to in_features=3, but is True."),
    "deep groups": (lambda: Network([4, 2, 1], share=3), ValueError, "from 1 to in_features=2, but is 3."),
    "base": (
        lambda: Layer(3, 2, base="swish"),
        ValueError,
        "`base` must be one of silu, gelu, relu, tanh, sigmoid, identity, a function or None, but is 'swish'.",
    ),
    "no base": (lambda: Layer(3, 2, base=3), TypeError, "`base` must be a name, a function of a tensor"),
    "base class": (lambda: Layer(3, 2, base=nn.SiLU), TypeError, "`base` must be a name, a function of a tensor"),
    "frozen": (
        lambda: Layer(3, 2, frozen=["angle"]),
        ValueError,
        "`frozen` must name families among theta, scale, shift, weight, base_weight, bias, but has ['angle'].",
    ),
    "frozen, absent": (lambda: Layer(3, 2, base=None, frozen=["base_weight"]), ValueError, "shift, weight, bias, but"),
    "frozen, not here": (lambda: Activation(3, 2, frozen=["weight"]), ValueError, "theta, scale, shift, but has"),
    "frozen text": (lambda: Layer(3, 2, frozen="theta"), TypeError, "such as ('theta',), but is 'theta'."),
    "frozen text, deep": (lambda: Network([3, 2], frozen="theta"), TypeError, "such as ('theta',), but is 'theta'."),
    "engine": (lambda: Layer(3, 2, engine="blch"), ValueError, "`engine` must be one of auto, reference, "),
    "set_engine": (lambda: set_engine(Layer(3, 2), "blch"), ValueError, "`engine` must be one of auto, reference, "),
    "widths": (
        lambda: Network([3]),
        ValueError,
        "`widths` must name at least an input and an output size, but is [3].",
    ),
    "zero": (lambda: Network([3, 0, 1]), ValueError, "`widths[1]` must be positive, but is 0."),
    "bool": (lambda: Network([3, True]), TypeError, "`widths[1]` must be an int, but is True."),
    "float": (lambda: Network([3.0, 1]), TypeError, "`widths[0]` must be an int, but is 3.0."),
    "in_features": (lambda: Activation(-1, 2), ValueError, "`in_features` must be positive, but is -1."),
    "out_features": (lambda: Layer(3, None), TypeError, "`out_features` must be an int, but is None."),
    "init_scale": (lambda: Layer(3, 2, init_scale=math.nan), ValueError, "`init_scale` must be a finite number, but"),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals_name_argument_and_value(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


# Training.


def test_one_activation_learns_a_sine():
    x = torch.linspace(-1, 1, 64, dtype=F64)[:, None]
    model, truth = QKAN([1, 1], init_scale=math.pi, dtype=F64), torch.sin(math.pi * x)
    result = fit(model, (x, truth), (x, truth), optimizer="lbfgs", epochs=5, seed=0, progress=False)
    assert result.epochs == 5
    between = (x[1:] + x[:-1]) / 2
    assert nn.functional.mse_loss(model(between), torch.sin(math.pi * between)) < 1e-4


@pytest.mark.parametrize("share", [None, "out", "in", 1], ids=str)
def test_every_family_of_parameters_trains(share):
    x = data(64, features=2)
    model, truth = QKAN([2, 2, 1], circuit=pz(1), share=share, dtype=F64), x.prod(-1, keepdim=True)
    before = copied(model)
    result = fit(model, (x, truth), (x, truth), optimizer="lbfgs", epochs=3, progress=False)
    assert result.validation_loss[-1] < result.train_loss[0] / 10
    moved = Counter(name.rpartition(".")[2] for name, value in copied(model).items() if not value.equal(before[name]))
    assert moved == dict.fromkeys(parameter_count(model), 2)


@pytest.mark.parametrize(
    ("circuit", "init_scale"),
    [
        (px(3, scale=2.0, shift=0.0), 1.0),
        (px(3, scale=1, shift=0.5), 1.0),
        (px(2), math.pi),
        (Circuit((Gate("RX", 0, Encode(through="arccos")), Gate("RY", 0, Encode(3.0)))), 1.0),
        (Circuit((Gate("RZ", 0, Encode(through="arccos")), Gate("RY", 0, Encode(3.0)))), 1.0),
    ],
    ids=["scale 2", "shift", "init_scale pi", "mixed", "arccos that is not felt"],
)
def test_any_domain_of_arccos_can_be_initialised(circuit, init_scale):
    layer = QKANLayer(2, 3, circuit=circuit, init_scale=init_scale, dtype=torch.float64)
    assert all(parameter.isfinite().all() for parameter in layer.parameters())


def test_an_empty_domain_of_arccos_is_refused_by_name():
    with pytest.raises(ValueError, match=r"`circuit` has arccos encodings that no x in \[-1, 1\] satisfies: arccos"):
        QKANLayer(1, 1, circuit=px(1, scale=1, shift=3))


@pytest.mark.parametrize("engine", [3, None, [1], engines.Engine], ids=repr)
def test_what_is_no_engine_is_refused(engine):
    with pytest.raises(TypeError, match=r"Argument `engine` must be a name \(auto, .*\) or an engine, but is"):
        QKANLayer(1, 1, engine=engine)


def test_an_error_has_the_index_of_the_input_it_was_given():
    x = torch.zeros(3, 2)
    x[2, 1] = math.nan
    for module in (QKANLayer(2, 1), DARUAN(2, 1)):
        with pytest.raises(ValueError, match=r"`x` must be finite, but is nan at index \(2, 1\)"):
            module(x)
