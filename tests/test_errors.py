"""Measured errors of outputs are the spread of repeated measurements, and cost nothing more than the outputs."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from circuits import Circuit, Gate, Slot, pz, rpz
from circuits.engines import get
from circuits.engines.sampled import Sampled
from qkan import DARUAN, QKAN, QKANLayer, plan, set_engine, with_error
from tolerances import EXACT, chi_square_window

F64 = torch.float64
SHOTS = 20_000  # what is of second order is then a hundredth
CONSTANT = Circuit((Gate("RY", 0, Slot("theta")),))


class Twice(nn.Module):
    """One layer behind itself: two evaluations of the same activations, with shots of their own."""

    def __init__(self):
        super().__init__()
        self.layer = QKANLayer(2, 2, circuit=pz(2), dtype=F64)

    def forward(self, x):
        return self.layer(self.layer(x))


MODELS = {
    **{f"layer, {share}": lambda share=share: QKANLayer(2, 3, pz(2), share=share, dtype=F64) for share in (None, "in")},
    **{
        f"network, {share}": lambda share=share: QKAN([2, 3, 2], pz(2), share=share, dtype=F64)
        for share in (None, "out", "in", 2)
    },
    "activation": lambda: DARUAN(2, 2, rpz(2), dtype=F64),
    "among others": lambda: nn.Sequential(
        nn.Linear(2, 2, dtype=F64), QKAN([2, 2], base=None, dtype=F64), nn.Tanh(), nn.Linear(2, 2, dtype=F64)
    ),
    "twice": Twice,
}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def device(shots=SHOTS, seed=0, **options):
    return get("sampled", shots=shots, seed=seed, **options)


@each_model
def test_errors_are_those_of_repeated_measurements(seeded, make):
    """Inputs are repeated, each time with shots of its own; squared scores then have a chi-square distribution."""
    model, repeats = make(), 3000
    x = (2 * torch.rand(2, 2, dtype=F64) - 1).expand(repeats, 2, 2)
    with torch.no_grad():
        exact = model(x[0])
    y, error = with_error(set_engine(model, device()), x)
    assert y.shape == error.shape == (repeats, *exact.shape)
    scores = ((y - exact) / error).square().mean(0)
    low, high = chi_square_window(repeats, exact.numel())
    assert ((low <= scores) & (scores <= high)).all(), scores


@pytest.mark.parametrize("share", [None, "in", "out"])
def test_errors_of_evaluations_that_edges_and_samples_share(seeded, share):
    """A circuit without data is measured once for all samples, and for all edges that share it."""
    model = QKANLayer(3, 2, circuit=CONSTANT, share=share, dtype=F64)
    x, repeats = torch.rand(4, 3, dtype=F64), 500
    with torch.no_grad():
        exact = model(x)
    set_engine(model, device(2000))
    runs = [with_error(model, x) for _ in range(repeats)]
    scores = torch.stack([(y - exact) / error for y, error in runs]).square().mean(0)
    low, high = chi_square_window(repeats, exact.numel())
    assert ((low <= scores) & (scores <= high)).all(), scores
    values, errors = device(2000)(CONSTANT, torch.zeros(1, dtype=F64), model.activation.slots(), with_error=True)
    assert values.shape == {None: (2, 3), "in": (2, 1), "out": (1, 3)}[share]
    together = {None: model.weight, "in": model.weight.sum(-1, keepdim=True), "out": model.weight}[share]
    expected = (together * errors).square().sum(-1).sqrt().expand(4, 2)
    # Other shots, and so nearly the same error.
    torch.testing.assert_close(runs[0][1], expected.detach(), rtol=0.1, atol=0)


def test_the_error_of_a_layer_is_the_closed_form(seeded):
    layer, x = QKANLayer(3, 2, circuit=pz(2), dtype=F64), torch.rand(5, 3, dtype=F64)
    values, errors = device()(layer.activation.circuit, x[:, None, :, None], layer.activation.slots(), with_error=True)
    y, error = with_error(set_engine(layer, device()), x)
    assert layer.base is not None
    assert layer.base_weight is not None
    assert layer.bias is not None
    torch.testing.assert_close(error, (layer.weight * errors).square().sum(-1).sqrt().detach(), **EXACT)
    expected = (layer.weight * values).sum(-1) + layer.base(x) @ layer.base_weight.T + layer.bias
    torch.testing.assert_close(y, expected.detach(), **EXACT)


def counting(**options):
    asked = []

    class Device(Sampled):
        def _run(self, circuit, table, shots):
            asked.append(len(table))
            return super()._run(circuit, table, shots)

    return Device(**options), asked


@pytest.mark.parametrize("gradient", ["shift", "spsa", "simulator"])
def test_the_model_runs_once_and_is_what_it_would_have_been(seeded, gradient):
    engine, asked = counting(shots=100, seed=3, gradient=gradient)
    model, x = set_engine(QKAN([2, 3, 1], pz(2), dtype=F64), engine), torch.rand(4, 2, dtype=F64)
    y, error = with_error(model, x)
    assert asked == [4 * 6, 4 * 3]
    assert (error > 0).all()
    set_engine(model, device(100, 3, gradient=gradient))
    assert torch.equal(y, model(x))


def test_nothing_is_left_behind(seeded):
    engine = device(100)
    model, x = set_engine(QKAN([2, 3, 1], dtype=F64), engine), torch.rand(4, 2, dtype=F64, requires_grad=True)
    for result in with_error(model, x):
        assert not result.requires_grad
    assert x.grad is None
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.engine is engine for module in model.modules() if isinstance(module, DARUAN))


def test_exact_engines_have_no_error(seeded):
    model, x = QKAN([2, 3, 1], dtype=F64), torch.rand(4, 2, dtype=F64)
    y, error = with_error(model, x)
    torch.testing.assert_close(y, model(x).detach(), **EXACT)
    assert torch.equal(error, torch.zeros(4, 1, dtype=F64))


@pytest.mark.parametrize("shape", [(2,), (0, 2), (3, 2), (3, 2, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_any_leading_shape_and_dtype(seeded, shape, dtype):
    model = set_engine(QKAN([2, 3, 4], dtype=dtype), device(100))
    with torch.inference_mode():
        x = torch.rand(shape, dtype=dtype)
        y, error = with_error(model, x)
    assert y.shape == error.shape == (*shape[:-1], 4)
    assert y.dtype == error.dtype == dtype
    assert error.isfinite().all()


MIXING = {
    "later samples": lambda y: y.cumsum(0),
    "earlier samples": lambda y: y.flip(0).cumsum(0).flip(0),
    "all samples": lambda y: y.sum(0),
    "time steps": lambda y: y.cumsum(1),
    "all time steps": lambda y: y.sum(1),
    "outputs": lambda y: y.cumsum(-1),
}


@pytest.mark.parametrize("mix", MIXING.values(), ids=MIXING)
def test_errors_of_models_that_mix_samples(seeded, mix):
    """Variances of independent evaluations add up, whichever sample they are of."""

    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = QKANLayer(2, 3, circuit=pz(1), dtype=F64)

        def forward(self, x):
            return mix(self.layer(x))

    model, x = Mixing(), torch.rand(5, 4, 2, dtype=F64)
    _, alone = with_error(set_engine(model.layer, device()), x)
    _, error = with_error(set_engine(model, device()), x)
    torch.testing.assert_close(error, mix(alone.square()).sqrt(), **EXACT)


def test_samples_that_share_an_evaluation_err_together(seeded):
    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = QKANLayer(2, 3, circuit=CONSTANT, share="in", dtype=F64)

        def forward(self, x):
            return self.layer(x).cumsum(0)

    model, x = Summed(), torch.rand(5, 2, dtype=F64)
    _, alone = with_error(set_engine(model.layer, device()), x)
    _, error = with_error(set_engine(model, device()), x)
    torch.testing.assert_close(error, alone.cumsum(0), **EXACT)


def test_what_a_plan_expects_is_what_is_then_measured(seeded):
    """With slopes of their own: not those of a gradient that draws directions."""
    x = torch.rand(6, 2, dtype=F64)
    for gradient in ("shift", "spsa", "simulator"):
        model = set_engine(QKAN([2, 3, 1], pz(2), dtype=F64), device(gradient=gradient))
        torch.testing.assert_close(plan(model, x).error, with_error(model, x)[1], rtol=0.05, atol=0)


def test_what_cannot_be_measured_is_refused_before_it_is_paid_for(seeded):
    engine, asked = counting(shots=100)
    model = set_engine(QKAN([2, 1], dtype=F64), engine)
    with pytest.raises(ValueError, match="`x` must be finite"):
        with_error(model, torch.full((3, 2), math.nan, dtype=F64))
    assert asked == []

    class Foreign:
        def contract(self, circuit, x, params, weight, judged=True):
            return x.new_zeros(*x.shape[:-1], len(weight))

    foreign: Any = Foreign()
    with pytest.raises(TypeError, match="tells no errors"):
        with_error(set_engine(model, foreign), torch.rand(3, 2, dtype=F64))
    with pytest.raises(ValueError, match="has none"):
        with_error(nn.Linear(2, 1), torch.rand(3, 2))


def test_errors_on_a_packed_and_corrected_device(seeded):
    pytest.importorskip("qiskit_aer")
    engine = get("sampler", shots=500, qubits=4, seed=0)
    model, x = QKANLayer(2, 1, pz(1), dtype=F64), torch.rand(30, 2, dtype=F64)
    exact = model(x).detach()
    y, error = with_error(set_engine(model, engine), x)
    assert 0.6 <= ((y - exact) / error).square().mean().sqrt() <= 1.5  # the calibration is one draw for all rows
