"""An HQKAN is its formula, counts as told, keeps the variance, and stands wherever a linear map stood."""

import io
import math
import re
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck
from torch.func import functional_call

from circuits import pz, rpz
from circuits.derived import TAKES_CONSTANTS
from models import BF16, F32, F64, copied, data, drawn, identical, layers, scrambled
from qkan import HQKAN, QKAN, latent_widths, parameter_count, set_engine
from tolerances import EXACT, SINGLE

pytestmark = pytest.mark.usefixtures("seeded")


# What is computed.


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("latent", [None, (3, 2), (2, 4, 3)], ids=str)
def test_an_hqkan_is_linear_quantum_linear(latent, bias):
    model = scrambled(HQKAN(5, 6, latent, pz(2), bias=bias, dtype=F64))
    x, state = data(2, 3), dict(model.named_parameters())
    add = (lambda name: state[name]) if bias else (lambda name: 0)
    inner = model.latent(x @ state["encoder.weight"].T + add("encoder.bias"))
    torch.testing.assert_close(model(x), inner @ state["decoder.weight"].T + add("decoder.bias"), **EXACT)
    widths = [3, 3] if latent is None else list(latent)
    assert [layer.in_features for layer in layers(model)] + [layers(model)[-1].out_features] == widths


@pytest.mark.parametrize("engine", ["reference", "statevector", "bloch", "spectral"])
def test_an_hqkan_is_the_same_on_every_engine(engine):
    model, x = scrambled(HQKAN(5, 6, share=2, dtype=F64)), data(4)
    expected = model(x)
    torch.testing.assert_close(set_engine(model, engine)(x), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,), (2, 0, 3)], ids=str)
def test_an_hqkan_maps_any_batch(batch):
    assert HQKAN(5, 7)(torch.zeros(*batch, 5)).shape == (*batch, 7)


def test_a_batch_is_mapped_row_by_row():
    model, x = scrambled(HQKAN(5, 4, dtype=F64)), data(2, 3)
    torch.testing.assert_close(model(x)[1, 2], model(x[1, 2]), **EXACT)


def test_linear_parts_and_no_weights_of_activations_make_a_linear_map():
    model = HQKAN(5, 4, [3, 2], base="identity", dtype=F64)
    (layer,), x = layers(model), data(6)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.get_parameter("bias"))
    product = model.decoder.weight @ layer.get_parameter("base_weight") @ model.encoder.weight
    torch.testing.assert_close(model(x), x @ product.T, **EXACT)


def test_arguments_reach_the_latent_layers():
    arguments = rpz(2), "tanh", False, 2, ["scale", "weight"], "reference", 0.5, 1.0, "cpu", F64
    model, twin = HQKAN(9, 8, [4, 3, 2], *arguments), QKAN([4, 3, 2], *arguments)
    assert repr(model.latent) == repr(twin)
    assert model.encoder.bias is None
    assert model.decoder.bias is None
    assert {parameter.dtype for parameter in model.parameters()} == {F64}
    assert all(layer.activation.slots()["scale"].eq(0.5).all() for layer in layers(model))
    assert parameter_count(model.latent) == parameter_count(twin)


# The paper's widths, and counting.


@pytest.mark.parametrize(
    ("features", "width"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (768, 10), (1024, 10), (1025, 11), (2**52 + 1, 53)]
)
def test_latent_widths_are_logarithms_rounded_up(features, width):
    assert latent_widths(features, 2) == [width, 1]
    assert latent_widths(2, features, multiple=4) == [4, 4 * width]
    assert 2 ** (width - 1) < features <= 2**width or features == width == 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("base", ["silu", None])
@pytest.mark.parametrize("latent", [None, [12, 4], [3, 5, 4]], ids=str)
@pytest.mark.parametrize("share", [None, "in", "out", 3], ids=str)
def test_parameters_are_counted_by_a_closed_formula(share, latent, base, bias):
    inputs, outputs, reps = 20, 9, 2
    model = HQKAN(inputs, outputs, latent, pz(reps), base, bias, share)
    widths, c = latent or [5, 4], int(bias)
    slots = 2 * (reps + 1) + 2 * reps
    activations = {None: lambda a, b: a * b, "in": lambda a, b: b, "out": lambda a, b: a, 3: lambda a, b: 3}[share]
    inner = sum((2 if base else 1) * a * b + c * b + slots * activations(a, b) for a, b in pairwise(widths))
    expected = (inputs + c) * widths[0] + inner + (widths[-1] + c) * outputs
    assert sum(parameter_count(model).values()) == expected


