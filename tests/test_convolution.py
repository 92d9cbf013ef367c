"""A QKAN convolution is a QKAN layer on every patch, with the shapes of `torch.nn.Conv2d`."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.func import functional_call

from circuits import pz
from models import BF16, COSINE, F32, F64, copied, drawn, identical, scrambled
from qkan import QKANConv2d, QKANLayer, parameter_count, set_engine
from tolerances import EXACT, SINGLE

pytestmark = pytest.mark.usefixtures("seeded")

GEOMETRIES = {
    "plain": {"kernel_size": 3},
    "one pixel": {"kernel_size": 1},
    "padded": {"kernel_size": 3, "padding": 1},
    "strided": {"kernel_size": 2, "stride": 2},
    "dilated": {"kernel_size": 2, "dilation": 3},
    "same": {"kernel_size": 3, "padding": "same"},
    "same, even": {"kernel_size": (4, 2), "padding": "same", "dilation": (1, 3)},
    "valid": {"kernel_size": (1, 3), "padding": "valid"},
    "oblong": {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)},
    "all that is left": {"kernel_size": (5, 6)},
}
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)


def image(*batch: int, channels: int = 2, dtype: torch.dtype = F64) -> Tensor:
    return (2 * torch.rand(*batch, channels, 5, 6, generator=drawn(1), dtype=F64) - 1).to(dtype)


def twin(convolution: nn.Conv2d, geometry: dict[str, Any]) -> QKANConv2d:
    """The convolution with its weight as base_weight, and activations of weight 0."""
    quantum = QKANConv2d(2, 3, base="identity", dtype=F64, **geometry)
    nn.init.zeros_(quantum.layer.weight)
    with torch.no_grad():
        quantum.layer.get_parameter("base_weight").copy_(convolution.weight.permute(0, 2, 3, 1).flatten(1))
        quantum.layer.get_parameter("bias").copy_(convolution.get_parameter("bias"))
    return quantum


# What is computed.


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@each_geometry
def test_a_convolution_of_linear_activations_is_that_of_torch(geometry):
    convolution = nn.Conv2d(2, 3, dtype=F64, **geometry)
    x = image(4).requires_grad_()
    expected, actual = convolution(x), twin(convolution, geometry)(x)
    torch.testing.assert_close(actual, expected, **EXACT)
    (wanted,), (found,) = (torch.autograd.grad(y.sin().sum(), x) for y in (expected, actual))
    torch.testing.assert_close(found, wanted, **EXACT)


@pytest.mark.parametrize("share", [None, "out", "in", 2, 3], ids=str)
def test_a_convolution_is_a_layer_on_every_patch(share):
    model = scrambled(QKANConv2d(2, 3, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2), share=share, dtype=F64))
    x = image(2)
    padded = torch.zeros(2, 2, 7, 8, dtype=F64)
    padded[:, :, 1:-1, 1:-1] = x
    y = model(x)
    assert y.shape == (2, 3, 3, 6)
    for row in range(3):
        for column in range(6):
            # Kernel rows, then kernel columns, then channels.
            entries = [padded[:, c, 2 * row + i, column + 2 * j] for i in range(3) for j in range(2) for c in range(2)]
            torch.testing.assert_close(y[:, :, row, column], model.layer(torch.stack(entries, -1)), **EXACT)


def test_a_padded_zero_has_the_value_of_the_activation_there():
    """cos(0) = 1 nine times in the middle of nothing, not 0; and the same at a corner, where most of it is padding."""
    model = QKANConv2d(1, 1, 3, padding=1, circuit=COSINE, base=None, bias=False, dtype=F64)
    nn.init.ones_(model.layer.weight)
    torch.testing.assert_close(model(torch.zeros(1, 4, 4, dtype=F64)), torch.full((1, 4, 4), 9.0, dtype=F64), **EXACT)
    x = torch.full((1, 4, 4), math.pi, dtype=F64)
    y = model(x)[0]
    torch.testing.assert_close(y[1, 1].item(), -9.0, **EXACT)
    torch.testing.assert_close(y[0, 0].item(), 5.0 - 4.0, **EXACT)


@pytest.mark.parametrize("engine", ["reference", "statevector", "bloch", "spectral"])
def test_a_convolution_is_the_same_on_every_engine(engine):
    model, x = scrambled(QKANConv2d(2, 3, 2, dtype=F64)), image(2)
    expected = model(x)
    torch.testing.assert_close(set_engine(model, engine)(x), expected, rtol=0, atol=1e-9)


def test_one_activation_a_channel_is_a_function_of_the_channel_and_then_a_convolution():
    model = scrambled(QKANConv2d(2, 3, 3, padding="valid", share=2, base=None, dtype=F64))
    assert parameter_count(model) == {"theta": 2 * 4, "scale": 2, "shift": 2, "weight": 3 * 2 * 9, "bias": 3}
    x = image(4)
    channels = torch.stack([model.layer.activation(x[:, c].reshape(-1, 1).expand(-1, 18))[:, 0, c] for c in range(2)])
    mapped = channels.reshape(2, 4, 5, 6).transpose(0, 1)
    kernel = model.layer.weight.unflatten(1, (3, 3, 2)).permute(0, 3, 1, 2)
    expected = nn.functional.conv2d(mapped, kernel, model.layer.bias)
    torch.testing.assert_close(model(x), expected, **EXACT)


def test_moving_the_image_moves_the_result():
    model, x = scrambled(QKANConv2d(2, 3, 3, dtype=F64)), image(2)
    torch.testing.assert_close(model(x.roll((1, 2), (-2, -1)))[..., 1:, 2:], model(x)[..., :-1, :-2], **EXACT)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@each_geometry
def test_shapes_are_those_of_torch(geometry):
    model, convolution = QKANConv2d(2, 3, **geometry), nn.Conv2d(2, 3, **geometry)
    for x in (image(4, dtype=F32), image(dtype=F32), image(0, dtype=F32)):
        assert model(x).shape == convolution(x).shape
    torch.testing.assert_close(model(image(4, dtype=F32))[1], model(image(4, dtype=F32)[1]), **SINGLE)


def test_arguments_reach_the_layer():
    arguments = pz(2), "tanh", False, 4, ["scale", "weight"], "reference", 0.5, 0.25, "cpu", F64
    model = QKANConv2d(2, 3, (3, 2), 1, 0, 1, *arguments)
    assert repr(model.layer) == repr(QKANLayer(12, 3, *arguments))
    assert model.layer.activation.slots()["scale"].eq(0.5).all()
    assert parameter_count(model) == parameter_count(QKANLayer(12, 3, *arguments))
    assert repr(model).startswith(
        "QKANConv2d(\n  2, 3, kernel_size=(3, 2), stride=(1, 1), padding=0, dilation=(1, 1)\n  (layer): QKANLayer("
    )


def test_standard_normal_images_give_images_of_variance_one():
    outputs = torch.stack([QKANConv2d(3, 16, 3)(torch.randn(8, 3, 12, 12)) for _ in range(10)])
    assert abs(outputs.mean()) < 0.05
    assert abs(outputs.var() - 1) < 0.05


# It is a torch module.


def test_a_state_dict_restores_a_convolution():
    model, other, x = QKANConv2d(2, 3, 2), QKANConv2d(2, 3, 2), image(2, dtype=F32)
    assert not torch.equal(model(x), other(x))
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(model(x), other(x))
    assert torch.equal(functional_call(QKANConv2d(2, 3, 2), dict(model.named_parameters()), (x,)), model(x))


def test_meta_convolutions_cost_nothing_until_they_are_filled():
    model = QKANConv2d(2, 3, 3, padding="same", device="meta")
    assert model(image(4).to("meta", F32)).shape == (4, 3, 5, 6)
    model.to_empty(device="cpu").reset_parameters(drawn(1))
    filled = QKANConv2d(2, 3, 3)
    filled.reset_parameters(drawn(1))
    assert identical(copied(model), copied(filled))


def test_half_precision_and_autocast():
    model, x = QKANConv2d(2, 3, 3), image(2, dtype=F32)
    single = model(x)
    with torch.autocast("cpu", BF16):
        y = model(x)
    y.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == F32 for p in model.parameters())
    half = model.bfloat16()(x.bfloat16())
    assert y.dtype == half.dtype == BF16
    for rounded in (y, half):
        assert (rounded.float() - single).abs().max() < 2.0**-5 * (1 + single.abs().max())


def test_gradients_are_finite_differences():
    model = scrambled(QKANConv2d(1, 2, 2, padding=1, share=2, dtype=F64))
    names, values = zip(*model.named_parameters(), strict=True)
    x = image(channels=1)[:, :2, :2].clone().requires_grad_()
    leaves = [value.detach().requires_grad_() for value in values]
    assert gradcheck(lambda x, *state: functional_call(model, dict(zip(names, state, strict=True)), (x,)), (x, *leaves))


# Refusals.

Model: Any = QKANConv2d  # what type checkers would refuse is refused at run time too

REFUSED = {
    "channels": (lambda: Model(0, 3, 2), ValueError, "`in_channels` must be positive, but is 0."),
    "out": (lambda: Model(2, 1.0, 2), TypeError, "`out_channels` must be an int, but is 1.0."),
    "kernel": (
        lambda: Model(2, 3, 0),
        ValueError,
        "`kernel_size` must be an int of at least 1 or a pair of them, but is 0.",
    ),
    "kernel of three": (lambda: Model(2, 3, (3, 3, 3)), ValueError, "pair of them, but is (3, 3, 3)."),
    "bool": (lambda: Model(2, 3, True), ValueError, "or a pair of them, but is True."),
    "stride": (lambda: Model(2, 3, 2, stride=0), ValueError, "`stride` must be an int of at least 1"),
    "dilation": (lambda: Model(2, 3, 2, dilation=(1, 0.5)), ValueError, "`dilation` must be an int of at least 1"),
    "padding": (lambda: Model(2, 3, 2, padding=-1), ValueError, "`padding` must be an int of at least 0"),
    "padding by name": (
        lambda: Model(2, 3, 2, padding="full"),
        ValueError,
        "`padding` must be an int, a pair of ints, 'same' or 'valid', but is 'full'.",
    ),
    "same and stride": (
        lambda: Model(2, 3, 2, stride=2, padding="same"),
        ValueError,
        "`stride` must be 1 with padding='same', but is (2, 2).",
    ),
    "groups": (lambda: Model(2, 3, 2, share=9), ValueError, "from 1 to in_features=8, but is 9."),
    "wrong channels": (
        lambda: Model(3, 1, 2)(torch.zeros(4, 2, 5, 5)),
        ValueError,
        "`x` must have shape (C, H, W) or (N, C, H, W) with C = 3, but has shape (4, 2, 5, 5).",
    ),
    "no channels": (lambda: Model(3, 1, 2)(torch.zeros(5, 5)), ValueError, "with C = 3, but has shape (5, 5)."),
    "small": (
        lambda: Model(3, 1, 3, padding=1, dilation=4)(torch.zeros(3, 6, 9)),
        ValueError,
        "`x` must be no smaller than a patch, 9 x 9, but is 8 x 11 with its padding",
    ),
    "list": (lambda: Model(3, 1, 2)([1.0]), TypeError, "`x` must be a torch.Tensor, but is a list."),
    "ints": (
        lambda: Model(3, 1, 2)(torch.zeros(3, 5, 5, dtype=torch.int64)),
        TypeError,
        "`x` must be real floating-point, but is torch.int64",
    ),
    "dtype": (
        lambda: Model(3, 1, 2)(torch.zeros(3, 5, 5, dtype=F64)),
        TypeError,
        "`x` is torch.float64, but the layer is torch.float32",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals_name_argument_and_value(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_an_error_has_the_index_of_the_pixel():
    x = torch.zeros(2, 3, 5, 5)
    x[1, 2, 3, 4] = math.nan
    with pytest.raises(ValueError, match=r"`x` must be finite, but is nan at index \(1, 2, 3, 4\)"):
        QKANConv2d(3, 1, 2)(x)
