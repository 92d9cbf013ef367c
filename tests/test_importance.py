"""Scores of inputs are their formulas, for edges of every kind, and leave the network as it was."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from circuits import pz, rpz
from classical import MLP, SKAN, BSplineKAN, BSplineKANLayer, FourierKAN, FourierKANLayer, importance
from classical.importance import SCORES, coefficient_norm, contribution_norm, first_layer, knock_out, sensitivity
from models import F64, copied, data, drawn, each_circuit, identical, scrambled, shares
from qkan import HQKAN, QKAN, QKANLayer
from tolerances import EXACT, SINGLE


def spline(widths, dtype=F64, **options):
    return BSplineKAN(widths, grid_size=2, degree=2, dtype=dtype, **options)


NETWORKS = {
    "B-splines": spline,
    "B-splines without a base": lambda widths, dtype=F64: spline(widths, dtype, base=None, bias=True, scaler=False),
    "Fourier": lambda widths, dtype=F64: FourierKAN(widths, degree=2, dtype=dtype),
    "normalised Fourier": lambda widths, dtype=F64: FourierKAN(
        widths, degree=1, base="silu", norm="layer", dtype=dtype
    ),
    "DARUAN": lambda widths, dtype=F64: QKAN(widths, pz(1), dtype=dtype),
    "shared DARUAN": lambda widths, dtype=F64: QKAN(widths, rpz(2), base=None, share=2, dtype=dtype),
}
each_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def made(make, widths=(3, 4, 2), dtype=F64):
    model = make(list(widths), dtype=dtype)
    model.reset_parameters(drawn(5))
    return model


def squares(outputs):
    """A loss with targets of its own."""
    return (outputs - torch.linspace(-1, 1, outputs.shape[-1], dtype=outputs.dtype)).square().mean()


# What edges of circuits add.


@each_circuit
@shares
def test_what_edges_of_circuits_add_sums_to_the_layer(circuit, share):
    layer, x = scrambled(QKANLayer(5, 3, circuit, share=share, dtype=F64)), data(2, 4)
    values = layer.edge_values(x)
    assert values.shape == (2, 4, 3, 5)
    torch.testing.assert_close(values.sum(-1) + layer.get_parameter("bias"), layer(x), **EXACT)


@pytest.mark.parametrize("base", ["silu", None])
def test_what_an_edge_adds_depends_on_its_input_alone(base):
    layer, x = QKANLayer(2, 3, pz(1), base=base, bias=False, dtype=F64), data(2, features=2)
    x[1, 1] = x[0, 1]
    values = layer.edge_values(x)
    assert torch.equal(values[0, :, 1], values[1, :, 1])
    assert (values[0, :, 0] != values[1, :, 0]).all()


def test_edge_values_have_gradients_and_refuse_what_the_layer_refuses():
    layer = QKANLayer(2, 3, pz(1), dtype=F64)
    assert torch.autograd.gradcheck(layer.edge_values, data(3, features=2).requires_grad_())
    assert layer.edge_values(torch.zeros(0, 2, dtype=F64)).shape == (0, 3, 2)
    with pytest.raises(ValueError, match=r"must have shape \(\*batch, 2\)"):
        layer.edge_values(data(3, features=4))
    with pytest.raises(TypeError, match="convert one of them"):
        layer.edge_values(data(3, features=2, dtype=torch.float32))


def test_the_generator_alone_decides_what_a_network_of_circuits_draws():
    model, states = QKAN([2, 3, 1], pz(1)), []
    for seed in (7, 8, 7):
        before = torch.get_rng_state()
        model.reset_parameters(drawn(seed))
        assert torch.equal(torch.get_rng_state(), before)
        states.append(copied(model))
    assert identical(states[0], states[2])
    assert not identical(states[0], states[1])


# Formulas.


@each_network
@pytest.mark.parametrize("order", [1, 2, 3.5])
def test_contributions_are_averaged_over_samples_and_outputs(make, order):
    model, x = made(make), data(6, features=3)
    first: Any = first_layer(model)
    values = first.edge_values(x).abs()
    powers = torch.stack([values[n, o].pow(order) for n in range(6) for o in range(4)])
    torch.testing.assert_close(contribution_norm(model, x, order), powers.mean(0).pow(1 / order), **EXACT)


@each_network
def test_the_penalty_is_the_sum_of_contributions_with_gradients(make):
    model, x = made(make), data(6, features=3)
    expected = contribution_norm(model, x).sum()  # but for `SMOOTH`
    torch.testing.assert_close(importance.contribution_penalty(model, x), expected, rtol=1e-9, atol=0)
    layer = first_layer(model)
    names, values = zip(*layer.named_parameters(), strict=True)

    def penalty(*values):
        given = {f"layer.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Penalised(layer), given, (x,))

    assert torch.autograd.gradcheck(penalty, values)


class Penalised(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return importance.contribution_penalty(self.layer, x)


def test_an_input_that_adds_nothing_is_not_penalised():
    model = silenced(made(spline), 1)
    importance.contribution_penalty(model, data(6, features=3)).backward()
    first: Any = first_layer(model)
    assert first.coefficients.grad[:, 1].abs().max() == 0
    assert first.coefficients.grad[:, 0].abs().min() > 0


@pytest.mark.parametrize("order", [1, 2])
def test_coefficients_count_with_their_scalers(order):
    model = made(spline)
    first: Any = model.layers[0]
    with torch.no_grad():
        first.scaler.copy_(torch.rand(4, 3, generator=drawn(6), dtype=F64) - 0.5)
    for j, norm in enumerate(coefficient_norm(model, order)):
        effective = [first.coefficients[o, j, m] * first.scaler[o, j] for o in range(4) for m in range(4)]
        expected = sum(abs(number.item()) ** order for number in effective) ** (1 / order)
        assert norm.item() == pytest.approx(expected, abs=1e-12)


@each_network
def test_sensitivity_is_the_mean_slope_of_the_sum_of_absolute_outputs(make):
    """Sample by sample, from Jacobians."""
    model, x = made(make), data(6, features=3)
    slopes = []
    for one in x:
        jacobian = torch.autograd.functional.jacobian(model, one)
        slopes.append((model(one).sign()[:, None] * jacobian).sum(0).abs())
    torch.testing.assert_close(sensitivity(model, x), torch.stack(slopes).mean(0), **EXACT)


def test_sensitivity_of_a_linear_model_is_its_slope():
    model = nn.Linear(3, 1, bias=False, dtype=F64)
    torch.testing.assert_close(sensitivity(model, data(4, features=3)), model.weight[0].abs(), **EXACT)


def test_sensitivity_of_steps_is_zero():
    steps = BSplineKAN([3, 2], degree=0, base=None)
    assert sensitivity(steps, data(4, features=3, dtype=torch.float32)).tolist() == [0, 0, 0]
    steps.requires_grad_(False)
    assert sensitivity(steps, data(4, features=3, dtype=torch.float32)).tolist() == [0, 0, 0]


@torch.no_grad()
def silenced(model, j):
    """All parameters of the first layer that belong to the input."""
    for name, parameter in first_layer(model).named_parameters():
        if name in ("weight", "base_weight", "coefficients"):
            parameter[:, j] = 0
    return model


@each_network
def test_knocking_out_an_input_is_zeroing_its_parameters(make):
    x = data(6, features=3)

    def loss(outputs):
        return 1 - squares(outputs)  # which some inputs help and others harm

    whole = loss(made(make)(x))
    expected = [(loss(silenced(made(make), j)(x)) - whole).clamp(min=0) for j in range(3)]
    torch.testing.assert_close(knock_out(made(make), x, loss), torch.stack(expected), **EXACT)


def test_an_input_that_harms_has_no_importance():
    model, x = made(spline), data(6, features=3)
    helped, harmed = knock_out(model, x, squares), knock_out(model, x, lambda outputs: -squares(outputs))
    assert (helped * harmed == 0).all()
    assert (helped + harmed > 0).all()


# What they have in common.

EVERY = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)


@EVERY
def test_only_the_input_that_is_used_is_important(score):
    model, x = silenced(silenced(made(spline), 0), 2), data(20, features=3)
    truth = model(x).detach()
    scores = score(model, x, lambda outputs: (outputs - truth).square().mean())
    assert scores[[0, 2]].tolist() == [0, 0]
    assert scores[1] > 0


@EVERY
@pytest.mark.parametrize("batch", [(), (1,), (2, 3)], ids=str)
def test_leading_axes_are_samples(score, batch):
    model, x = made(spline), data(*batch, features=3)
    expected = score(model, x.reshape(-1, 3), squares)
    assert expected.shape == (3,)
    torch.testing.assert_close(score(model, x, squares), expected, **EXACT)


@EVERY
def test_samples_are_seen_in_parts(score, monkeypatch):
    model, x = made(spline), data(7, features=3)
    whole = score(model, x, squares)
    monkeypatch.setattr(importance, "ROWS", 3)
    torch.testing.assert_close(score(model, x, squares), whole, **EXACT)


@EVERY
def test_precision_is_that_of_the_network(score):
    single, x = made(spline, dtype=torch.float32), data(7, features=3)
    scores = score(single, x.float(), squares)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.double(), score(single.double(), x, squares), **SINGLE)


@EVERY
@pytest.mark.parametrize("recording", [True, False])
def test_the_network_stays_as_it_is(score, recording):
    """Batch normalisation would move its averages, dropout would draw, and a hook that stays would change outputs."""
    model = nn.Sequential(BSplineKANLayer(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).double()
    model[3].eval()
    x, state, random = data(6, features=3), copied(model), torch.get_rng_state()
    with torch.set_grad_enabled(recording):
        scores = score(model, x, squares)
    assert identical(state, copied(model))
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model] == [True, True, True, False]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not scores.requires_grad
    assert not x.requires_grad
    assert not first_layer(model)._forward_hooks


def test_modes_and_hooks_are_as_before_after_an_error_too():
    model = made(spline)
    with pytest.raises(ZeroDivisionError):
        knock_out(model, data(6, features=3), lambda outputs: outputs / 0 if 1 / 0 else outputs)
    assert model.training
    assert not first_layer(model)._forward_hooks


# Refusals.


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (MLP([3, 2]), "Identity"),
        (HQKAN(3, 2), "Linear"),
        (nn.Linear(3, 2), "Linear"),
        (SKAN([3, 2]), "SKANLayer"),  # not the first of its spaces, beside which there are others
        (SKAN([3, 2]).prune(), "Chosen"),
    ],
)
def test_networks_that_begin_otherwise_have_no_edges(model, name):
    x = torch.zeros(4, 3)
    for score in (
        lambda: contribution_norm(model, x),
        lambda: knock_out(model, x, squares),
        lambda: coefficient_norm(model),
    ):
        with pytest.raises(TypeError, match=f"must begin with .* `edge_values`.*{name}.*sensitivity is known"):
            score()
    assert sensitivity(model, x).shape == (3,)


@pytest.mark.parametrize("model", [QKAN([3, 2], pz(1)), QKANLayer(3, 2, pz(1))], ids=["network", "layer"])
def test_angles_are_no_magnitudes(model):
    with pytest.raises(TypeError, match=r"must begin with an EdgeLayer.*QKANLayer: take the contribution norm"):
        coefficient_norm(model)


@EVERY
def test_no_samples_have_no_importance(score):
    if score in (SCORES["L1 of coefficients"], SCORES["L2 of coefficients"]):
        return
    with pytest.raises(ValueError, match=r"must have samples, but has shape \(0, 3\)"):
        score(spline([3, 2]), torch.zeros(0, 3, dtype=F64), squares)


def test_other_widths_and_impossible_orders_are_refused():
    model = spline([3, 2])
    for score in (SCORES["L1"], SCORES["SI"], SCORES["KO"]):
        with pytest.raises(ValueError, match=r"must have shape \(\*batch, 3\)"):
            score(model, data(4, features=2), squares)
    for order in (0.5, 0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="`order`"):
            contribution_norm(model, data(4, features=3), order)
        with pytest.raises(ValueError, match="`order`"):
            coefficient_norm(model, order)


def test_a_layer_alone_is_a_network():
    layer, x = FourierKANLayer(3, 2, dtype=F64), data(4, features=3)
    torch.testing.assert_close(contribution_norm(layer, x, 1), layer.edge_values(x).abs().mean((0, 1)), **EXACT)