def test_the_feed_forward_block_of_gpt2_shrinks_as_counted_by_hand():
    """768 -> 3072 -> 768 with biases, against 768 -> 10, one layer 10 -> 10 of 6 slots an activation, 10 -> 768."""
    mlp = nn.Sequential(nn.Linear(768, 3072), nn.GELU(), nn.Linear(3072, 768))
    counts = [sum(parameter_count(model).values()) for model in (mlp, HQKAN(768, 768), HQKAN(768, 768, share=3))]
    assert counts == [4_722_432, 7690 + 810 + 8448, 7690 + 210 + 18 + 8448]


# Initialisation.


def depth(features: int, blocks: int, seeds: int) -> torch.Tensor:
    """Mean squares of outputs after each of `blocks` HQKANs, `(seeds, blocks)`."""
    rows = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        x, row = torch.randn(200, features), []
        for _ in range(blocks):
            x = HQKAN(features, features)(x)
            row.append(x.square().mean().item())
        rows.append(row)
    return torch.tensor(rows)


def test_standard_normal_inputs_give_outputs_of_mean_zero_and_variance_one():
    """A block spreads by a fifth (measured), the mean of 40 by a thirtieth."""
    torch.manual_seed(0)
    assert abs(depth(64, 1, seeds=40).mean() - 1) < 0.1
    outputs = torch.stack([HQKAN(64, 64)(torch.randn(200, 64)).mean() for _ in range(40)])
    assert abs(outputs.mean()) < 0.05


def test_the_variance_neither_vanishes_nor_explodes_with_depth():
    sizes = depth(256, 5, seeds=10)
    assert 0.6 < sizes[:, -1].mean() < 1.5
    assert (sizes > 0.1).all()
    assert (sizes < 10).all()


@torch.no_grad()
def test_rows_of_the_linear_maps_have_length_one_and_no_bias():
    model = HQKAN(20, 9, dtype=F64)
    for linear in (model.encoder, model.decoder):
        torch.testing.assert_close(linear.weight.square().sum(-1), torch.ones(len(linear.weight), dtype=F64), **EXACT)
        assert not linear.bias.any()


def test_a_generator_fixes_all_parameters():
    model, twin = HQKAN(6, 5), HQKAN(6, 5)
    model.reset_parameters(drawn(3))
    twin.reset_parameters(drawn(3))
    assert identical(copied(model), copied(twin))
    twin.reset_parameters(drawn(4))
    moved = [name for name, value in copied(twin).items() if not value.equal(copied(model)[name])]
    assert moved == [
        "encoder.weight",
        "latent.0.weight",
        "latent.0.base_weight",
        "latent.0.bias",
        "latent.0.activation.theta",
        "decoder.weight",
    ]


# It is a torch module.


def test_a_state_dict_restores_an_hqkan():
    model, other = HQKAN(5, 4, [3, 3, 2]), HQKAN(5, 4, [3, 3, 2])
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    x = data(4, dtype=F32)
    assert not torch.equal(model(x), other(x))
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(model(x), other(x))


def test_a_functional_call_uses_the_parameters_it_is_given():
    model, other, x = HQKAN(5, 4), HQKAN(5, 4), data(4, dtype=F32)
    assert torch.equal(functional_call(model, dict(other.named_parameters()), (x,)), other(x))


def test_meta_hqkans_cost_nothing_until_they_are_filled():
    model = HQKAN(5, 4, device="meta")
    assert model(torch.empty(3, 5, device="meta")).shape == (3, 4)
    model.to_empty(device="cpu").reset_parameters(drawn(1))
    twin = HQKAN(5, 4)
    twin.reset_parameters(drawn(1))
    assert identical(copied(model), copied(twin))


def test_conversions_follow_torch():
    model, x = HQKAN(5, 4), data(6, dtype=F32)
    single = model(x)
    torch.testing.assert_close(model.double()(x.double()), single.double(), **SINGLE)
    half = model.bfloat16()(x.bfloat16())
    assert half.dtype == BF16
    assert (half.float() - single).abs().max() < 0.1 * (1 + single.abs().max())


def test_autocast_computes_in_half_precision_and_trains_in_single():
    model, x = nn.Sequential(HQKAN(5, 8), HQKAN(8, 4)), data(6, dtype=F32)
    with torch.autocast("cpu", BF16):
        y = model(x)
    y.sum().backward()
    assert y.dtype == BF16
    assert all(p.grad is not None and p.grad.dtype == F32 and p.grad.isfinite().all() for p in model.parameters())
    with torch.autocast("cpu", BF16), pytest.raises(TypeError, match=r"`x` is torch\.float64, but the layer is"):
        model(x.double())


