"""The Bloch vector: fixed gates cost nothing, the hand-written derivative is torch's, batches are done in parts."""

from functools import partial
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from circuits import ANSATZE, Circuit, Encode, Gate, Slot, mix, pz, real
from circuits.derivatives import in_parts
from circuits.engines import bloch, get
from circuits.lower import simplify
from judge import assert_same, derivatives, report
from qkan import QKANLayer
from random_circuits import circuits, inputs, seeds
from tolerances import EXACT, SINGLE

F32, F64 = torch.float32, torch.float64


def plainly(function, *args):
    """`function` with torch's own derivatives."""
    with patch.object(bloch, "by_hand", lambda *tensors: False):
        return function(*args)


@settings(max_examples=150)
@given(circuits(max_wires=1), seeds)
def test_the_derivative_by_hand_is_that_of_the_plain_twin(circuit, seed):
    for dtype, tolerance in ((F64, EXACT), (F32, SINGLE)):
        x, params = inputs(circuit, (3, 1), (2,), seed, dtype)
        by_hand = report(get("bloch"), circuit, x, params)
        assert_same(by_hand, plainly(report, get("bloch"), circuit, x, params), tolerance)


def test_only_what_is_wanted_is_differentiated():
    circuit = mix(2)
    x, params = inputs(circuit, x_grid=(4,), params_grid=(3, 1))
    expected = report(get("reference"), circuit, x, params)
    leaves = {"x": x, **params}
    for name in leaves:
        given_leaves = {key: leaf.clone().requires_grad_(key == name) for key, leaf in leaves.items()}
        y = get("bloch")(circuit, given_leaves["x"], {key: given_leaves[key] for key in params})
        weight = torch.linspace(0.5, 1.5, y.numel(), dtype=F64).reshape(y.shape)
        (gradient,) = torch.autograd.grad((weight * y).sum(), given_leaves[name])
        torch.testing.assert_close(gradient, expected[f"d/d{name}"], **EXACT)


@pytest.mark.parametrize("name", ["pz", "rpz", "real", "mix"])
def test_gradcheck(name):
    circuit = ANSATZE[name](2)
    x, params = inputs(circuit, x_grid=(2, 1), params_grid=(2,))
    names, tensors = list(params), [x.requires_grad_(), *(tensor.requires_grad_() for tensor in params.values())]

    def function(x, *tensors):
        return get("bloch")(circuit, x, dict(zip(names, tensors, strict=True)))

    assert torch.autograd.gradcheck(function, tensors)
    assert torch.autograd.gradgradcheck(function, tensors)


# Programs.


@pytest.mark.parametrize("name", ["H", "X", "Y", "Z", "S", "SX"])
def test_fixed_gates_only_relabel_axes(name):
    circuit = Circuit(
        (Gate("RY", 0, Slot("a")), Gate(name, 0), Gate("RX", 0, Encode()), Gate(name, 0)), ("X", "Y", "Z")
    )
    assert len(bloch.program(circuit).turns) + len(bloch.program(circuit).backward) == 2


@pytest.mark.parametrize("reps", [1, 2, 5])
def test_only_what_lies_between_data_gates_meets_the_batch(reps):
    """H RZ RY before the first RZ of data, and RY after the last, are turned on the grid of the parameters."""
    plan = bloch.program(pz(reps))
    encoding = [any(isinstance(t, Encode) for t in getattr(turn.angle, "terms", (turn.angle,))) for turn in plan.turns]
    assert encoding[-1]
    assert encoding.index(True) == 2
    assert len(plan.backward) == 1
    made = set()

    class Shapes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func.overloadpacket in (torch.ops.aten.cos,):
                made.add(tuple(result.shape))
            return result

    x, params = inputs(pz(reps), x_grid=(50, 1), params_grid=(3,))
    with Shapes():
        get("bloch")(pz(reps), x, params)
    assert {shape for shape in made if 50 in shape} == {(50, 3)}
    assert all(shape[-1] == 3 for shape in made)


def test_gates_with_numbers_keep_gradients_that_rounding_would_cut():
    """T twice is S but for rounding: what is 0 by rounding is not 0 by structure."""
    gates = (Gate("RX", 0, Slot("a")), Gate("T", 0), Gate("T", 0), Gate("H", 0), Gate("RY", 0, Encode()))
    circuit = Circuit(gates, "X")
    x, params = inputs(circuit, x_grid=(2,))
    assert_same(report(get("bloch"), circuit, x, params), report(get("reference"), circuit, x, params), EXACT)


