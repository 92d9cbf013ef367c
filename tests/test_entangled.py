"""Re-uploading on several wires is an activation like any other: on every engine, in layers, and on devices."""

import math

import pytest
import torch

from circuits import Circuit, entangled
from circuits.engines import ENGINES, get
from circuits.gradient import Simulator
from circuits.lower import facts
from judge import assert_same, derivatives, report
from qkan import QKANLayer
from random_circuits import inputs
from tolerances import EXPANDED, FOREIGN, bernstein

F64 = torch.float64
CIRCUITS = {f"{wires} wires, {reps} reps": entangled(reps, wires) for wires in (2, 3) for reps in (1, 2)}
each_circuit = pytest.mark.parametrize("circuit", CIRCUITS.values(), ids=CIRCUITS)


@each_circuit
@pytest.mark.parametrize("name", sorted(ENGINES.keys() - {"reference", "bloch", "sampler"}))
def test_engines_agree(name, circuit):
    x, params = inputs(circuit, (4, 1), (2,))
    tolerance = EXPANDED if name == "spectral" else FOREIGN
    assert_same(report(get(name), circuit, x, params), report(get("reference"), circuit, x, params), tolerance)


def test_one_wire_engines_say_what_to_use():
    with pytest.raises(ValueError, match="use 'statevector'"):
        get("bloch")(entangled(1), *inputs(entangled(1)))


@pytest.mark.parametrize("backend", [None, "FakeManilaV2"])
def test_devices_run_it(backend):
    if backend is not None:
        backend = getattr(pytest.importorskip("qiskit_ibm_runtime.fake_provider"), backend)()
    circuit = entangled(1, 3)
    x, params = inputs(circuit, (20,), (20,))
    exact = get("statevector")(circuit, x, params)
    engine = get("sampler", backend=backend, shots=600, seed=0, gradient=Simulator(get("statevector")))
    found = report(engine, circuit, x, params)
    # Aer is perfect here; the correction of a readout without errors adds the noise of the calibration.
    assert ((found["value"] - exact).abs() <= 1.3 * bernstein(exact, 600)).all()


@pytest.mark.parametrize("wires", [2, 3])
@pytest.mark.parametrize("reps", [1, 2, 3])
def test_the_spectrum_ends_at_wires_times_reps(reps, wires):
    """Every wire encodes once in a block, and the highest frequency is there for some angles."""
    circuit = entangled(reps, wires, scale=1, shift=0)
    assert facts(circuit).degree == wires * reps
    count = 4 * wires * reps + 3
    x = torch.arange(count, dtype=F64)[:, None] * 2 * math.pi / count
    found = torch.zeros(count // 2 + 1, dtype=F64)
    for seed in range(5):
        _, params = inputs(circuit, seed=seed)
        found = torch.maximum(found, torch.fft.rfft(get("reference")(circuit, x, params)).abs() / count)
    assert (found[wires * reps + 1 :] <= 1e-12).all()
    assert found[wires * reps] > 1e-6


def test_layers_take_it_by_default_engine_and_train(seeded):
    layer = QKANLayer(3, 4, circuit=entangled(1), dtype=F64)
    x = torch.rand(50, 3, dtype=F64)

    def contracted(engine):
        layer.activation.engine = get(engine)
        return derivatives(lambda x: layer(x), {"x": x})

    assert_same(contracted("auto"), contracted("reference"), EXPANDED)
    assert layer.activation.theta.shape == (4, 3, 8)


@pytest.mark.parametrize("wires", [1, 0, -1, 2.0, True, "2"])
def test_wires_are_two_or_more(wires):
    with pytest.raises(ValueError, match="`wires`"):
        entangled(1, wires)


def test_labels_tell_ansatz_and_wires():
    assert entangled(2, 3).label == "entangled(2, 3)"
    assert entangled(2, scale=1).label == "entangled(2, 2, scale=1)"
    assert isinstance(entangled(0), Circuit)