def test_gradients_are_finite_differences():
    model = scrambled(HQKAN(3, 2, [2, 2], share=1, dtype=F64))
    names, values = zip(*model.named_parameters(), strict=True)
    leaves = [value.detach().requires_grad_() for value in values]
    x = data(2, features=3).requires_grad_()
    assert gradcheck(lambda x, *state: functional_call(model, dict(zip(names, state, strict=True)), (x,)), (x, *leaves))


@pytest.mark.skipif(not TAKES_CONSTANTS, reason="torch.compile of this version breaks the graph")
def test_an_hqkan_compiles_to_one_graph():
    torch.compiler.reset()
    model, x = HQKAN(5, 4), data(6, dtype=F32)
    expected, actual = model(x), torch.compile(model, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(actual, expected, **SINGLE)
    wanted = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    found = torch.autograd.grad(actual.square().sum(), list(model.parameters()))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_every_family_trains_where_an_mlp_trained():
    torch.manual_seed(1)
    x = torch.randn(128, 8)
    truth = torch.sin(2 * x[:, :2] + x[:, 2:4])
    model = HQKAN(8, 2, latent_widths(8, 2, multiple=2))
    before, optimizer = copied(model), torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), truth)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * truth.var().item()
    assert not any(value.equal(before[name]) for name, value in copied(model).items())


# Refusals.

Model: Any = HQKAN  # what type checkers would refuse is refused at run time too

REFUSED = {
    "an int": (
        lambda: Model(4, 4, latent=8),
        ValueError,
        "`latent` must be None or two or more widths, such as latent_widths(64, 64, multiple=4), but is 8.",
    ),
    "one width": (lambda: Model(4, 4, latent=[8]), ValueError, "`latent` must be None or two or more widths, "),
    "text": (lambda: Model(4, 4, latent="44"), ValueError, "`latent` must be None or two or more widths, "),
    "zero width": (lambda: Model(4, 4, latent=[8, 0]), ValueError, "`latent[1]` must be positive, but is 0."),
    "float width": (lambda: Model(4, 4, latent=[8.0, 2]), TypeError, "`latent[0]` must be an int, but is 8.0."),
    "in_features": (lambda: Model(0, 4), ValueError, "`in_features` must be positive, but is 0."),
    "out_features": (lambda: Model(4, 2.0), TypeError, "`out_features` must be an int, but is 2.0."),
    "multiple": (lambda: latent_widths(4, 4, 0), ValueError, "`multiple` must be positive, but is 0."),
    "groups": (lambda: Model(4, 4, share=3), ValueError, "from 1 to in_features=2, but is 3."),
    "frozen": (lambda: Model(4, 4, frozen="theta"), TypeError, "`frozen` must be a sequence of names"),
    "width": (
        lambda: Model(4, 4)(torch.zeros(3, 5)),
        ValueError,
        "`x` must have shape (*batch, 4), but has shape (3, 5).",
    ),
    "ints": (
        lambda: Model(4, 4)(torch.zeros(3, 4, dtype=torch.long)),
        TypeError,
        "`x` must be real floating-point, but is torch.int64: call .float() on it.",
    ),
    "dtype": (
        lambda: Model(4, 4)(torch.zeros(3, 4, dtype=F64)),
        TypeError,
        "`x` is torch.float64, but the layer is torch.float32: convert one of them.",
    ),
    "dtype on no device": (
        lambda: Model(4, 4, device="meta")(torch.zeros(3, 4, dtype=F64, device="meta")),
        TypeError,
        "`x` is torch.float64, but the layer is torch.float32: convert one of them.",
    ),
    "list": (lambda: Model(4, 4)([0.0] * 4), TypeError, "`x` must be a torch.Tensor, but is a list."),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals_name_argument_and_value(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_an_error_has_the_index_of_the_input_or_the_name_of_the_parameter():
    x = torch.zeros(3, 5)
    x[2, 4] = math.nan
    with pytest.raises(ValueError, match=r"`x` must be finite, but is nan at index \(2, 4\)"):
        HQKAN(5, 4)(x)
    model = HQKAN(5, 4)
    with torch.no_grad():
        model.encoder.weight[1, 3] = math.inf
    with pytest.raises(ValueError, match=r"`encoder.weight` must be finite, but is inf at index \(1, 3\)"):
        model(torch.ones(3, 5))
