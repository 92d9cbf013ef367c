"""What cannot be evaluated is refused, by an error that names the argument, the value and the remedy."""

# Wrong arguments are what this file is about.
# pyright: reportArgumentType=false

import re
import sys

import pytest
import torch

from circuits import (
    Circuit,
    Encode,
    EngineUnavailable,
    Gate,
    UnsupportedCircuit,
    engines,
    expectation,
    px,
    pz,
    to_openqasm3,
    to_pennylane,
    to_qiskit,
    unchecked,
)
from circuits.errors import third_party
from random_circuits import inputs

NAN, INF = float("nan"), float("inf")


def with_entry(tensor, index, value):
    changed = tensor.clone()
    changed[index] = value
    return changed


# Values.


@pytest.mark.parametrize("engine", engines.ENGINES)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_x_must_be_finite(engine, value):
    x, params = inputs(pz(2), x_grid=(3, 4))
    message = rf"`x` must be finite, but is {value} at index \(1, 2, 0\) \(1 of 12 entries .*\): clean the data"
    with pytest.raises(ValueError, match=message):
        expectation(pz(2), with_entry(x, (1, 2, 0), value), params, engine)


@pytest.mark.parametrize("slot", ["theta", "scale", "shift"])
def test_params_must_be_finite(slot):
    x, params = inputs(pz(2), params_grid=(3,))
    params[slot] = with_entry(params[slot], (2, 1), NAN)
    message = rf"`params\['{slot}'\]` must be finite, but is nan at index \(2, 1\) .* lower the learning rate"
    with pytest.raises(ValueError, match=message):
        expectation(pz(2), x, params)


def test_opposite_infinities_are_found_although_their_sum_is_nan():
    with pytest.raises(ValueError, match=r"is inf at index \(0, 0\) \(2 of 3 entries"):
        expectation(Circuit((Gate("RX", 0, Encode()),)), torch.tensor([[INF], [0], [-INF]]), {})


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_finite_values_whose_sum_overflows_are_not_refused(dtype):
    x = torch.full((100, 1), torch.finfo(dtype).max, dtype=dtype)
    assert not x.sum().isfinite()
    assert expectation(Circuit((Gate("RX", 0, Encode()),)), x, {}).isfinite().all()


@pytest.mark.parametrize("engine", ["auto", "reference", "statevector", "bloch"])
def test_unchecked_lets_nan_through_and_ends_with_its_block(engine):
    x, params = inputs(pz(2), x_grid=(3,))
    x = with_entry(x, 1, NAN)
    with unchecked():
        assert expectation(pz(2), x, params, engine).isnan().tolist() == [False, True, False]
    with pytest.raises(ValueError, match="`x` must be finite"):
        expectation(pz(2), x, params, engine)


def test_unchecked_still_checks_shapes():
    x, params = inputs(pz(2))
    with unchecked(), pytest.raises(ValueError, match=r"shape \(\*grid, 1\)"):
        expectation(pz(2), x.expand(2), params)


@pytest.mark.parametrize(
    ("circuit", "params", "reach"),
    [
        (px(2, scale=1, shift=0), {"theta": [0.0, 0.0]}, r"\|1.0\*x\+0.0\| <= 1, .* reaches 1.25"),
        (px(1, shift=0), {"theta": [0.0], "scale": [-2.0]}, r"\|scale\[0\]\*x\+0.0\| <= 1, .* reaches 2.5"),
        (px(1, scale=0), {"theta": [0.0], "shift": [1.5]}, r"\|0.0\*x\+shift\[0\]\| <= 1, .* reaches 1.5"),
    ],
    ids=["x", "scale", "shift"],
)
def test_arccos_must_stay_in_its_domain(circuit, params, reach):
    x = torch.tensor([[0.5], [1.25]])
    params = {name: torch.tensor(values) for name, values in params.items()}
    with pytest.raises(ValueError, match=f"`x` must satisfy {reach}: rescale or clip x"):
        expectation(circuit, x, params)
    with unchecked():
        assert expectation(circuit, x, params)[1].isnan()


