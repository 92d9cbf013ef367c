"""Channels are what Aer and the textbook say, and the noisy engine is Aer's density matrix."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from circuits import Circuit, Encode, Gate, Slot, UnsupportedCircuit, pz, rpz
from circuits.engines import get
from circuits.engines.noisy import Noisy
from circuits.gates import GATES
from circuits.native import folded, native
from circuits.noise import (
    Noise,
    ReadoutError,
    amplitude_damping,
    depolarising,
    over_rotation,
    pauli_errors,
    phase_damping,
    thermal_relaxation,
    transfer_matrix,
)
from judge import assert_same, derivatives, report
from models import PAIR
from random_circuits import inputs
from tolerances import EXACT

F64 = torch.float64
probability = st.floats(0, 1)


def ptm(error):
    info = pytest.importorskip("qiskit.quantum_info")
    return torch.tensor(info.PTM(info.SuperOp(error)).data.real)


# Channels.


@given(probability, st.floats(0.05, 5), st.floats(0.05, 2), st.just(0.0) | st.floats(0.01, 3), st.floats(0, 0.5))
def test_channels_are_those_of_aer(p, t1, ratio, time, excited):
    aer = pytest.importorskip("qiskit_aer.noise")
    t2 = ratio * t1
    same = [
        (depolarising(p), aer.depolarizing_error(p, 1)),
        (amplitude_damping(p), aer.amplitude_damping_error(p)),
        (phase_damping(p), aer.phase_damping_error(p)),
        (
            thermal_relaxation(t1, ratio * t1, time, excited),
            aer.thermal_relaxation_error(t1, t2, time, excited),
        ),
        (pauli_errors(p / 2, p / 3, p / 6), aer.pauli_error([("X", p / 2), ("Y", p / 3), ("Z", p / 6), ("I", 1 - p)])),
    ]
    for ours, theirs in same:
        torch.testing.assert_close(ours, ptm(theirs.to_quantumchannel()), rtol=0, atol=1e-7 if p > 0.999 else 1e-9)


@pytest.mark.parametrize("name", [name for name, kind in GATES.items() if kind.matrix is not None])
def test_transfer_matrices_are_orthogonal_and_keep_the_trace(name):
    matrix = transfer_matrix(GATES[name].unitary)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix), dtype=F64), **EXACT)
    torch.testing.assert_close(matrix[0], torch.eye(len(matrix), dtype=F64)[0], **EXACT)


@pytest.mark.parametrize("axis", "XYZ")
def test_over_rotations_are_rotations(axis):
    start = (Gate("H", 0), Gate("T", 0), Gate("SX", 0))
    circuit, wrong = (Circuit((*start, Gate(f"R{axis}", 0, angle)), ("X", "Y", "Z")) for angle in (0.25, 0.4))
    noisy = get("noisy", noise=Noise({f"R{axis}": over_rotation(axis, 0.15)}, native=False))
    x = torch.zeros(1, dtype=F64)
    values = [noisy(Circuit(circuit.gates + turn, "Z"), x, {}) for turn in TURNS]
    torch.testing.assert_close(torch.stack(values), get("reference")(wrong, x, {}), **EXACT)


TURNS = ((Gate("H", 0),), (Gate("S", 0), Gate("Z", 0), Gate("H", 0)), ())
"""Gates after which Z is X, Y and Z."""


def test_strengths_have_a_grid():
    p = torch.tensor([[0.0, 0.1, 1.0]], dtype=F64)
    assert depolarising(p).shape == (1, 3, 4, 4)
    torch.testing.assert_close(depolarising(p)[0, 1], depolarising(0.1), **EXACT)
    assert thermal_relaxation(math.inf, math.inf, torch.zeros(2, dtype=F64)).eq(torch.eye(4)).all()


def wrong(value: object) -> Any:
    """What no type checker would let through."""
    return value


BAD = {
    "p": (lambda: depolarising(1.2), ValueError, "`p` must be between 0.0 and 1.0, but is 1.2"),
    "nan": (lambda: amplitude_damping(math.nan), TypeError, "`gamma`"),
    "nan tensor": (lambda: amplitude_damping(torch.tensor(math.nan)), ValueError, "`gamma`"),
    "word": (lambda: phase_damping(wrong("a")), TypeError, "`lam`"),
    "t1": (lambda: thermal_relaxation(0.0, 1.0, 1.0), ValueError, "`t1` must be positive"),
    "t2": (lambda: thermal_relaxation(1.0, 2.1, 1.0), ValueError, "`t2` must be at most 2 t1"),
    "sum": (lambda: pauli_errors(0.5, 0.5, 0.1), ValueError, "add up to 1.1"),
    "axis": (lambda: over_rotation("I", 0.1), ValueError, "`axis`"),
    "readout": (lambda: ReadoutError(-0.1, 0.0), ValueError, "`p01`"),
    "gate": (lambda: Noise({"RY": depolarising(0.1)}), ValueError, "pass native=False"),
    "unknown gate": (lambda: Noise({"U3": depolarising(0.1)}), ValueError, "'U3'"),
    "shape": (lambda: Noise({"SX": torch.eye(3)}), ValueError, r"\(\*grid, 4, 4\)"),
    "trace": (lambda: Noise({"SX": 0.9 * torch.eye(4)}), ValueError, "preserve the trace"),
    "no channel": (lambda: Noise({"SX": torch.diag(torch.tensor([1.0, 1.5, 1.5, 1.5]))}), ValueError, "is no channel"),
    "no readout left": (lambda: get("sampled", readout=ReadoutError(0.5, 0.5)), ValueError, "too little to correct"),
    "endless": (lambda: thermal_relaxation(1.0, 1.0, math.inf), TypeError, "`time`"),
    "shorter": (lambda: get("noisy", noise=Noise(), scale=0.5), ValueError, "`scale`"),
    "class": (lambda: get("spectral", nodes=wrong(Noisy)), ValueError, "`nodes`"),
    "no mapping": (lambda: Noise(wrong([1])), TypeError, "`gates`"),
    "no readout": (lambda: Noise({}, wrong(0.1)), TypeError, "`readout`"),
    "no noise": (lambda: get("noisy", noise=0.1), TypeError, "`noise` must be a Noise"),
    "folded": (lambda: get("noisy", noise=Noise(native=False), scale=3.0), ValueError, "`scale`"),
    "kinds": (lambda: get("noisy", noise=[Noise(), Noise(native=False)]), ValueError, "for all wires or for none"),
    "empty stack": (lambda: Noise.stack([]), ValueError, "at least one"),
}


@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD)
def test_bad_noise_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


# The engine.

NOISY = Noise(
    {
        "SX": thermal_relaxation(50.0, 40.0, 1.0, 0.1) @ depolarising(0.02) @ over_rotation("X", 0.03),
        "X": amplitude_damping(0.05),
        "RZ": phase_damping(0.01),
        "CNOT": depolarising(0.05),
        "CZ": pauli_errors(0.01, 0.02, 0.03),
    },
    ReadoutError(0.02, 0.07),
)
ENTANGLED = Circuit(
    (
        *PAIR,
        Gate("X", 2),
        Gate("SWAP", (1, 2)),
        Gate("RX", 2, Encode()),
    ),
    ("ZZI", "IXY", "ZIZ"),
)


def kraus_value(circuit, noise, x, params):
    """The value by density matrices, one row at a time, with Kraus operators from the Choi matrix of each channel."""
    from circuits.gates import PAULI  # the judge of the judge: nothing but matrices

    paulis = [torch.tensor(matrix) for matrix in PAULI.values()]
    wires = circuit.wires

    def on(matrix, where):
        """A matrix on the given wires of the register, the first of them most significant."""
        k = len(where)
        full = torch.kron(matrix, torch.eye(2 ** (wires - k), dtype=torch.complex128)).reshape([2] * (2 * wires))
        order = [*where, *(wire for wire in range(wires) if wire not in where)]
        places = [order.index(wire) for wire in range(wires)]
        return full.permute(*places, *(wires + place for place in places)).reshape(2**wires, 2**wires)

    rho = torch.zeros(2**wires, 2**wires, dtype=torch.complex128)
    rho[0, 0] = 1
    for gate in circuit.gates:
        kind = GATES[gate.name]
        if gate.angle is None:
            unitary = torch.tensor(kind.unitary)
        else:
            from circuits.angles import bind

            half = torch.as_tensor(bind(gate.angle, x, params), dtype=F64) / 2
            unitary = torch.cos(half) * paulis[0] - 1j * torch.sin(half) * torch.tensor(PAULI[kind.axis or ""])
        u = on(unitary, gate.wires)
        rho = u @ rho @ u.mH
        if (channel := noise.gates.get(gate.name)) is not None:
            for wire in gate.wires:
                # Lambda(rho) = 1/2 sum_ij R_ij P_i tr(P_j rho), on one wire of many.
                total = torch.zeros_like(rho)
                for i in range(4):
                    for j in range(4):
                        if channel[i, j] != 0:
                            # sum over a basis of the wire's operators: tr_wire(P_j rho) put back with P_i / 2
                            part = sum(
                                on(torch.outer(e, f).to(torch.complex128), [wire])
                                @ on(paulis[j], [wire])
                                @ rho
                                @ on(torch.outer(f, e).to(torch.complex128), [wire])
                                for e in torch.eye(2, dtype=F64)
                                for f in torch.eye(2, dtype=F64)
                            )
                            total = total + channel[i, j] / 2 * on(paulis[i], [wire]) @ part
                rho = total
    operator = torch.eye(2**wires, dtype=torch.complex128)
    for wire, letter in enumerate(circuit.strings[0]):
        if letter == "Z":
            error = noise.readout or ReadoutError()
            operator = operator @ on(error.offset * paulis[0] + error.slope * paulis[3], [wire])
    return (operator @ rho).trace().real


@pytest.mark.parametrize("circuit", [pz(2), rpz(1), ENTANGLED], ids=["pz", "rpz", "entangled"])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_noisy_values_are_those_of_density_matrices(circuit, scale):
    from circuits.native import measured

    x, params = inputs(circuit)
    values = get("noisy", noise=NOISY, scale=scale)(Circuit(circuit.gates, circuit.strings), x, params)
    lowered = native(circuit)
    for k, string in enumerate(lowered.strings):
        plain = folded(measured(lowered, string), scale)
        torch.testing.assert_close(values[k], kraus_value(plain, NOISY, x, params), **EXACT)


def test_each_wire_may_have_noise_of_its_own():
    one, two = Noise({"SX": depolarising(0.1)}), Noise({"CNOT": amplitude_damping(0.2)}, ReadoutError(0.0, 0.1))
    circuit = Circuit((Gate("RY", 0, Slot("a")), Gate("RX", 1, Encode())), ("ZI", "IZ"))
    x, params = inputs(circuit)
    alone = [
        get("noisy", noise=noise)(Circuit((Gate(gate.name, 0, gate.angle),)), x, seen)
        for noise, gate, seen in ((one, circuit.gates[0], params), (two, circuit.gates[1], {}))
    ]
    both = get("noisy", noise=[one, two])
    torch.testing.assert_close(both(circuit, x, params), torch.stack(alone), **EXACT)
    with pytest.raises(UnsupportedCircuit, match="noise is given for 2"):
        both(pz(1), *inputs(pz(1)))


def test_depolarising_shrinks_by_the_number_of_pulses():
    """With p after every pulse, the value is (1 - p) to the number of pulses times the perfect one."""
    x, params = inputs(pz(3), (5,), ())
    perfect = get("bloch")(pz(3), x, params)
    readout = ReadoutError(0.03, 0.08)
    values = get("noisy", noise=Noise({"SX": depolarising(0.01), "X": depolarising(0.01)}, readout))(pz(3), x, params)
    expected = (1 - 0.03 - 0.08) * 0.99**9 * perfect + (0.08 - 0.03)
    torch.testing.assert_close(values, expected, **EXACT)


def test_gradients_are_those_of_finite_steps_and_reach_the_strengths():
    x, params = inputs(pz(2), (3,), (3,))
    p = torch.tensor([0.01, 0.1, 0.3], dtype=F64)

    def value(p, x, **params):
        noise = Noise({"SX": depolarising(p)}, ReadoutError(p / 2, p / 4))
        return get("noisy", noise=noise)(pz(2), x, params)

    leaves = [tensor.requires_grad_() for tensor in (p, x, *params.values())]
    assert torch.autograd.gradcheck(lambda p, x, *slots: value(p, x, **dict(zip(params, slots, strict=True))), leaves)


def test_channels_with_a_grid_are_one_a_grid_point():
    noise = [Noise({"SX": depolarising(p)}, ReadoutError(p, 0.0)) for p in (0.0, 0.05, 0.2)]
    x, params = inputs(pz(1), (2, 1), (3,))
    together = get("noisy", noise=Noise.stack(noise))(pz(1), x, params)
    for k, each in enumerate(noise):
        slots = {name: tensor[k] for name, tensor in params.items()}
        torch.testing.assert_close(together[:, k], get("noisy", noise=each)(pz(1), x[:, 0], slots), **EXACT)


def test_written_gates_may_err_as_they_are_written():
    """Two rotations about one axis are two sources of noise, though they would merge without it."""
    circuit = Circuit((Gate("RY", 0, 0.3), Gate("RY", 0, 0.4)))
    x = torch.zeros(1, dtype=F64)
    value = get("noisy", noise=Noise({"RY": depolarising(0.1)}, native=False))(circuit, x, {})
    torch.testing.assert_close(value, torch.tensor(0.81 * math.cos(0.7), dtype=F64), **EXACT)
    with pytest.raises(UnsupportedCircuit, match="read Z"):
        get("noisy", noise=Noise(native=False))(Circuit(circuit.gates, "X"), x, {})
    with pytest.raises(ValueError, match="`nodes`"):
        get("spectral", nodes=get("noisy", noise=Noise(native=False)))


def test_controlled_rotations_are_refused():
    circuit = Circuit((Gate("H", 0), Gate("CRX", (0, 1), 0.3)), "ZZ")
    with pytest.raises(UnsupportedCircuit, match="CRX"):
        get("noisy", noise=Noise())(circuit, torch.zeros(1), {})


@pytest.mark.parametrize("circuit", [pz(3, scale=1, shift=0), pz(2)], ids=["unit", "trainable"])
def test_layers_under_noise_are_matrix_products_too(circuit):
    """Noise adds no frequencies: expanding the noisy activation is as exact as expanding the perfect one."""
    noise = Noise.stack([NOISY, Noise({"SX": depolarising(0.1)})])
    x, params = inputs(circuit, (40, 2), (3, 2))
    leaves = {"x": x[..., 0], "weight": torch.linspace(-1, 1, 6, dtype=F64).reshape(3, 2), **params}

    def layer(engine):
        return derivatives(lambda x, weight, **params: engine.contract(circuit, x, params, weight), leaves)

    noisy = get("noisy", noise=noise)
    assert_same(layer(get("spectral", nodes=noisy)), layer(noisy), {"rtol": 0.0, "atol": 1e-9})


def test_float32_is_rounded_float64():
    x, params = inputs(pz(3), (7,), (7,))
    noisy = get("noisy", noise=NOISY)
    single = noisy(pz(3), x.float(), {name: tensor.float() for name, tensor in params.items()})
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), noisy(pz(3), x, params), rtol=0, atol=1e-5)


def test_evaluations_in_inference_mode_do_not_spoil_training():
    x, params = inputs(rpz(3), (3,), (3,))
    engine = get("noisy", noise=Noise({"X": amplitude_damping(0.1), "CZ": depolarising(0.1)}))
    circuit = Circuit((*rpz(3).gates, Gate("S", 0), Gate("T", 0), Gate("X", 0)), "Y")
    with torch.inference_mode():
        engine(circuit, x, params)
    report(engine, circuit, x, params)


def test_autocast_leaves_noise_alone():
    x, params = inputs(pz(2), (5,), (5,), dtype=torch.float32)
    engine = get("noisy", noise=NOISY)
    expected = engine(pz(2), x, params)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(engine(pz(2), x, params), expected, rtol=0, atol=1e-6)


def test_strengths_can_be_mapped_over():
    p = torch.tensor([0.1, 0.2, 0.3], dtype=F64)
    torch.testing.assert_close(torch.vmap(depolarising)(p), depolarising(p), **EXACT)


def test_perfect_noise_is_no_noise():
    x, params = inputs(ENTANGLED, (3,), (3,))
    assert_same(
        report(get("noisy", noise=Noise()), ENTANGLED, x, params),
        report(get("reference"), ENTANGLED, x, params),
        EXACT,
    )
