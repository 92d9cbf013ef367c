"""Layers start with outputs of mean 0 and variance 1, from a generator that is theirs to name."""

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from circuits import ANSATZE, pz
from models import BF16, F32, F64, IN, OUT, copied, data, drawn, identical
from qkan import DARUAN, QKAN, QKANLayer
from qkan.initialise import FLAT
from qkan.layer import BASES
from tolerances import ENDPOINT, EXACT, QUADRATURE

pytestmark = pytest.mark.usefixtures("seeded")


def moments(function: Callable[[Tensor], Tensor], *, bounded: bool = False) -> tuple[Tensor, Tensor]:
    """Mean and variance of `function(x)` for standard normal x, or uniform x on [-1, 1], by brute force."""
    x = torch.linspace(-1, 1, 40_001, dtype=F64) if bounded else torch.linspace(-10, 10, 4001, dtype=F64)
    density = torch.ones_like(x) if bounded else torch.exp(-(x**2) / 2)
    density[[0, -1]] /= 2
    density /= density.sum()
    values = function(x)
    mean = torch.tensordot(density, values, 1)
    return mean, torch.tensordot(density, (values - mean).square(), 1)


@pytest.mark.parametrize("base", ["silu", None], ids=str)
@pytest.mark.parametrize("inputs", [1, 7])
@pytest.mark.parametrize("share", [None, "out", "in", 1], ids=str)
@pytest.mark.parametrize(
    ("ansatz", "init_scale"),
    [(name, scale) for name in ANSATZE for scale in (0.5, 1.0, math.pi) if name != "px" or scale <= 1],
)
def test_outputs_start_at_mean_0_and_variance_1_half_a_branch_unless_it_is_flat(
    ansatz, share, inputs, init_scale, base
):
    layer = QKANLayer(inputs, 2, ANSATZE[ansatz](3), base=base, share=share, init_scale=init_scale, dtype=F64)
    bounded = ansatz == "px"
    means, variances = moments(lambda x: layer.activation(x[:, None].expand(-1, inputs)), bounded=bounded)
    total = (layer.weight * means).sum(-1) + layer.get_parameter("bias")
    # What counts as flat keeps its weights small instead of its variance.
    raised = (layer.weight.square() * variances.clamp(min=FLAT)).sum(-1)
    parts = [raised]
    assert ((layer.weight.square() * variances).sum(-1) <= raised + 1e-12).all()
    if layer.base_weight is not None:
        mean, variance = moments(nn.functional.silu)
        total = total + layer.base_weight.sum(-1) * mean
        parts.append(layer.base_weight.square().sum(-1) * variance)
    tolerance = ENDPOINT if bounded else QUADRATURE
    torch.testing.assert_close(total, torch.zeros_like(total), **tolerance)
    for part in parts:
        torch.testing.assert_close(part, torch.full_like(part, 1 / len(parts)), **tolerance)


def test_weights_of_flat_activations_stay_small():
    layers = [QKANLayer(1, 4, pz(1), init_scale=0.1, dtype=F64) for _ in range(20)]
    assert max(layer.weight.abs().max().item() for layer in layers) <= math.sqrt(0.5 / FLAT) + 1e-9


