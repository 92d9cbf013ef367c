"""Every engine gives the values and gradients of `reference`, on every circuit and for all shapes and dtypes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits import ANSATZE, Circuit, Encode, Gate, Slot, expectation, pz, rpz
from circuits.engines import ENGINES, Engine, get
from judge import assert_same, derivatives, report
from random_circuits import angles, bent, circuits, expandable, inputs, plain, seeds
from tolerances import (
    EXACT,
    EXPANDED,
    EXPANDED_SINGLE,
    FOREIGN,
    ROUNDED,
    SHIFTED,
    SINGLE,
    Tolerance,
    bernstein,
    rms_window,
)

F32, F64 = torch.float32, torch.float64


@dataclass(frozen=True)
class Row:
    """An engine under test.

    Args:
        name: name of the engine.
        tolerance: against `reference` in float64.
        examples: number of random circuits.
        options: of the engine.
        wires: how many the random circuits may have.
        angles: of their gates.
        single: tolerance in float32.
        torch: whether `torch.func.vmap` can look inside.
        shots: whether it takes `shots` and a `seed`.
    """

    name: str
    tolerance: Tolerance
    examples: int
    options: Mapping[str, object] = field(default_factory=dict)
    wires: int = 4
    angles: st.SearchStrategy = angles
    single: Tolerance = field(default_factory=lambda: SINGLE)
    torch: bool = False
    shots: bool = False

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.options.values())])


ROWS = [
    Row("auto", EXACT, 200, torch=True),
    Row("statevector", EXACT, 400, torch=True),
    Row("bloch", EXACT, 300, wires=1, torch=True),
    Row("spectral", EXPANDED, 300, angles=expandable(plain) | expandable(bent), single=EXPANDED_SINGLE, torch=True),
    Row("noisy", EXACT, 200, torch=True),
    Row("sampled", SHIFTED, 100, shots=True),
    Row("pennylane", FOREIGN, 100, shots=True),
    Row("pennylane", FOREIGN, 80, {"device": "lightning.qubit"}, shots=True),
    Row("qiskit", FOREIGN, 80, shots=True),
]
"""A new engine is one new row."""

reference = get("reference")
engines = pytest.mark.parametrize("row", ROWS, ids=str)
transformable = pytest.mark.parametrize("row", [row for row in ROWS if row.torch], ids=str)
samplers = pytest.mark.parametrize("row", [row for row in ROWS if row.shots], ids=str)


@cache
def built(name: str, options: tuple[tuple[str, object], ...]) -> Engine:
    return get(name, **dict(options))


def engine_of(row: Row) -> Engine:
    return built(row.name, tuple(row.options.items()))


def shipped(row: Row, name: str, reps: int) -> Circuit:
    """A shipped ansatz, with fixed scales and shifts if the engine cannot do with trainable ones."""
    circuit = ANSATZE[name](reps)
    return circuit if engine_of(row).supports(circuit) else ANSATZE[name](reps, scale=0.9, shift=0.05)


def double(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.double() for name, tensor in tensors.items()}


def test_every_engine_has_a_row():
    """But the judge, and what has no exact values, which `test_sampler.py` is about."""
    assert {row.name for row in ROWS} == ENGINES.keys() - {"reference", "sampler"}


# The same numbers.


@engines
@pytest.mark.parametrize("name", ANSATZE)
@pytest.mark.parametrize("reps", range(5))
def test_engine_agrees_with_reference_on_every_ansatz(row, name, reps):
    circuit = shipped(row, name, reps)
    x, params = inputs(circuit, x_grid=(3, 1), params_grid=(2,))
    expected = report(reference, circuit, x, params)
    assert_same(report(engine_of(row), circuit, x, params), expected, row.tolerance)


GRIDS = st.sampled_from([((), ()), ((3,), ()), ((), (3,)), ((2,), (2,)), ((2, 1), (3,))])


def agrees_on_random_circuits(row: Row, examples: int, dtype: torch.dtype, tolerance: Tolerance) -> None:
    @settings(max_examples=examples)
    @given(circuits(row.wires, angles=row.angles).filter(engine_of(row).supports), GRIDS, seeds)
    def agrees(circuit, grids, seed):
        x, params = inputs(circuit, *grids, seed=seed, dtype=dtype)
        expected = report(reference, circuit, x.double(), double(params))
        assert_same(report(engine_of(row), circuit, x, params), expected, tolerance)

    agrees()


@engines
def test_engine_agrees_with_reference_on_random_circuits(row):
    agrees_on_random_circuits(row, row.examples, F64, row.tolerance)


@engines
def test_engine_agrees_with_reference_in_float32(row):
    agrees_on_random_circuits(row, row.examples // 2, F32, row.single)


@engines
def test_second_derivatives_agree_with_reference(row):
    gates = (Gate("RY", 0, Slot("theta")), Gate("RZ", 0, Encode(Slot("scale"), Slot("shift"))))
    circuit = Circuit((*gates, Gate("RX", 0, Encode(Slot("scale"), 0.3)), Gate("RY", 0, Slot("theta", 1))), ("Z", "X"))
    x, params = inputs(circuit, x_grid=(2,))

    def slopes(engine: Engine) -> dict[str, torch.Tensor]:
        def squared_slope(**leaves: torch.Tensor) -> torch.Tensor:
            value = engine(circuit, leaves["x"], {name: leaves[name] for name in params})
            gradients = torch.autograd.grad(value.sin().sum(), list(leaves.values()), create_graph=True)
            return torch.stack([(gradient**2).sum() for gradient in gradients])

        return derivatives(squared_slope, {"x": x, **params})

    assert_same(slopes(engine_of(row)), slopes(reference), SHIFTED)


# Shapes.

SHAPES = [
    ((), (), ()),
    ((4,), (), ()),
    ((), (4,), ()),
    ((3,), (3,), (3,)),
    ((2, 1), (3,), ()),
    ((2, 1, 1), (3, 1), (4,)),
    ((0,), (), ()),
    ((3, 1), (0,), ()),
]
"""Grids of x, of theta, and of scale and shift."""


@engines
@pytest.mark.parametrize("readout", ["Z", ("X",), ("Z", "Y")])
@pytest.mark.parametrize("shapes", SHAPES)
def test_broadcasting_is_evaluation_point_by_point(row, shapes, readout):
    circuit = Circuit(rpz(1).gates, readout)
    x_grid, theta_grid, other_grid = shapes
    x, params = inputs(circuit, x_grid, other_grid)
    params["theta"] = inputs(circuit, params_grid=theta_grid, seed=1)[1]["theta"]
    grid = torch.broadcast_shapes(*shapes)
    value = engine_of(row)(circuit, x, params)
    assert value.shape == (*grid, *(() if isinstance(readout, str) else (len(readout),)))
    x = x.expand(*grid, -1)
    params = {name: tensor.expand(*grid, -1) for name, tensor in params.items()}
    for index in product(*map(range, grid)):
        expected = reference(circuit, x[index], {name: tensor[index] for name, tensor in params.items()})
        torch.testing.assert_close(value[index], expected, **row.tolerance)


@engines
def test_empty_batches_have_empty_gradients(row):
    x, params = inputs(pz(2), x_grid=(0,))
    result = report(engine_of(row), pz(2), x, params)
    assert result["value"].shape == (0,)
    assert result["d/dx"].shape == (0, 1)
    assert all(not result[f"d/d{name}"].any() for name in params)


@engines
def test_constant_circuits_fill_the_grid(row):
    circuit = Circuit((Gate("H", 0), Gate("T", 0)), ("X", "Z"))
    value = engine_of(row)(circuit, torch.zeros(3, 2, 1, dtype=F64), {})
    torch.testing.assert_close(value, torch.tensor([0.5**0.5, 0.0], dtype=F64).expand(3, 2, 2), **row.tolerance)


# Dtypes and devices.


@engines
@pytest.mark.parametrize("dtype", ROUNDED, ids=str)
def test_dtype_follows_the_inputs(row, dtype):
    x, params = inputs(pz(2), x_grid=(5,), dtype=dtype)
    result = report(engine_of(row), pz(2), x, params)
    assert {tensor.dtype for tensor in result.values()} == {dtype}
    expected = reference(pz(2), x.double(), double(params))
    torch.testing.assert_close(result["value"].double(), expected, **ROUNDED[dtype])


@engines
@pytest.mark.parametrize(
    ("of_x", "of_params", "promoted"),
    [
        (F32, F64, F64),
        (torch.bfloat16, F32, F32),
        (torch.float16, torch.bfloat16, F32),
    ],
)
def test_mixed_dtypes_are_promoted(row, of_x, of_params, promoted):
    x, params = inputs(pz(1))
    x, params = x.to(of_x), {name: tensor.to(of_params) for name, tensor in params.items()}
    value = engine_of(row)(pz(1), x, params)
    assert value.dtype == promoted
    torch.testing.assert_close(value.double(), reference(pz(1), x.double(), double(params)), **ROUNDED[promoted])


@transformable
def test_device_follows_the_inputs(row):
    x, params = inputs(pz(2), x_grid=(5,))
    value = engine_of(row)(pz(2), x.to("meta"), {name: tensor.to("meta") for name, tensor in params.items()})
    assert (value.shape, value.device.type, value.dtype) == ((5,), "meta", F64)


# The sum over inputs.

LAYERS = {
    "plain": ((2, 3), (2, 3), (4,)),
    "shared outputs": ((1, 3), (2, 3), (4,)),
    "shared inputs": ((2, 1), (2, 3), (4,)),
    "shared": ((1, 1), (2, 3), (4,)),
    "one sample": ((2, 3), (2, 3), ()),
    "no sample": ((2, 3), (2, 3), (0,)),
    "batch of batches": ((2, 3), (2, 3), (2, 2)),
    "per-sample slots": ((4, 2, 3), (2, 3), (4,)),
    "per-sample shared slots": ((4, 1, 3), (2, 3), (4,)),
    "per-sample weight": ((1, 3), (4, 2, 3), (4,)),
    "one output": ((1, 3), (1, 3), (4,)),
}
"""Grid of the slots, shape of the weight, batch."""


@engines
@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize("name", ["pz", "px"])
def test_contract_is_the_weighted_sum_over_inputs(row, case, name):
    grid, shape, batch = LAYERS[case]
    circuit = shipped(row, name, 1)
    x, params = inputs(circuit, x_grid=(*batch, 3), params_grid=grid)
    weight = torch.linspace(-1, 1, math.prod(shape), dtype=F64)
    leaves = {"x": x[..., 0], "weight": weight.reshape(shape), **params}

    def summed(x, weight, **params):
        """Sample by sample, output by output, input by input."""
        out, columns = weight.shape[-2:]
        weight = weight.expand(*batch, out, columns)
        params = {name: tensor.expand(*batch, out, columns, -1) for name, tensor in params.items()}
        values = []
        for index in product(*map(range, (*batch, out))):
            terms = [
                weight[*index, i]
                * reference(circuit, x[*index[:-1], i, None], {k: v[*index, i] for k, v in params.items()})
                for i in range(columns)
            ]
            values.append(torch.stack(terms).sum())
        if not values:
            return 0 * torch.stack([tensor.sum() for tensor in (x, weight, *params.values())]).sum().expand(*batch, out)
        return torch.stack(values).reshape(*batch, out)

    actual = derivatives(lambda x, weight, **params: engine_of(row).contract(circuit, x, params, weight), leaves)
    assert_same(actual, derivatives(summed, leaves), row.tolerance)


# torch.func.


@engines
def test_torch_func_grad_is_autograd(row):
    x, params = inputs(pz(2), x_grid=(3,))
    gradients = torch.func.grad(lambda params: engine_of(row)(pz(2), x, params).sum())(params)
    leaves = {name: tensor.requires_grad_() for name, tensor in params.items()}
    expected = torch.autograd.grad(reference(pz(2), x, leaves).sum(), list(leaves.values()))
    assert_same(gradients, dict(zip(leaves, expected, strict=True)), row.tolerance)


@transformable
@pytest.mark.parametrize("name", ANSATZE)
def test_vmap_over_samples_is_broadcasting(row, name):
    circuit, engine = shipped(row, name, 2), engine_of(row)
    x, params = inputs(circuit, x_grid=(4,), params_grid=(4,))

    def f(x, params):
        return engine(circuit, x, params)

    values = torch.func.vmap(f)(x, params)
    torch.testing.assert_close(values, reference(circuit, x, params), **row.tolerance)
    shared = torch.func.vmap(f, in_dims=(None, 0))(x[0], params)
    torch.testing.assert_close(shared, reference(circuit, x[0], params), **row.tolerance)
    per_sample = torch.func.vmap(torch.func.grad(f))(x, params)
    torch.testing.assert_close(
        per_sample, torch.func.grad(lambda x: reference(circuit, x, params).sum())(x), **row.tolerance
    )


# Shots.

SAMPLED = {
    "one wire": Circuit(pz(2).gates, ("Z", "X", "Y")),
    "two wires": Circuit(
        (
            Gate("RY", 0, Slot("theta")),
            Gate("RX", 1, Encode()),
            Gate("CNOT", (0, 1)),
            Gate("CRY", (1, 0), Encode(Slot("scale"), 0.4)),
        ),
        ("ZI", "XY", "IZ", "YX"),
    ),
}


@samplers
@pytest.mark.parametrize("case", SAMPLED)
def test_shots_have_the_mean_and_the_variance_of_the_born_rule(row, case):
    circuit, shots = SAMPLED[case], 500
    x, params = inputs(circuit, x_grid=(150,))
    sampled = get(row.name, **row.options, shots=shots, seed=7)(circuit, x, params)
    exact = reference(circuit, x, params)
    assert ((sampled - exact).abs() <= bernstein(exact, shots)).all()
    inner = exact.abs() < 0.9
    zscores = ((sampled - exact) / ((1 - exact**2) / shots).sqrt())[inner]
    assert abs(zscores.square().mean().sqrt() - 1) <= rms_window(zscores.numel())


@samplers
def test_shot_gradients_are_parameter_shifts_of_shots(row):
    shots = 500
    x, params = inputs(rpz(2), params_grid=(20,))
    theta = params["theta"].requires_grad_()
    (exact,) = torch.autograd.grad(reference(rpz(2), x, params).sum(), theta)
    (sampled,) = torch.autograd.grad(get(row.name, **row.options, shots=shots, seed=7)(rpz(2), x, params).sum(), theta)
    # Half the difference of two means is no further off than either of them may be at its worst, at z = 0.
    assert ((sampled - exact).abs() <= bernstein(torch.zeros_like(exact), shots)).all()
    assert not torch.equal(sampled, exact)


@samplers
def test_a_single_shot_is_plus_or_minus_one(row):
    x, params = inputs(pz(1), x_grid=(20,))
    assert set(get(row.name, **row.options, shots=1, seed=0)(pz(1), x, params).tolist()) == {-1.0, 1.0}


@samplers
def test_every_call_is_a_fresh_sample_and_a_seed_fixes_the_sequence(row):
    x, params = inputs(pz(1), x_grid=(20,))

    def sequence(seed):
        engine = get(row.name, **row.options, shots=100, seed=seed)
        return [expectation(pz(1), x, params, engine).tolist() for _ in range(3)]

    first = sequence(3)
    assert first[0] != first[1] != first[2] != first[0]
    assert sequence(3) == first
    assert sequence(4) != first
    assert sequence(None) != sequence(None)


def test_strategies_reach_what_they_promise():
    """Random circuits have all that the claims above speak of."""
    seen = set()

    @settings(max_examples=150)
    @given(circuits())
    def collect(circuit):
        seen.update(gate.name for gate in circuit.gates)
        seen.update(type(angle).__name__ for angle in circuit.angles)
        seen.update(encoding.through for encoding in circuit.encodings)
        seen.update((f"wires {circuit.wires}", f"features {circuit.features}", type(circuit.readout).__name__))
        seen.update("controlled data" for gate in circuit.gates if len(gate.wires) == 2 and gate.encodes)

    collect()
    assert seen >= {"CRX", "CRY", "CRZ", "SWAP", "Sum", "Encode", "Slot", "float", "arccos", "identity"}
    assert seen >= {*(f"wires {n}" for n in range(1, 5)), "features 2", "str", "tuple", "controlled data"}


# What no readout can see, and where nothing is.


@engines
def test_what_no_readout_can_see_has_the_gradient_zero_not_none(row):
    """Both a slot and x, each alone in wanting a gradient: RZ commutes with Z, and RZ on |0> is a phase."""
    circuit = Circuit((Gate("RZ", 0, Encode()), Gate("RY", 0, Slot("a")), Gate("RZ", 0, Slot("b"))))
    values = {"x": torch.ones(2, 1, dtype=F64), "a": torch.ones(1, dtype=F64), "b": torch.ones(1, dtype=F64)}
    for wanted in ("x", "b"):
        leaf = values[wanted].clone().requires_grad_()
        x, a, b = (values | {wanted: leaf}).values()
        (gradient,) = torch.autograd.grad(engine_of(row)(circuit, x, {"a": a, "b": b}).sum(), leaf)
        assert torch.equal(gradient, torch.zeros_like(leaf))


@engines
def test_an_empty_batch_has_gradients_of_zero(row):
    params = {name: torch.ones(n, dtype=F64, requires_grad=True) for name, n in pz(2).slots.items()}
    value = engine_of(row)(pz(2), torch.zeros(0, 1, dtype=F64), params)
    for gradient in torch.autograd.grad(value.sum(), list(params.values())):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["statevector", "bloch", "auto", "noisy", "sampled", "pennylane", "qiskit"])
def test_a_gpu_computes_what_the_cpu_computes(name):
    x, params = inputs(pz(3), x_grid=(5, 1), params_grid=(2,))
    expected = report(reference, pz(3), x, params)
    moved = {key: tensor.cuda() for key, tensor in params.items()}
    actual = report(get(name), pz(3), x.cuda(), moved)
    assert all(tensor.is_cuda for tensor in actual.values())
    assert_same({key: tensor.cpu() for key, tensor in actual.items()}, expected, FOREIGN)
