"""Bases: features, coefficients and derivatives, and the degree that a band-limited function needs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits import ANSATZE, Circuit, Encode, Gate, Slot, expectation, pz
from circuits.bandwidth import bandwidth, chebyshev_degree, chebyshev_error
from circuits.bases import Chebyshev, Fourier, constants
from circuits.lower import facts, in_phase
from circuits.shapes import broadcast
from random_circuits import circuits, expandable, inputs, plain, seeds
from tolerances import EXACT

F32, F64 = torch.float32, torch.float64
BASES = [Fourier(0), Fourier(1), Fourier(7), Chebyshev(1), Chebyshev(2), Chebyshev(11), Fourier(40), Chebyshev(60)]
bases = pytest.mark.parametrize("basis", BASES, ids=str)


def columns(basis, v):
    """The features that are not constant, by their definition and with their signs."""
    if isinstance(basis, Fourier):
        waves = [wave(k * v) for wave in (np.cos, np.sin) for k in range(1, basis.degree + 1)]
        signs = [(-1) ** (k // 2) for k in [*range(1, basis.degree + 1)] * 2]
    else:
        waves = [np.cos(k * np.arccos(v)) for k in range(1, basis.degree + 1)]
        signs = [(-1) ** (k // 2) for k in range(1, basis.degree + 1)]
    if not waves:
        return np.empty((*v.shape[:-1], 0, v.shape[-1]))
    return np.stack([sign * wave for sign, wave in zip(signs, waves, strict=True)], axis=-2)


@bases
@pytest.mark.parametrize("dtype", [F32, F64])
def test_features_are_cosines_sines_and_chebyshev_polynomials(basis, dtype):
    v = torch.linspace(-1, 1, 60, dtype=F64).reshape(20, 3)
    expected = torch.as_tensor(columns(basis, v.numpy()))
    written = torch.full((20, basis.size - 1, 3), math.nan, dtype=dtype)
    basis.fill(written, basis.waves(v.to(dtype)))
    tolerance = 1e-11 if dtype == F64 else 3e-5
    torch.testing.assert_close(written.double(), expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(basis.features(v.to(dtype)).double(), expected, rtol=0, atol=tolerance)


@bases
def test_coefficients_follow_from_values_at_the_nodes(basis):
    """Analysis is the inverse of the features at the nodes."""
    nodes, analysis, _ = constants(basis, F64, torch.device("cpu"))
    at_nodes = whole(basis, nodes)
    torch.testing.assert_close(analysis @ at_nodes, torch.eye(basis.size, dtype=F64), rtol=0, atol=1e-11)


@bases
def test_the_derivative_of_features_is_a_sum_of_features(basis):
    v = torch.linspace(-0.95, 0.95, 31, dtype=F64).requires_grad_()
    coefficients = torch.linspace(-1, 1, basis.size, dtype=F64)
    (slope,) = torch.autograd.grad((whole(basis, v) @ coefficients).sum() + 0 * v.sum(), v)
    *_, derivative = constants(basis, F64, torch.device("cpu"))
    expected = derivative @ coefficients
    torch.testing.assert_close(slope, whole(basis, v.detach()) @ expected, rtol=1e-11, atol=1e-11)
    assert basis.constant_slopes == bool(derivative[0].any())


@bases
def test_features_have_derivatives_to_any_order(basis):
    v = torch.linspace(-0.9, 0.9, 4, dtype=F64)[:, None].requires_grad_()
    weight = torch.linspace(0.5, 1, basis.size - 1, dtype=F64) / (1 + basis.degree) ** 2

    def series(v):
        return basis.features(v)[..., 0] @ weight + 0 * v.sum()

    assert torch.autograd.gradcheck(series, v)
    assert torch.autograd.gradgradcheck(series, v, atol=1e-4, rtol=1e-4)


def whole(basis, v):
    """The constant and the features at `v (n,)`, `(n, size)`."""
    return torch.cat([torch.ones_like(v)[:, None], basis.features(v[:, None])[..., 0]], dim=-1)


# How fast a circuit varies.


@pytest.mark.parametrize("name", ANSATZE)
def test_bandwidth_of_an_ansatz_is_the_sum_of_its_scales(name):
    circuit = ANSATZE[name](3)
    _, params = inputs(circuit, params_grid=(4, 2))
    if name != "px":
        torch.testing.assert_close(bandwidth(circuit, params), params["scale"].abs().sum(-1))
        assert bandwidth(ANSATZE[name](3, scale=[1, -2, 0.5], shift=0), {}) == 3.5


def test_scales_that_turn_one_axis_add_up_before_their_moduli():
    gates = (Gate("RX", 0, Encode(Slot("a"))), Gate("RX", 0, Encode(Slot("a", 1))), Gate("RY", 0, Encode(-2.0)))
    params = {"a": torch.tensor([3.0, -1.0])}
    assert bandwidth(Circuit(gates), params) == 4.0  # |3 - 1| + |-2|
    twice = Circuit((Gate("RX", 0, Encode(Slot("a"))), Gate("RY", 0, Encode(Slot("a")))))
    assert bandwidth(twice, {"a": torch.tensor([3.0])}) == 6.0


@pytest.mark.parametrize("width", [0.0, 0.1, 1.0, 3.0, 9.7, 30.0, 200.0])
def test_the_degree_is_the_smallest_that_meets_the_tolerance(width):
    for tolerance in (1e-3, 1e-6, 1e-12):
        degree = chebyshev_degree(width, tolerance)
        assert chebyshev_error(width, degree) <= tolerance * (1 + 1e-9)
        assert degree == 1 or chebyshev_error(width, degree - 1) > tolerance


@pytest.mark.parametrize("width", [1.0, 3.0, 10.0, 40.0])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-12])
def test_the_bound_is_close_to_what_a_wave_needs(width, tolerance):
    """The coefficients of cos(width t) are Bessel functions: no bound can ask for less than they need."""
    t = torch.linspace(-1, 1, 4001, dtype=F64)

    def error(degree):
        basis = Chebyshev(degree)
        nodes, analysis, _ = constants(basis, F64, torch.device("cpu"))
        fit = whole(basis, t) @ (analysis @ torch.cos(width * nodes + 0.3))
        return (fit - torch.cos(width * t + 0.3)).abs().max()

    degree = chebyshev_degree(width, tolerance)
    assert error(degree) <= tolerance + 1e-14
    assert error(degree - 5) > tolerance


@settings(max_examples=150)
@given(circuits(max_wires=2, max_gates=10, angles=expandable(plain)).filter(lambda c: c.encodings), seeds)
def test_the_bound_holds_for_random_circuits_scales_and_degrees(circuit, seed):
    """The polynomial of degree D in the Chebyshev nodes is no further from the circuit than `chebyshev_error` says."""
    half, middle = 0.3 + seed % 7 / 4, -1.0 + seed % 5 / 2
    _, params = inputs(circuit, seed=seed)
    width = float(bandwidth(circuit, params)) * half
    x = (middle + half * torch.linspace(-1, 1, 97, dtype=F64))[:, None]
    expected = expectation(Circuit(circuit.gates, circuit.strings), x.expand(-1, circuit.features), params, "reference")
    for degree in (1, 4, 9, chebyshev_degree(width, 1e-6), chebyshev_degree(width, 1e-12)):
        basis = Chebyshev(degree)
        nodes, analysis, _ = constants(basis, F64, torch.device("cpu"))
        at = (middle + half * nodes)[:, None].expand(-1, circuit.features)
        values = expectation(Circuit(circuit.gates, circuit.strings), at, params, "reference")
        fit = whole(basis, ((x - middle) / half)[:, 0]) @ (analysis @ values)
        assert (fit - expected).abs().max() <= chebyshev_error(width, degree) + 1e-12


# One phase.


@pytest.mark.parametrize("name", ANSATZE)
def test_a_circuit_of_its_phase_is_the_circuit(name):
    circuit = ANSATZE[name](3, scale=1, shift=0.25) if name != "px" else ANSATZE[name](3, scale=0.7, shift=0.25)
    x, params = inputs(circuit, x_grid=(6,))
    plain_circuit, phase = in_phase(circuit)
    assert all(encoding.through == "identity" for encoding in plain_circuit.encodings)
    argument = torch.arccos(0.7 * x + 0.25) if phase.through == "arccos" else x
    expected = expectation(circuit, x, params, "reference")
    torch.testing.assert_close(expectation(plain_circuit, argument, params, "reference"), expected, **EXACT)


def test_phases_meet_in_sums():
    bent = Encode(0.5, 0.1, through="arccos")
    circuit = Circuit((Gate("RX", 0, bent), Gate("RX", 0, Slot("a")), Gate("RX", 0, bent)))
    plain_circuit, phase = in_phase(circuit)
    assert phase == bent
    assert facts(circuit).degree == facts(plain_circuit).degree == 2


def test_the_expansion_of_an_ansatz_has_no_frequency_above_its_degree():
    circuit = pz(3, scale=[1, 3, 9], shift=0)
    _, params = inputs(circuit)
    assert facts(circuit).degree == 13
    nodes, analysis, _ = constants(Fourier(20), F64, torch.device("cpu"))
    coefficients = analysis @ expectation(circuit, nodes[:, None], params, "reference")
    assert coefficients[14:21].abs().max() < 1e-12
    assert coefficients[34:].abs().max() < 1e-12
    assert coefficients[13].abs() > 1e-6


shapes = st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1, max_size=4)


@given(shapes)
def test_shapes_broadcast_as_torch_has_it(shapes):
    try:
        expected = torch.broadcast_shapes(*shapes)
    except RuntimeError:
        with pytest.raises(ValueError, match="do not broadcast"):
            broadcast(*shapes)
    else:
        assert broadcast(*shapes) == expected
