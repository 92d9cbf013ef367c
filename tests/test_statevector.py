"""The state vector walks back what it walked forth: same gradients, memory that does not grow, no repeated work."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from circuits import Circuit, Encode, Gate, Slot
from circuits.engines import get
from circuits.gates import GATES
from judge import assert_same, derivatives, report
from random_circuits import circuits, inputs, seeds
from tolerances import EXACT, SHIFTED, SINGLE

F32, F64 = torch.float32, torch.float64

reference, statevector = get("reference"), get("statevector")


def ladder(wires, depth, readout=None, prefix=0):
    """Layers of trainable rotations on all wires in a ring, and data in all but the first `prefix` of them."""
    gates = []
    for layer in range(prefix + depth):
        for wire in range(wires):
            index = 2 * (layer * wires + wire)
            gates += [Gate("RY", wire, Encode(feature=wire))] * (layer >= prefix)
            gates += [Gate("RY", wire, Slot("theta", index)), Gate("RZ", wire, Slot("theta", index + 1))]
        gates += [Gate("CNOT", (wire, (wire + 1) % wires)) for wire in range(wires)]
    return Circuit(tuple(gates), readout or "Z" * wires)


def plain():
    """Where torch looks inside, the same sweeps are differentiated by torch."""
    return forward_ad.dual_level()


def squared(engine, circuit, x, **params):
    return engine(circuit, x, params).square()


# The gradient.

GRIDS = {
    "one sample": ((), ()),
    "batch": ((5,), ()),
    "per-sample slots": ((5,), (5,)),
    "slots only": ((), (4,)),
    "both": ((3, 1), (2,)),
    "data between": ((2, 3, 1), (2, 1, 4)),
    "one empty": ((3, 1), (0,)),
}
"""Grids of x and of the slots."""

CIRCUITS = {
    "ring": ladder(3, 2),
    "after a shared start": ladder(3, 1, prefix=2),
    "several readouts": ladder(4, 2, ("ZIII", "IXYZ", "YYYI", "IIIZ", "ZZIX")),
    "without data at the end": Circuit(
        (*ladder(2, 1).gates, Gate("CRX", (1, 0), Slot("phi")), Gate("T", 1), Gate("SX", 0)), ("XI", "YZ")
    ),
    "data in far control": Circuit(
        (
            *(Gate("H", wire) for wire in range(8)),
            Gate("CRZ", (0, 7), Encode(Slot("scale"), 0.3)),
            Gate("CRY", (7, 0), Encode(Slot("scale", 1), Slot("theta"), 1)),
            Gate("SWAP", (1, 6)),
            Gate("CZ", (6, 7)),
            Gate("RX", 6, Slot("theta", 1)),
        ),
        ("Z" + 6 * "I" + "Y", 6 * "I" + "XX"),
    ),
}


@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
@pytest.mark.parametrize("grids", GRIDS)
@pytest.mark.parametrize("name", CIRCUITS)
def test_walking_back_is_differentiating_the_sweeps(name, grids, dtype):
    circuit = CIRCUITS[name]
    x, params = inputs(circuit, *GRIDS[grids], dtype=dtype)
    adjoint = report(statevector, circuit, x, params)
    with plain():
        expected = report(statevector, circuit, x, params)
    assert_same(adjoint, expected, EXACT if dtype == F64 else SINGLE)


@settings(max_examples=100)
@given(circuits(), st.sampled_from(list(GRIDS.values())), seeds, st.data())
def test_inputs_that_want_no_gradient_do_not_change_the_others(circuit, grids, seed, data):
    x, params = inputs(circuit, *grids, seed=seed)
    leaves = {"x": x, **params}
    wanted = data.draw(st.sets(st.sampled_from(list(leaves)), min_size=1))
    full = derivatives(partial(squared, statevector, circuit), leaves)
    others = {name: tensor for name, tensor in leaves.items() if name not in wanted}
    some = derivatives(
        partial(squared, statevector, circuit, **others), {name: leaves[name] for name in leaves if name in wanted}
    )
    assert_same(some, {name: full[name] for name in some}, EXACT)


@pytest.mark.parametrize("name", CIRCUITS)
def test_second_derivatives_are_those_of_the_reference(name):
    circuit = CIRCUITS[name]
    x, params = inputs(circuit, (2,))

    def slopes(engine):
        def squares(**leaves):
            value = squared(engine, circuit, **leaves)
            gradients = torch.autograd.grad(value.sum(), list(leaves.values()), create_graph=True)
            return torch.stack([gradient.square().sum() for gradient in gradients])

        return derivatives(squares, {"x": x, **params})

    assert_same(slopes(statevector), slopes(reference), SHIFTED)


def test_a_graph_can_be_walked_back_twice():
    circuit = ladder(3, 2)
    x, params = inputs(circuit, (2,))
    x.requires_grad_()
    value = statevector(circuit, x, params).sum()
    once, twice = (torch.autograd.grad(value, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(once, twice)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # of torch itself, in forward mode
def test_torch_func_looks_inside():
    circuit = ladder(3, 2, ("ZII", "IXY"))
    x, params = inputs(circuit, (4,))

    def f(theta, x):
        return statevector(circuit, x, {"theta": theta})

    theta = params["theta"]
    expected = torch.stack([torch.func.jacrev(lambda t, x: reference(circuit, x, {"theta": t}))(theta, s) for s in x])
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(torch.func.vmap(jacobian(f), in_dims=(None, 0))(theta, x), expected, **EXACT)


# Memory and work.


class Measured(TorchDispatchMode):
    """Counts what operations write and how much memory they hold, at most."""

    def __init__(self):
        super().__init__()
        self.written = self.peak = 0
        self._held = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        is_view = any(returned.alias_info for returned in function._schema.returns) and not function._schema.is_mutable
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and not is_view:
                storage = tensor.untyped_storage()
                self.written += tensor.nbytes
                self._held[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._held = {key: (ref, size) for key, (ref, size) in self._held.items() if not ref.expired()}
        self.peak = max(self.peak, sum(size for _, size in self._held.values()))
        return result


def measured(circuit, batch, gradient=True, mode: Callable[[], Any] = nullcontext):
    x, params = inputs(circuit, (batch,), dtype=F32)
    leaves = [tensor.requires_grad_(gradient) for tensor in (x, *params.values())]
    statevector(circuit, x, params)  # constants are made once
    with mode(), Measured() as measure:
        value = statevector(circuit, x, params)
        if gradient:
            torch.autograd.grad(value.sum(), leaves)
    return measure


@pytest.fixture
def fresh(monkeypatch):
    """Nothing that earlier calls left behind is used again."""
    monkeypatch.setattr("circuits.engines.sweeps.KEPT", 0)


def state_bytes(wires, batch):
    return 2**wires * batch * torch.complex64.itemsize


def test_memory_does_not_grow_with_depth(fresh):
    wires, batch = 10, 8
    shallow, deep = (measured(ladder(wires, depth), batch).peak for depth in (4, 64))
    assert shallow < 10 * state_bytes(wires, batch)
    assert deep < 1.5 * shallow
    with_plain_twin = measured(ladder(wires, 4), batch, mode=plain).peak
    assert with_plain_twin > 2 * shallow


def test_the_forward_keeps_one_state_and_the_angles():
    wires, batch, depth = 8, 16, 20
    circuit = ladder(wires, depth)
    x, params = inputs(circuit, (batch,), dtype=F32)
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        statevector(circuit, x.requires_grad_(), params)
    angles = wires * depth * batch * F32.itemsize
    assert sum(kept.values()) < state_bytes(wires, batch) + 2 * angles


def test_without_gradient_two_states_and_little_else_are_held(fresh):
    wires, batch = 10, 8
    for depth in (4, 64):
        peak = measured(ladder(wires, depth), batch, gradient=False).peak
        assert peak < 3 * state_bytes(wires, batch)


def beside(depth):
    """Trainable layers on two wires that meet a third one, with data, at the end only."""
    shared = [gate for gate in ladder(2, depth).gates if not gate.encodes]
    return Circuit((Gate("RY", 2, Encode()), *shared, Gate("CNOT", (2, 0)), Gate("RY", 0, Encode())), "ZZZ")


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("deep", [lambda depth: ladder(4, 1, prefix=depth), beside], ids=["before data", "beside data"])
def test_what_does_not_come_after_data_is_done_once_and_not_per_sample(deep, gradient):
    def extra(batch):
        """What eight more layers add to all that is written."""
        short, long = (measured(deep(depth), batch, gradient).written for depth in (2, 10))
        return long - short

    assert extra(50) == extra(1) > 0


def test_gradients_that_nobody_wants_cost_nothing():
    circuit = Circuit((*ladder(4, 1).gates, *(Gate("RX", wire, Slot("last", wire)) for wire in range(4))), "ZZZZ")
    x, params = inputs(circuit, (50,), dtype=F32)

    def written(*names):
        leaves = {name: tensor.detach().requires_grad_(name in names) for name, tensor in params.items()}
        with Measured() as measure:
            torch.autograd.grad(statevector(circuit, x, leaves).sum(), [leaves[name] for name in names])
        return measure.written

    written("last", "theta")  # constants are made once
    assert written("last") < 0.8 * written("theta")


# Contexts.


def test_constants_made_in_inference_mode_can_be_trained_with():
    circuit = Circuit(ladder(3, 2).gates, ("XYZ", "ZII"), label="inference")
    circuit = Circuit((*circuit.gates, Gate("RX", 0, 0.123)), circuit.readout)
    x, params = inputs(circuit, (2,))
    with torch.inference_mode():
        statevector(circuit, x, params)
    assert_same(report(statevector, circuit, x, params), report(reference, circuit, x, params), EXACT)


def test_constants_made_under_autocast_are_not_rounded():
    circuit = Circuit((*ladder(3, 2).gates, Gate("RX", 0, 0.456)), "ZXY")
    x, params = inputs(circuit, (2,), dtype=F32)
    expected = report(reference, circuit, x.double(), {"theta": params["theta"].double()})
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(report(statevector, circuit, x, params), expected, SINGLE)
    assert_same(report(statevector, circuit, x, params), expected, SINGLE)


@pytest.mark.parametrize("angle", [1e-6, -6e-8, 1e-12])
@pytest.mark.parametrize("name", [name for name, kind in GATES.items() if kind.axis])
def test_small_rotations_are_rotations(name, angle):
    """A number that is nearly 0 is no Clifford gate, whose turn of the readout would be exact."""
    gates = (Gate("H", 0), Gate("RX", 1, 0.5), Gate(name, range(GATES[name].wires), angle))
    circuit = Circuit(gates, ("IX", "XY", "YZ", "ZX"))
    x = torch.zeros(1, dtype=F64)
    # Within rounding: an angle of 1e-12 that is lost would be an error of 1e-12.
    torch.testing.assert_close(statevector(circuit, x, {}), reference(circuit, x, {}), rtol=0, atol=2e-15)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of torch itself, at graph breaks
def test_compiled_functions_have_the_same_values():
    circuit = ladder(3, 2)
    x, params = inputs(circuit, (2,))
    compiled = torch.compile(partial(squared, statevector, circuit), backend="eager")
    actual = derivatives(compiled, {"x": x, **params})
    assert_same(actual, derivatives(partial(squared, reference, circuit), {"x": x, **params}), EXACT)