def test_a_program_is_made_once():
    assert bloch.program(pz(3)) is bloch.program(pz(3))
    assert len(simplify(real(3)).gates) > len(bloch.program(real(3)).turns)


# Parts.


@pytest.mark.parametrize("size", [1, 4, 5, 7, 100])
@pytest.mark.parametrize("wanted", ["both", "rows", "shared"])
def test_parts_make_the_whole(size, wanted):
    rows, shared = torch.linspace(-1, 1, 14, dtype=F64).reshape(7, 2), torch.linspace(0.5, 2, 2, dtype=F64)

    def function(rows: Tensor, shared: Tensor) -> Tensor:
        return (rows * shared).sin() * shared.square()

    leaves = {"rows": rows, "shared": shared}
    chosen = leaves if wanted == "both" else {wanted: leaves[wanted]}
    whole = derivatives(lambda **given: function(**(leaves | given)), chosen)
    parts = derivatives(lambda **given: in_parts(function, size, *(leaves | given).values()), chosen)
    assert_same(parts, whole, EXACT)


def test_parts_are_differentiable_twice():
    rows = torch.linspace(-1, 1, 6, dtype=F64)[:, None].requires_grad_()
    shared = torch.tensor([0.7], dtype=F64, requires_grad=True)
    function = partial(in_parts, lambda rows, shared: torch.sin(rows * shared), 2)
    assert torch.autograd.gradgradcheck(function, (rows, shared))


def test_parts_keep_nothing_but_their_inputs():
    kept: list[int] = []

    def remember(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    x, params = inputs(pz(4), x_grid=(600, 3), params_grid=(5, 3), dtype=F32)
    params = {name: tensor.requires_grad_() for name, tensor in params.items()}
    weight = torch.ones(5, 3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        get("bloch", budget=0.1).contract(pz(4), x[..., 0], params, weight)
    in_parts_bytes = sum(kept)
    kept.clear()
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        get("bloch", budget=1e3).contract(pz(4), x[..., 0], params, weight)
    assert in_parts_bytes <= 600 * 3 + 5 * 3 * (10 + 4 + 4 + 1) < sum(kept) / 20


def test_a_layer_in_parts_is_the_layer():
    x, params = inputs(pz(3), x_grid=(37, 3), params_grid=(5, 3))
    leaves = {"x": x[..., 0], "weight": torch.linspace(-1, 1, 15, dtype=F64).reshape(5, 3), **params}

    def layer(engine):
        return lambda x, weight, **params: engine.contract(pz(3), x, params, weight)

    whole = derivatives(layer(get("bloch")), leaves)
    assert_same(derivatives(layer(get("bloch", budget=1e-3)), leaves), whole, EXACT)


# Compiled.


@pytest.fixture
def traced_only():
    """`torch.compile` without the C++ compiler: the same graph, run operation by operation."""
    torch.compiler.reset()
    bloch._compiled.cache_clear()
    with patch.object(torch, "compile", partial(torch.compile, backend="aot_eager")):
        yield
    bloch._compiled.cache_clear()
    torch.compiler.reset()


def compiled_is_plain():
    x, params = inputs(pz(2), x_grid=(9, 3), params_grid=(4, 3), dtype=F32)
    leaves = {"x": x[..., 0], "weight": torch.linspace(-1, 1, 12).reshape(4, 3), **params}

    def layer(engine):
        return lambda x, weight, **params: engine.contract(pz(2), x, params, weight)

    expected = derivatives(layer(get("bloch")), leaves)
    assert_same(derivatives(layer(get("bloch", compile=True)), leaves), expected, SINGLE)
    expected = report(get("bloch"), pz(2), x[:, None], params)
    assert_same(report(get("bloch", compile=True), pz(2), x[:, None], params), expected, SINGLE)


@pytest.mark.usefixtures("traced_only")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # by torch, as it traces
def test_the_compiled_path_has_no_graph_break_and_is_the_plain_path():
    compiled_is_plain()


@pytest.mark.slow
def test_the_compiled_path_is_the_plain_path():
    compiled_is_plain()


def test_repr_shows_the_options():
    assert repr(get("bloch")) == "Bloch()"
    assert repr(get("bloch", compile=True, budget=4)) == "Bloch(compile=True, budget=4.0)"
    assert "engine=Bloch(compile=True)" in repr(QKANLayer(2, 2, engine=get("bloch", compile=True)))