def test_arccos_is_defined_at_the_ends_of_its_domain():
    x = torch.tensor([[-1.0], [1.0]])
    assert expectation(px(1, scale=1, shift=0), x, {"theta": torch.ones(1)}).isfinite().all()


# Shapes, types and devices.


def changed(**updates):
    """Inputs of pz(2) with some of them replaced, or removed where None."""
    x, params = inputs(pz(2), x_grid=(3,))
    merged = {"x": x, **params} | updates
    return merged.pop("x"), {name: value for name, value in merged.items() if value is not None}


THETA = torch.zeros(6)

REFUSED = {
    "features": (changed(x=torch.zeros(3, 2)), r"`x` must have shape \(\*grid, 1\), .* but has shape \(3, 2\)"),
    "scalar x": (changed(x=torch.tensor(1.0)), r"`x` must have shape \(\*grid, 1\), .* but has shape \(\)"),
    "slot length": (
        changed(theta=THETA[:5]),
        r"`params\['theta'\]` must have shape \(\*grid, 6\), but has shape \(5,\)",
    ),
    "scalar slot": (changed(theta=torch.tensor(0.0)), r"`params\['theta'\]` must have shape .* but has shape \(\)"),
    "missing slot": (
        changed(scale=None),
        r"exactly the circuit's slots \['theta', .*\], but holds \['theta', 'shift'\]",
    ),
    "extra slot": (changed(phi=THETA), r"exactly the circuit's slots .*, but holds .*'phi'"),
    "renamed slot": (changed(theta=None, phi=THETA), r"exactly the circuit's slots .*'phi'"),
    "integer x": (
        changed(x=torch.zeros(3, 1, dtype=torch.int64)),
        r"`x` must be real floating-point, .*int64.*\.float\(\)",
    ),
    "bool slot": (changed(theta=THETA.bool()), r"`params\['theta'\]` must be real floating-point, .*bool"),
    "complex slot": (
        changed(theta=THETA.to(torch.complex64)),
        r"`params\['theta'\]` must be real floating-point, .*complex64",
    ),
    "list x": (changed(x=[[0.0]]), r"`x` must be a torch.Tensor, but is a list"),
    "array slot": (changed(theta=THETA.numpy()), r"`params\['theta'\]` must be a torch.Tensor, but is a ndarray"),
    "number slot": (changed(theta=0.0), r"`params\['theta'\]` must be a torch.Tensor, but is a float"),
    "device of slot": (changed(theta=THETA.to("meta")), r"`params\['theta'\]` is on meta, but `x` is on cpu: move"),
    "device of x": (changed(x=torch.zeros(3, 1, device="meta")), r"`params\['theta'\]` is on cpu, but `x` is on meta"),
    "grids": (
        changed(theta=torch.zeros(2, 6)),
        r"grids of x and params must broadcast, but are x: \(3,\), params\['theta'\]: \(2,\), params\['scale'\]: \(\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_inputs_that_do_not_fit_are_refused_by_name(case):
    (x, params), message = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=message):
        expectation(pz(2), x, params)


def test_a_circuit_is_not_its_maker():
    x, params = inputs(pz(2))
    for call in (expectation, lambda circuit, x, params: engines.get("auto").contract(circuit, x, params, x)):
        with pytest.raises(TypeError, match=r"`circuit` must be a Circuit, such as pz\(reps=3\), but is <function pz"):
            call(pz, x, params)


# Engines.


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("foo", {}, "`engine` must be one of auto, reference, .* 'foo'"),
        ("bloch", {"shots": 10}, r"'bloch' has the options \['compile', 'budget'\], but was given \['shots'\]"),
        ("qiskit", {"shot": 10}, r"'qiskit' has the options \['shots', 'seed', .*\], but was given \['shot'\]"),
        ("pennylane", {"device": "foo.bar"}, "`device` must name a PennyLane device: .*foo.bar"),
        *(
            (name, options, message)
            for name in ("pennylane", "qiskit")
            for options, message in [
                ({"shots": 0}, "`shots` must be at least 1, but is 0"),
                ({"shots": 10.0}, "`shots` must be an int or None, but is 10.0"),
                ({"shots": True}, "`shots` must be an int or None, but is True"),
                ({"seed": -1}, "`seed` must be at least 0, but is -1"),
            ]
        ),
    ],
)
def test_engines_and_options_that_do_not_exist_are_refused(name, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        engines.get(name, **options)


def test_a_built_engine_takes_no_options():
    engine = engines.get("bloch")
    assert engines.get(engine) is engine
    with pytest.raises(TypeError, match=r"Options \['shots'\] need an engine name"):
        engines.get(engine, shots=1)


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (
            Circuit((Gate("H", 0), Gate("CRX", (0, 1), 0.5)), "ZZ"),
            r"'bloch' .* gate CRX\(0.5\) acts on 2 .*'statevector'",
        ),
        (Circuit((Gate("H", 0),), "ZZ"), "'bloch' .* it has 2 wires.*'statevector'"),
    ],
)
def test_bloch_has_one_wire(circuit, message):
    bloch = engines.get("bloch")
    assert not bloch.supports(circuit)
    with pytest.raises(UnsupportedCircuit, match=message):
        bloch(circuit, torch.zeros(1), {})


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (Circuit((Gate("RX", 0, Encode()), Gate("RY", 0, Encode(feature=1)))), r"reads 2 feature\(s\)"),
        (Circuit((Gate("RX", 0, Encode(feature=1)),)), r"reads 2 feature\(s\)"),
        (Circuit((Gate("RX", 0, Encode()),), ("Z",)), r"measures \('Z',\)"),
    ],
    ids=["two features", "feature 1", "tuple of strings"],
)
@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_only_a_function_of_one_variable_is_an_activation(engine, circuit, message):
    with pytest.raises(UnsupportedCircuit, match=message):
        engines.get(engine).contract(circuit, torch.zeros(3), {}, torch.ones(1, 3))


