"""A KAN convolution is a KAN layer on every patch, with the shapes of `torch.nn.Conv2d`."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from classical import (
    BSplineKANLayer,
    ChebyshevKANLayer,
    FastKANLayer,
    FourierKANLayer,
    KANConv2d,
    ReLUKANLayer,
    SingleParameterKANLayer,
    WaveletKANLayer,
)
from tolerances import EXACT

F64 = torch.float64

pytestmark = pytest.mark.usefixtures("seeded")

LAYERS = {
    "B-splines": BSplineKANLayer,
    "B-splines without a base": partial(BSplineKANLayer, grid_size=2, base=None, scaler=False),
    "Gaussian bells": FastKANLayer,
    "Chebyshev": ChebyshevKANLayer,
    "Fourier": FourierKANLayer,
    "ReLU bumps": ReLUKANLayer,
    "wavelets": partial(WaveletKANLayer, base="tanh"),
    "a parameter on each edge": partial(SingleParameterKANLayer, norm=None),
}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)

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
    "grouped": {"kernel_size": (3, 2), "padding": 1, "groups": 2},
    "all that is left": {"kernel_size": (5, 6)},
}
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)


def image(*batch, channels=4, dtype=F64):
    x = torch.rand(*batch, channels, 5, 6, generator=torch.Generator().manual_seed(1), dtype=F64)
    return (2 * x - 1).to(dtype)


def made(*args, **kwargs):
    model = KANConv2d(*args, **{"dtype": F64, **kwargs})
    model.reset_parameters(torch.Generator().manual_seed(2))
    with torch.no_grad():  # Zeros and ones would hide what is multiplied by them.
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "scaler")):
                parameter.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(3))
    return model


def on_patches(model, x):
    """Kernel position by position: the edges of that position at the pixel there, summed."""
    patches, groups = model.patches, model.groups
    x = functional.pad(x, patches.margins)
    rows = range(0, x.shape[-2] - patches.dilation[0] * (patches.kernel_size[0] - 1), patches.stride[0])
    columns = range(0, x.shape[-1] - patches.dilation[1] * (patches.kernel_size[1] - 1), patches.stride[1])
    y = torch.zeros(len(x), model.out_channels, len(rows), len(columns), dtype=x.dtype)
    y += 0 if model.bias is None else model.bias[:, None, None]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            number = 0
            for down in range(patches.kernel_size[0]):
                for right in range(patches.kernel_size[1]):
                    pixel = x[:, :, row + down * patches.dilation[0], column + right * patches.dilation[1]]
                    edges = model.layer.edge_values(pixel)
                    for o in range(model.out_channels):
                        group, within = divmod(o, model.out_channels // groups)
                        line = edges[:, number * (model.out_channels // groups) + within]
                        y[:, o, i, j] += line.chunk(groups, -1)[group].sum(-1)
                    number += 1
    return y


@each_layer
@pytest.mark.parametrize("name", ["padded", "oblong", "grouped"])
def test_a_convolution_is_a_layer_on_every_patch(make, name):
    model, x = made(4, 6, make=make, **GEOMETRIES[name]), image(2)
    torch.testing.assert_close(model(x), on_patches(model, x), **EXACT)


@each_geometry
def test_every_geometry_is_that_of_its_patches(geometry):
    model, x = made(4, 2, make=LAYERS["B-splines without a base"], **geometry), image(1)
    torch.testing.assert_close(model(x), on_patches(model, x), **EXACT)


@each_layer
def test_it_is_the_layer_of_all_entries_of_the_unfolded_patches(make):
    """One layer of 9 times 2 inputs, whose basis is the same at all positions, holds the same numbers."""
    model, x = made(2, 3, 3, padding=1, make=make, bias=False), image(2, channels=2)
    unfolded = make(18, 3).double()
    model.layer.norm = unfolded.norm = None
    for name, parameter in model.layer.basis.named_parameters():
        unfolded.basis.get_parameter(name).data = parameter.data.repeat(9, 1)
    unfolded.coefficients.data = model.layer.weights().data.unflatten(0, (9, 3)).transpose(0, 1).flatten(1, 2)
    if model.layer.base_weight is not None:
        unfolded.base_weight.data = model.layer.base_weight.data.unflatten(0, (9, 3)).transpose(0, 1).flatten(1)
    patches = functional.unfold(x, 3, padding=1).unflatten(1, (2, 9)).permute(0, 3, 2, 1).flatten(2)
    torch.testing.assert_close(model(x), unfolded(patches).transpose(1, 2).unflatten(2, (5, 6)), **EXACT)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@each_geometry
def test_a_convolution_of_linear_functions_is_that_of_torch(geometry):
    convolution, x = nn.Conv2d(4, 6, dtype=F64, **geometry), image(3).requires_grad_()
    model = made(4, 6, make=partial(SingleParameterKANLayer, base="identity", norm=None), **geometry)
    groups = model.groups
    weight = convolution.weight.detach().unflatten(0, (groups, -1)).permute(3, 4, 1, 0, 2)
    with torch.no_grad():
        model.layer.coefficients.zero_()
        model.layer.get_parameter("base_weight").copy_(weight.flatten(3, 4).flatten(0, 2))
        model.get_parameter("bias").copy_(convolution.get_parameter("bias"))
    expected, actual = convolution(x), model(x)
    torch.testing.assert_close(actual, expected, **EXACT)
    (wanted,), (found,) = (torch.autograd.grad(y.sin().sum(), x) for y in (expected, actual))
    torch.testing.assert_close(found, wanted, **EXACT)
    assert model(image()).shape == convolution(image()).shape
    assert model(image(0)).shape == convolution(image(0)).shape


def test_a_padded_zero_has_the_value_of_the_function_there():
    """cos(0) = 1 nine times over nothing, not 0; at a corner of an image of pi, five of them are padding."""
    model = made(1, 1, 3, padding=1, bias=False, make=partial(FourierKANLayer, degree=1))
    model.layer.coefficients.data = torch.tensor([1.0, 0.0], dtype=F64).expand(9, 1, 2)
    torch.testing.assert_close(model(torch.zeros(1, 4, 4, dtype=F64)), torch.full((1, 4, 4), 9.0, dtype=F64), **EXACT)
    y = model(torch.full((1, 4, 4), torch.pi, dtype=F64))[0]
    torch.testing.assert_close(y[1, 1].item(), -9.0, **EXACT)
    torch.testing.assert_close(y[0, 0].item(), 5.0 - 4.0, **EXACT)


def test_moving_the_image_moves_the_result():
    model, x = made(4, 3, 2), image(2)
    torch.testing.assert_close(model(x.roll((1, 2), (-2, -1)))[..., 1:, 2:], model(x)[..., :-1, :-2], **EXACT)


@pytest.mark.parametrize(
    ("make", "edge", "channel"),
    [
        (BSplineKANLayer, 10, 0),
        (FastKANLayer, 9, 2),
        (ChebyshevKANLayer, 4, 0),
        (FourierKANLayer, 10, 0),
        (ReLUKANLayer, 6, 12),
        (WaveletKANLayer, 3, 6),
        (SingleParameterKANLayer, 1, 2),
    ],
)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_parameters_are_those_of_the_formula(make, edge, channel, groups, bias):
    model = KANConv2d(4, 6, (3, 2), groups=groups, make=make, bias=bias)
    count = 3 * 2 * 4 * 6 // groups * edge + 4 * channel + 6 * bias
    assert sum(parameter.numel() for parameter in model.parameters()) == count == model.cost(5, 6).parameters


@each_layer
@pytest.mark.parametrize("name", ["oblong", "grouped"])
def test_operations_are_what_is_counted(make, name):
    """Those of products by torch's counter; functions once for each pixel, padded ones included."""
    model = KANConv2d(4, 6, make=make, **GEOMETRIES[name])
    with FlopCounterMode(display=False) as counter:
        model(image(2, dtype=torch.float32))
    left, right, above, below = model.patches.margins
    one = model.layer.cost()
    products = 2 * model.layer.coefficients.numel()
    products += 0 if model.layer.base_weight is None else 2 * model.layer.base_weight.numel()
    scalers = 0 if model.layer.scaler is None else model.layer.coefficients.numel()
    functions = (5 + above + below) * (6 + left + right) * (one.flops - products - scalers)
    assert counter.get_total_flops() == 2 * (model.cost(5, 6).flops - functions - scalers)


