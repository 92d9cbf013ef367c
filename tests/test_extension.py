"""More repetitions leave the function as it is, and training goes on from there."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from circuits import (
    ANSATZE,
    Circuit,
    Encode,
    Gate,
    Slot,
    UnsupportedCircuit,
    entangled,
    expectation,
    extended,
    px,
    pz,
    real,
    rpz,
)
from circuits.ansatz import Fixed
from circuits.extension import RULES
from models import ENTANGLED, F32, F64, IN, OUT, copied, data, drawn, identical, layers, scrambled, shares
from qkan import DARUAN, QKAN, QKANLayer, extend, fit
from random_circuits import inputs
from tolerances import EXACT, SINGLE

ANY_SCALE = ("pz", "rpz", "px", "mix")
"""Their added blocks may have any scales and shifts."""


def two_wires(reps: int, scale: Fixed = None, shift: Fixed = None) -> Circuit:
    return entangled(reps, 2, scale, shift)


def three_wires(reps: int, scale: Fixed = None, shift: Fixed = None) -> Circuit:
    return entangled(reps, 3, scale, shift)


FAMILIES = {**ANSATZE, "two wires": two_wires, "three wires": three_wires}
each_family = pytest.mark.parametrize("name", FAMILIES)
numbers = st.floats(-0.45, 0.45)  # |scale * x + shift| < 1, inside every arccos


def test_every_ansatz_has_a_rule():
    assert RULES.keys() == ANSATZE.keys()


def activations(model: nn.Module) -> list[DARUAN]:
    return [module for module in model.modules() if isinstance(module, DARUAN)]


def slot(activation: DARUAN, name: str) -> nn.Parameter:
    return activation.get_parameter(name)


# The function stays.


@each_family
@pytest.mark.parametrize("trainable", [True, False])
def test_circuits_keep_their_function(name, trainable):
    @settings(max_examples=25)
    @given(st.integers(1, 3), st.integers(0, 3), st.integers(0, 2**32 - 1), numbers, numbers)
    def keeps(reps, more, seed, scale, shift):
        fixed = {} if trainable else {"scale": scale, "shift": shift}
        added = {"scale": scale, "shift": shift} if name in ANY_SCALE else {"scale": 0, "shift": 0}
        circuit = FAMILIES[name](reps, **fixed)
        longer = extended(circuit, reps + more, **added)
        x, params = inputs(circuit, (5, 1), (3,), seed)
        carried = {name: longer.carried(name, old) for name, old in params.items()}
        assert longer.circuit.slots == {name: tensor.shape[-1] for name, tensor in carried.items()}
        before = expectation(circuit, x, params, "reference")
        torch.testing.assert_close(expectation(longer.circuit, x, carried, "reference"), before, **EXACT)

    keeps()


@each_family
@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, EXACT), (F32, SINGLE)], ids=str)
@shares
def test_layers_keep_their_function(name, share, dtype, tolerance):
    layer = scrambled(QKANLayer(IN, OUT, FAMILIES[name](2), share=share, init_scale=0.4, dtype=dtype))
    x = data(7, dtype=dtype)
    before, grid = layer(x), slot(layer.activation, "theta").shape[:-1]
    assert extend(layer, 4) is layer
    torch.testing.assert_close(layer(x), before, **tolerance)
    assert layer.activation.circuit == FAMILIES[name](4)
    assert {name: parameter.shape for name, parameter in layer.activation.named_parameters()} == {
        name: (*grid, length) for name, length in FAMILIES[name](4).slots.items()
    }


def test_in_steps_or_at_once_is_the_same():
    steps, once = (scrambled(QKAN([2, 3, 1], ANSATZE["mix"](1), dtype=F64)) for _ in range(2))
    for reps in (2, 3, 5):
        extend(steps, reps)
    extend(once, 5)
    assert steps.state_dict().keys() == once.state_dict().keys()
    for name, tensor in steps.state_dict().items():
        torch.testing.assert_close(tensor, once.state_dict()[name], **EXACT)


@pytest.mark.parametrize("name", ANY_SCALE)
def test_a_fixed_number_carries_over(name):
    model = QKAN([2, 3, 1], ANSATZE[name](2, scale=0.5, shift=0), dtype=F64, base="tanh")
    extend(model, 3)
    assert [module.circuit for module in activations(model)] == [ANSATZE[name](3, scale=0.5, shift=0)] * 2


@pytest.mark.parametrize(("name", "expected"), [("pz", [1.0, 3.0, 9.0]), ("px", [9.0, 1.0, 3.0])])
def test_fixed_numbers_that_differ_are_continued_by_the_caller(name, expected):
    """Blocks are added at the end, or at the front."""
    circuit = ANSATZE[name](2, scale=[1, 3])
    with pytest.raises(ValueError, match=r"`scale` must be given, one number or 1 .* fixed at \[1.0, 3.0\]"):
        extended(circuit, 3)
    for scale in (9, [9]):
        assert extended(circuit, 3, scale=scale).circuit == ANSATZE[name](3, scale=expected)


def test_trainable_scales_start_where_the_caller_says():
    def added(**arguments):
        activation = extend(DARUAN(2, 2, rpz(1), init_scale=2.5), 3, **arguments)
        return [slot(activation, name)[1, 0, 1:].tolist() for name in ("scale", "shift")]

    assert added() == [[2.5, 2.5], [0, 0]]
    assert added(scale=4.0) == [[4, 4], [0, 0]]
    assert added(scale=[4.0, 16.0], shift=0.5) == [[4, 16], [0.5, 0.5]]


def test_real_is_one_sine_however_many_blocks():
    circuit = real(3)
    x, params = inputs(circuit, (9,))
    angle = params["scale"].sum() * x[..., 0] + (params["shift"] - params["theta"] - math.pi).sum()
    torch.testing.assert_close(expectation(circuit, x, params, "reference"), -torch.sin(angle), **EXACT)


# Training goes on.


@each_family
@pytest.mark.parametrize("more", [1, 2])
def test_added_parameters_have_gradients(name, more):
    layer = extend(scrambled(DARUAN(IN, OUT, FAMILIES[name](1), init_scale=0.4, dtype=F64)), 1 + more)
    starts = extended(FAMILIES[name](1), 1 + more).starts["theta"]
    layer(data(6)).square().sum().backward()
    gradient = slot(layer, "theta").grad
    assert gradient is not None
    slopes = gradient[..., [k for k, (source, _) in enumerate(starts) if source is None]]
    assert (slopes.abs() > 1e-6).any(dim=-1).all()


@pytest.mark.parametrize("name", [*ANY_SCALE, "two wires"])
def test_a_step_brings_the_new_frequency(name):
    """With unit scales the value has no frequency above reps (a wire) before, and has it after one step."""
    wires = 2 if name == "two wires" else 1
    scale = None if wires == 2 else 1.0
    layer = scrambled(DARUAN(1, 1, FAMILIES[name](2, scale=scale, shift=0), dtype=F64))
    if wires == 2:
        with torch.no_grad():
            slot(layer, "scale").fill_(1.0)
    phase = torch.arange(64, dtype=F64)[:, None] * 2 * math.pi / 64
    x = torch.cos(phase) if name == "px" else phase

    def highest() -> int:
        values = layer(x)[:, 0, 0]
        # px is sin(phase) times a polynomial of degree reps - 1 in cos(phase).
        spectrum = torch.fft.fft(values * torch.sign(torch.sin(phase[:, 0])) if name == "px" else values).abs()[:33]
        return int((spectrum > 1e-6).nonzero().max())

    assert highest() == 2 * wires
    extend(layer, 3)
    assert highest() == 2 * wires
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):  # in a block that starts from scale 0, the first step frees the scale
        optimizer.zero_grad()
        (layer(x)[:, 0, 0] - torch.sin(3 * phase[:, 0])).square().mean().backward()
        optimizer.step()
    assert highest() > 2 * wires


def test_a_fitted_model_improves_after_extension(seeded):
    x = torch.linspace(-1, 1, 200, dtype=F64)[:, None]
    y = torch.sin(6 * x) + 0.5 * torch.sin(9 * x)
    model = QKAN([1, 1], rpz(1), base=None, init_scale=3.0, dtype=F64)

    def fitted() -> float:
        return fit(model, (x, y), (x, y), optimizer="lbfgs", epochs=3).validation_loss[-1]

    short = fitted()
    before = model(x)
    torch.testing.assert_close(extend(model, 4)(x), before, **EXACT)
    assert fitted() < 0.1 * short


# What stays.


def test_frozen_families_flags_engines_and_dtypes_stay():
    model = QKAN([2, 3, 1], pz(1), frozen=["scale"], engine="reference", dtype=F64)
    first, second = activations(model)
    slot(second, "theta").requires_grad_(False)
    weights, engines = [layer.weight for layer in layers(model)], [first.engine, second.engine]
    extend(model.eval(), 3)
    assert first.frozen == ("scale",)
    wanted = {"theta": (True, False), "scale": (False, False), "shift": (True, True)}
    assert {name: (slot(first, name).requires_grad, slot(second, name).requires_grad) for name in wanted} == wanted
    assert {parameter.dtype for parameter in model.parameters()} == {F64}
    assert [first.engine, second.engine] == engines
    assert not model.training
    assert all(layer.weight is weight for layer, weight in zip(layers(model), weights, strict=True))


def test_as_many_repetitions_change_nothing():
    model = QKAN([2, 3, 1], pz(2))
    before = list(model.parameters())
    extend(model, 2)
    assert all(old is new for old, new in zip(before, model.parameters(), strict=True))


def test_modules_and_slots_that_are_shared_stay_shared():
    shared = QKANLayer(2, 2, rpz(1))
    other = DARUAN(2, 2, rpz(1))
    other.theta = slot(shared.activation, "theta")
    model = extend(nn.ModuleList([nn.Sequential(shared, shared), other]), 2)
    assert slot(shared.activation, "theta") is slot(other, "theta")
    assert shared.activation.circuit == other.circuit == rpz(2)
    assert len(list(model.parameters())) == 3 + 3 + 2


def test_an_extended_model_is_saved_loaded_copied_and_reset():
    model, other = extend(QKAN([2, 3, 1], pz(1)), 3), QKAN([2, 3, 1], pz(3))
    other.load_state_dict(model.state_dict())
    x = data(4, features=2, dtype=F32)
    assert torch.equal(other(x), model(x))
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    layers(model)[0].reset_parameters(drawn(0))
    assert not torch.equal(other(x), model(x))


def test_models_on_no_device_grow():
    model = extend(QKAN([2, 3, 1], pz(1), device="meta"), 3)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model(torch.empty(4, 2, device="meta")).shape == (4, 1)


# What is refused, before anything is changed.

OTHERS = {
    "other gates": ENTANGLED,
    "one gate more": Circuit((*pz(2).gates, Gate("RX", 0, 0.1))),
    "another readout": Circuit(pz(2).gates, "X"),
    "a label does not help": Circuit(rpz(2).gates[:-1], label="rpz(2)"),
    "partly fixed": pz(2, scale=[1.0, Slot("scale", 1)]),  # pyright: ignore[reportArgumentType]
    "no data": rpz(0),
    "another feature of the same gates": Circuit((Gate("H", 0), Gate("RY", 0, Slot("t")), Gate("RZ", 0, Encode()))),
}


@pytest.mark.parametrize("circuit", OTHERS.values(), ids=OTHERS)
def test_other_circuits_are_refused(circuit):
    model = nn.ModuleList([QKANLayer(2, 2, pz(1)), DARUAN(2, 2, circuit)])
    before = copied(model)
    with pytest.raises(UnsupportedCircuit, match="Only pz, rpz, px, real, mix and entangled"):
        extend(model, 5)
    assert identical(copied(model), before)


@pytest.mark.parametrize("circuit", [real(1, scale=1), real(1, shift=0.5), two_wires(1, scale=1)], ids=str)
def test_blocks_that_data_turn_are_refused_where_they_show(circuit):
    with pytest.raises(UnsupportedCircuit, match=r"leave scale and shift trainable.*or pass"):
        extend(DARUAN(2, 2, circuit), 2)
    with pytest.raises(UnsupportedCircuit, match="leave scale and shift trainable"):
        extended(real(1), 2, scale=1.0)


@pytest.mark.parametrize(
    ("present", "added", "told"),
    [
        ((1, 0), (2.0, None), "from -1 to 1 as the present blocks do, but are 2.0 and 0.0"),
        ((1, 0), (None, 0.5), "but are 1.0 and 0.5"),
        ((0.5, 0.5), (-0.5, -0.6), "but are -0.5 and -0.6"),
        ((-4, -1), (4, 0), "from -0.5 to 0 as the present blocks do, but are 4.0 and 0.0"),
        ((0, 0.5), (None, 2), "but are 0.0 and 2.0"),
    ],
)
def test_fixed_numbers_outside_the_domain_of_arccos_are_refused(present, added, told):
    with pytest.raises(ValueError, match=rf"must keep .* the domain of arccos, .*{told}: take smaller"):
        extended(px(2, *present), 4, *added)


def test_fixed_numbers_need_not_reach_further_than_the_present_ones():
    """Where x is never beyond a third, three times x is in the domain of arccos."""
    layer = QKANLayer(2, 3, px(2, scale=3, shift=0), dtype=F64)
    x = torch.linspace(-1, 1, 6, dtype=F64).reshape(3, 2) / 3
    expected = layer(x).detach()
    torch.testing.assert_close(extend(layer, 4, scale=-3.0)(x), expected, **EXACT)
    with pytest.raises(ValueError, match=r"from -0\.333333 to 0\.333333"):
        extend(layer, 5, scale=3.1)


def test_a_circuit_is_known_by_its_value():
    assert extended(Circuit(px(2).gates, label="mine"), 3).circuit == px(3)


def test_bad_input_is_refused():
    model = QKAN([2, 3, 1], pz(2))
    with pytest.raises(ValueError, match="`reps` must be at least the present 2, but is 1"):
        extend(model, 1)
    for reps, error in ((0, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="`reps`"):
            extend(model, reps)  # pyright: ignore[reportArgumentType]
    for scale in ([1.0], "12", [1.0, math.nan], math.inf, True, object()):
        with pytest.raises(ValueError, match="`scale` must be one number or 2"):
            extend(model, 4, scale=scale)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="`model` must hold a DARUAN"):
        extend(nn.Linear(2, 2), 3)
    with pytest.raises(TypeError, match="`model`"):
        extend([model], 3)  # pyright: ignore[reportArgumentType]