@pytest.mark.parametrize("ansatz", ["real", "mix"])
def test_without_angles_real_and_mix_start_as_a_sine(ansatz):
    activation = DARUAN(1, 1, ANSATZE[ansatz](2), init_scale=0.3, init_angle=0.0, dtype=F64)
    x = torch.linspace(-3, 3, 50, dtype=F64)[:, None]
    torch.testing.assert_close(activation(x)[:, 0], -torch.sin(0.6 * x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("init_scale", [1.0, 2.0, math.pi])
@pytest.mark.parametrize("share", [None, "out", "in", 5], ids=str)
@pytest.mark.parametrize("ansatz", [name for name in ANSATZE if name != "px"])
@torch.no_grad()
def test_variance_and_mean_survive_eight_layers(ansatz, share, init_scale):
    x = torch.randn(128, 64)
    for layer in QKAN([64] * 9, circuit=ANSATZE[ansatz](2), share=share, init_scale=init_scale):
        x = layer(x)
        assert 0.5 < x.var(0).mean() < 2
        assert x.mean().abs() < 0.1


@pytest.mark.parametrize("base", [*BASES, torch.sin, nn.PReLU(dtype=F64)], ids=str)
@torch.no_grad()
def test_variance_survives_with_every_base_function(base):
    x = torch.randn(512, 64, dtype=F64)
    for layer in QKAN([64] * 5, circuit=pz(1), base=base, dtype=F64):
        x = layer(x)
        assert 0.5 < x.var(0).mean() < 2
        assert x.mean().abs() < 0.1


def test_a_constant_activation_starts_finite():
    layer = QKANLayer(IN, OUT, pz(0), base=None, dtype=F64)
    assert all(parameter.isfinite().all() for parameter in layer.parameters())
    torch.testing.assert_close(layer(data(4)), torch.zeros(4, OUT, dtype=F64), **EXACT)
    assert QKANLayer(IN, OUT, pz(0))(torch.randn(4, IN)).isfinite().all()


def test_encodings_start_at_init_scale_and_shift_0_and_angles_anywhere():
    slots = DARUAN(20, 20, pz(3), init_scale=2.5).slots()
    assert slots["scale"].eq(2.5).all()
    assert slots["shift"].eq(0).all()
    theta = slots["theta"]
    assert -math.pi <= theta.min() < -3.1
    assert 3.1 < theta.max() <= math.pi
    # 3200 uniform angles: their mean has standard deviation pi / sqrt(3 * 3200) = 0.03, their rms is pi / sqrt(3).
    assert theta.mean().abs() < 0.15
    assert 0.95 < theta.square().mean().sqrt() / (math.pi / math.sqrt(3)) < 1.05


def test_resetting_with_a_generator_is_reproducible_and_leaves_the_global_one_alone():
    layer = QKANLayer(IN, OUT, share=2)
    state = torch.get_rng_state()
    layer.reset_parameters(drawn(7))
    first = copied(layer)
    layer.reset_parameters(drawn(8))
    assert not any(torch.equal(first[name], copied(layer)[name]) for name in ("weight", "base_weight", "bias"))
    layer.reset_parameters(drawn(7))
    assert identical(copied(layer), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_layers_draw_from_the_global_generator_as_torch_layers_do():
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(copied(QKANLayer(IN, OUT)))
    assert identical(*states)
    layer = QKANLayer(IN, OUT)
    assert not torch.equal(layer.weight, states[0]["weight"])
    layer.reset_parameters(drawn(7))
    assert identical(copied(layer), states[0])


def test_layers_and_edges_of_one_model_start_differently():
    first, second = QKAN([4, 4, 4])
    for name in ("weight", "base_weight", "bias", "activation.theta"):
        assert not torch.equal(first.get_parameter(name), second.get_parameter(name))
        assert first.get_parameter(name).unique().numel() == first.get_parameter(name).numel()


def test_building_touches_no_other_generator():
    python, numpy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
    QKAN([3, 4, 1])(torch.zeros(2, 3))
    assert random.getstate() == python
    np.testing.assert_equal(np.random.get_state(legacy=False), numpy)  # noqa: NPY002


@pytest.mark.parametrize("dtype", [F32, BF16], ids=str)
def test_initial_values_do_not_depend_on_the_dtype_but_for_rounding(dtype):
    exact, rounded = QKANLayer(IN, OUT, dtype=F64), QKANLayer(IN, OUT, dtype=dtype)
    for layer in (exact, rounded):
        layer.reset_parameters(drawn(3))
    tolerance = 8 * torch.finfo(dtype).eps
    for name, value in rounded.state_dict().items():
        torch.testing.assert_close(value.double(), exact.get_parameter(name).data, rtol=tolerance, atol=tolerance)