# Packages that are not there.

MISSING = {
    "pennylane": ("pennylane", lambda: engines.get("pennylane"), "pip install 'daruan[pennylane]'"),
    "qiskit": ("qiskit", lambda: engines.get("qiskit"), "pip install 'daruan[qiskit]'"),
    "qiskit_aer": ("qiskit_aer", lambda: engines.get("qiskit"), "pip install 'daruan[qiskit]'"),
    "to_pennylane": ("pennylane", lambda: to_pennylane(pz(1)), "pip install 'daruan[pennylane]'"),
    "to_qiskit": ("qiskit", lambda: to_qiskit(pz(1)), "pip install 'daruan[qiskit]'"),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_missing_package_is_named_with_its_pip_line(case, monkeypatch):
    package, call, line = MISSING[case]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EngineUnavailable, match=f"Package '{package}' is not installed: run `{re.escape(line)}`"):
        call()


def test_available_engines_are_those_whose_packages_are_installed(monkeypatch):
    assert engines.available() == tuple(engines.ENGINES)
    monkeypatch.setitem(sys.modules, "qiskit_aer", None)
    assert engines.available() == tuple(name for name in engines.ENGINES if name not in ("qiskit", "sampler"))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("import not_a_module", ModuleNotFoundError),
        ("from math import not_a_name", ImportError),
        ("1 / 0", ZeroDivisionError),
    ],
)
def test_an_error_inside_an_installed_package_surfaces(line, error, monkeypatch, tmp_path):
    (tmp_path / "broken_package.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error) as caught:
        third_party("broken_package", "extra")
    assert not isinstance(caught.value, EngineUnavailable)


def test_a_missing_module_of_our_own_surfaces(monkeypatch):
    row = type(engines.ENGINES["bloch"])("circuits.engines.not_there", "Engine")
    monkeypatch.setitem(engines.ENGINES, "broken", row)
    with pytest.raises(ModuleNotFoundError, match=r"circuits\.engines\.not_there") as caught:
        engines.get("broken")
    assert not isinstance(caught.value, EngineUnavailable)


def test_openqasm_needs_no_package(monkeypatch):
    for package in ("qiskit", "qiskit_aer", "pennylane"):
        monkeypatch.setitem(sys.modules, package, None)
    x, params = inputs(pz(1))
    assert to_openqasm3(pz(1), params, x).startswith("OPENQASM 3.0;")