@each_layer
@pytest.mark.parametrize("groups", [1, 4])
def test_images_keep_their_scale_through_many_convolutions(make, groups):
    layers = [KANConv2d(16, 16, 3, padding=1, groups=groups, make=make) for _ in range(4)]
    for number, layer in enumerate(layers):
        layer.reset_parameters(torch.Generator().manual_seed(number))
    nodes, weights = layers[0].layer.basis.inputs()
    x = ((weights * nodes.square()).sum().sqrt() * torch.randn(8, 16, 12, 12, dtype=F64)).float()
    y = nn.Sequential(*layers)(x)[..., 4:-4, 4:-4]
    assert 0.4 < (y.square().mean() / x.square().mean()).item() < 2.5


@each_layer
def test_gradients_are_those_of_finite_differences(make):
    model = made(2, 2, 2, padding=1, groups=2, make=make)
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    x = image(1, channels=2)[..., :2, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(function, (x, *values))


@each_layer
def test_it_is_a_module_like_any_other(make):
    model, other, x = made(4, 2, 2, make=make), KANConv2d(4, 2, 2, make=make, dtype=F64), image(2)
    assert not torch.equal(other(x), model(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    torch.testing.assert_close(model(x)[1], model(x[1]), **EXACT)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(x), model(x), **EXACT)
    empty = torch.empty(0, 4, 5, 6, dtype=F64, requires_grad=True)
    model(empty).sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


def test_device_and_dtype_reach_every_parameter():
    model = KANConv2d(4, 2, 3, make=ReLUKANLayer, device="meta", dtype=F64)
    assert {(p.device.type, p.dtype) for p in model.parameters()} == {("meta", F64)}
    assert model(torch.empty(4, 5, 6, device="meta", dtype=F64)).shape == (2, 3, 4)


def test_its_representation_tells_its_geometry():
    shown = repr(KANConv2d(2, 4, 3, padding="same", groups=2))
    assert shown.startswith("KANConv2d(\n  2, 4, kernel_size=(3, 3), stride=(1, 1), padding='same', dilation=(1, 1), ")
    assert "(layer): BSplineKANLayer(\n    2, 18, " in shown


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: KANConv2d(0, 1, 3), ValueError, r"`in_channels` must be at least 1, but is 0\."),
        (lambda: KANConv2d(1, 1.0, 3), TypeError, r"`out_channels` must be an integer, .*, but is 1\.0\."),  # pyright: ignore
        (lambda: KANConv2d(1, 1, 0), ValueError, r"`kernel_size` must be an int of at least 1 or .*, but is 0\."),
        (lambda: KANConv2d(1, 1, (3,)), ValueError, r"`kernel_size` must be .* a pair of them, but is \(3,\)\."),  # pyright: ignore
        (lambda: KANConv2d(1, 1, 3, 1.5), ValueError, r"`stride` must be an int of at least 1 .*, but is 1\.5\."),  # pyright: ignore
        (lambda: KANConv2d(1, 1, 3, padding=-1), ValueError, r"`padding` must be an int of at least 0 .*, but is -1\."),
        (lambda: KANConv2d(1, 1, 3, padding="full"), ValueError, r"`padding` must be .* or 'valid', but is 'full'\."),  # pyright: ignore
        (lambda: KANConv2d(1, 1, 3, 2, "same"), ValueError, r"`stride` must be 1 with padding='same', but is 2\."),
        (lambda: KANConv2d(4, 6, 3, groups=4), ValueError, r"`groups` must divide in_channels=4 and .*, but is 4\."),
        (lambda: KANConv2d(1, 1, 3, make=nn.Linear), TypeError, r"`make` must make an EdgeLayer, .* makes Linear"),  # pyright: ignore
        (
            lambda: KANConv2d(4, 1, 3, make=lambda inputs, outputs: FastKANLayer(outputs, 3)),
            ValueError,
            r"`make` must make a layer of \(4, 9\) features, but makes FastKANLayer\(\n  9, 3",
        ),
        (lambda: KANConv2d(1, 1, 3, make=FastKANLayer), ValueError, r"`norm` must not be 'layer' for 1 input"),
        (lambda: KANConv2d(4, 1, 3)(image(channels=3)), ValueError, r"\(N, C, H, W\) with C = 4, but has \(3, 5, 6\)"),
        (lambda: KANConv2d(4, 1, 3)(torch.ones(4, 5)), ValueError, r"`x` must have shape \(C, H, W\) or .* \(4, 5\)"),
        (lambda: KANConv2d(4, 1, 7)(image()), ValueError, r"`x` must be no smaller than a patch, 7 x 7, but is 5 x 6"),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
