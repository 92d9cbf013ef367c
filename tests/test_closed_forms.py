"""The ansätze are the functions that pencil and paper say they are."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from numpy.polynomial import chebyshev

from circuits import ANSATZE, Circuit, Encode, Gate, Slot, Sum, expectation, mix, px, pz, real, rpz
from circuits.engines import get
from random_circuits import circuits, inputs, seeds
from tolerances import EXACT

F64 = torch.float64
judged = pytest.mark.parametrize("engine", ["reference", "auto"])
TRANSLATING = [name for name in ANSATZE if name != "px"]


def angles(circuit, seed=0, grid=(7,)):
    """x, the encoded angles `(block, *grid)` and the thetas `(theta, *grid)` beside the parameters."""
    x, params = inputs(circuit, grid, grid, seed)
    encoded = params["scale"] * x + params["shift"] if "scale" in params else x
    return x, params, encoded.movedim(-1, 0), params.get("theta", x[..., :0]).movedim(-1, 0)


def assert_is(circuit, x, params, formula, engine):
    torch.testing.assert_close(expectation(circuit, x, params, engine), formula.expand(x.shape[:-1]), **EXACT)


# One block by hand: the Bloch vector starts at (1, 0, 0) after H, and each rotation turns one plane.


@judged
def test_pz_of_one_block(engine):
    x, params, (e,), (a, b, c, d) = angles(pz(1))
    # (cos a, sin a, 0), then (cos b cos a, sin a, -sin b cos a), then RZ by e + c, then z of RY by d.
    turned = (e + c).cos() * b.cos() * a.cos() - (e + c).sin() * a.sin()
    assert_is(pz(1), x, params, -d.sin() * turned - d.cos() * b.sin() * a.cos(), engine)


@judged
def test_rpz_of_one_block(engine):
    x, params, (e,), (b, d) = angles(rpz(1))
    assert_is(rpz(1), x, params, -d.sin() * e.cos() * b.cos() - d.cos() * b.sin(), engine)


@judged
def test_mix_of_one_block(engine):
    x, params, (e,), (a, b, c, d) = angles(mix(1))
    # (cos a, cos b sin a, sin b sin a) before RY by e, then y of RZ by c, then z of RX by d.
    first, second = a.cos() * e.cos() + b.sin() * a.sin() * e.sin(), b.cos() * a.sin()
    third = b.sin() * a.sin() * e.cos() - a.cos() * e.sin()
    assert_is(mix(1), x, params, d.sin() * (c.sin() * first + c.cos() * second) + d.cos() * third, engine)


@judged
def test_px_of_one_block(engine):
    x, params, (e,), (t,) = angles(px(1))
    assert_is(px(1), x, params, (1 - e**2).sqrt() * t.sin(), engine)


@judged
@pytest.mark.parametrize("reps", range(5))
def test_real_is_the_cosine_of_one_angle(engine, reps):
    """In the plane y = 0 the vector has one angle: X takes it to pi minus it, Z to minus it, RY(t) adds t."""
    x, params, encoded, thetas = angles(real(reps))
    angle = torch.full((7,), math.pi / 2, dtype=F64)
    for t, e in zip(thetas, encoded, strict=False):
        angle = -(math.pi - angle + t) + e
    assert_is(real(reps), x, params, angle.cos(), engine)


CONSTANTS = {
    "pz": lambda a, b: -b.sin() * a.cos(),
    "rpz": lambda b: -b.sin(),
    "px": lambda: torch.zeros((), dtype=F64),
    "real": lambda: torch.zeros((), dtype=F64),
    "mix": lambda a, b: b.sin() * a.sin(),
}


@judged
@pytest.mark.parametrize("name", ANSATZE)
def test_no_block_is_a_constant(engine, name):
    x, params, _, thetas = angles(ANSATZE[name](0))
    assert_is(ANSATZE[name](0), x, params, CONSTANTS[name](*thetas), engine)


# Spectra.


def spectrum(circuit, nodes, seed):
    _, params = inputs(circuit, seed=seed)
    x = 2 * math.pi * torch.arange(nodes, dtype=F64)[:, None] / nodes
    return torch.fft.rfft(expectation(circuit, x, params), norm="forward").abs()


@pytest.mark.parametrize("reps", range(1, 6))
@pytest.mark.parametrize("name", TRANSLATING)
def test_spectrum_stops_at_reps_and_reaches_it(name, reps):
    lines = torch.stack([spectrum(ANSATZE[name](reps, scale=1), 2 * reps + 7, seed) for seed in range(5)])
    assert lines[:, reps + 1 :].abs().max() <= EXACT["atol"]
    assert lines[:, reps].max() > 1e-3


@pytest.mark.parametrize("reps", range(1, 5))
def test_geometric_scales_reach_every_frequency_of_a_ternary_number(reps):
    degree = (3**reps - 1) // 2
    circuit = pz(reps, scale=[3**block for block in range(reps)])
    lines = torch.stack([spectrum(circuit, 2 * degree + 7, seed) for seed in range(20)])
    assert lines[:, degree + 1 :].max() <= EXACT["atol"]
    assert (lines[:, : degree + 1].amax(0) > 1e-4).all()


@pytest.mark.parametrize("reps", range(1, 6))
def test_px_is_a_square_root_times_a_polynomial_of_degree_below_reps(reps):
    nodes = reps + 6
    x = np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)
    circuit = px(reps, scale=1, shift=0)
    leading = []
    for seed in range(5):
        _, params = inputs(circuit, seed=seed)
        values = expectation(circuit, torch.as_tensor(x)[:, None], params).numpy() / np.sqrt(1 - x**2)
        series = np.linalg.solve(chebyshev.chebvander(x, nodes - 1), values)
        assert np.abs(series[reps:]).max() <= EXACT["atol"]
        leading.append(abs(series[reps - 1]))
    assert max(leading) > 1e-3


@judged
@pytest.mark.parametrize("reps", range(1, 6))
def test_px_is_the_chebyshev_polynomial_of_the_second_kind(engine, reps):
    x = torch.linspace(-1, 1, 9, dtype=F64)[:, None]
    theta = torch.zeros(reps, dtype=F64)
    theta[0] = math.pi / 2
    circuit = px(reps, scale=1, shift=0)
    assert_is(circuit, x, {"theta": theta}, (reps * x[:, 0].arccos()).sin(), engine)


# Symmetries.


@given(circuits(max_gates=30), seeds)
def test_expectations_are_bounded_by_one(circuit, seed):
    value = expectation(circuit, *inputs(circuit, x_grid=(5,), params_grid=(5,), seed=seed))
    assert value.abs().max() <= 1 + EXACT["atol"]


@pytest.mark.parametrize("name", ANSATZE)
def test_a_full_turn_of_any_angle_is_nothing(name):
    circuit = ANSATZE[name](3)
    x, params = inputs(circuit, x_grid=(5,))
    for slot in {"theta", "shift"} - ({"shift"} if name == "px" else set()):
        for turn in 2 * math.pi * torch.eye(circuit.slots[slot], dtype=F64):
            turned = expectation(circuit, x, params | {slot: params[slot] + turn})
            torch.testing.assert_close(turned, expectation(circuit, x, params), **EXACT)


@pytest.mark.parametrize("name", TRANSLATING)
def test_moving_x_is_moving_every_shift_by_its_scale(name):
    circuit = ANSATZE[name](3)
    x, params = inputs(circuit, x_grid=(5,))
    moved = params | {"shift": params["shift"] + 0.3 * params["scale"]}
    torch.testing.assert_close(expectation(circuit, x + 0.3, params), expectation(circuit, x, moved), **EXACT)


def test_shift_of_pz_is_redundant_with_the_next_theta():
    x, params = inputs(pz(3), x_grid=(5,))
    delta = torch.tensor([0.3, -1.1, 2.0], dtype=F64)
    theta = params["theta"].clone()
    theta[2::2] += delta
    through_shift = expectation(pz(3), x, params | {"shift": params["shift"] + delta})
    torch.testing.assert_close(through_shift, expectation(pz(3), x, params | {"theta": theta}), **EXACT)


@pytest.mark.parametrize("block", range(3))
def test_half_a_turn_of_a_shift_mirrors_every_later_theta_of_rpz(block):
    """Z commutes with RZ, turns RY(t) into RY(-t), and is not seen by the readout."""
    x, params = inputs(rpz(3), x_grid=(5,))
    shift, theta = params["shift"].clone(), params["theta"].clone()
    shift[block] += math.pi
    theta[block + 1 :] *= -1
    half_turn = expectation(rpz(3), x, params | {"shift": shift})
    torch.testing.assert_close(half_turn, expectation(rpz(3), x, params | {"theta": theta}), **EXACT)


@pytest.mark.parametrize("name", ["pz", "rpz", "mix"])
def test_half_a_turn_of_the_last_theta_is_a_sign(name):
    circuit = ANSATZE[name](3)
    x, params = inputs(circuit, x_grid=(5,))
    theta = params["theta"].clone()
    theta[-1] += math.pi
    flipped = expectation(circuit, x, params | {"theta": theta})
    torch.testing.assert_close(flipped, -expectation(circuit, x, params), **EXACT)


def test_rpz_is_pz_without_the_redundant_angles():
    x, params = inputs(rpz(3), x_grid=(5,))
    theta = torch.zeros(8, dtype=F64)
    theta[1::2] = params["theta"]
    torch.testing.assert_close(
        expectation(pz(3), x, params | {"theta": theta}), expectation(rpz(3), x, params), **EXACT
    )


@pytest.mark.parametrize(("gate", "readout"), [("RX", "X"), ("RY", "Y"), ("RZ", "Z")])
def test_a_rotation_keeps_its_axis_and_turns_the_others_right_handed(gate, readout):
    """After R_a(t) on the +b axis, c = a x b: <b> = cos t and <c> = sin t."""
    after = {"X": "Y", "Y": "Z", "Z": "X"}
    b, c = after[readout], after[after[readout]]
    start = {"X": (Gate("H", 0),), "Y": (Gate("H", 0), Gate("S", 0)), "Z": ()}[b]
    t = torch.linspace(-4, 4, 9, dtype=F64)
    circuit = Circuit((*start, Gate(gate, 0, Encode())), (readout, b, c))
    expected = torch.stack([torch.zeros_like(t), t.cos(), t.sin()], dim=-1)
    torch.testing.assert_close(get("auto")(circuit, t[:, None], {}), expected, **EXACT)


@judged
def test_angles_are_what_they_are_written_as(engine):
    """The cosine of each kind of angle, one a wire."""
    a, b, x0, x1 = 0.4, -1.3, 0.7, -0.2
    kinds = {
        0.5: 0.5,
        Slot("theta", 1): b,
        Encode(feature=1): x1,
        Encode(2.0, 0.3): 2 * x0 + 0.3,
        Encode(Slot("theta"), Slot("theta", 1), 1): a * x1 + b,
        Encode(0.5, 0.1, through="arccos"): math.acos(0.5 * x0 + 0.1),
        Sum((0.2, Slot("theta"), Encode(-1.0, feature=1))): 0.2 + a - x1,
    }
    wires = len(kinds)
    circuit = Circuit(
        tuple(Gate("RX", wire, angle) for wire, angle in enumerate(kinds)),
        tuple("I" * wire + "Z" + "I" * (wires - 1 - wire) for wire in range(wires)),
    )
    value = expectation(circuit, torch.tensor([x0, x1], dtype=F64), {"theta": torch.tensor([a, b], dtype=F64)}, engine)
    expected = torch.tensor([math.cos(angle) for angle in kinds.values()], dtype=F64)
    torch.testing.assert_close(value, expected, **EXACT)
