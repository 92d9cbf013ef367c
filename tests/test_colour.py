"""Colour matching: splines of each pixel's own, a generator of the published size, and the identity at the start."""

import copy

import pytest
import torch
from torch.nn import functional

from classical.bspline import bspline_basis
from classical.colour import CmKAN, PixelSpline, colour_loss, fine_tune, ssim, train_colours
from classical.colour.blocks import AnchoredAttention, haar
from classical.colour.generator import Modulator
from tolerances import EXACT

F64 = torch.float64


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def colours(*shape, dtype=F64, seed=0):
    return torch.rand(*shape, dtype=dtype, generator=drawn(seed))


def draw(*shape, dtype=F64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=drawn(seed))


@torch.no_grad()
def stirred(model):
    """As after training: the last map has weights that are not zero."""
    for seed, parameter in enumerate(model.parameters()):
        parameter.add_(0.1 * draw(*parameter.shape, seed=seed).to(parameter.dtype))
    return model


def light():
    model = CmKAN.light(dtype=F64)
    model.reset_parameters(drawn())
    return stirred(model)


# Splines of a pixel's own.


def plain(function, x, coefficients):
    """By the formula, with all splines."""
    count = function.size
    edges = coefficients.unflatten(-3, (3, 3, count + 2))
    c, v, u = edges[..., :count, :, :], edges[..., count, :, :], edges[..., count + 1, :, :]
    basis = bspline_basis(x, function.grid_size, function.degree, (0.0, 1.0))
    splines = torch.einsum("...oimhw,...ihwm->...oihw", c, basis)
    y = u * functional.silu(x)[..., None, :, :, :] + v * splines
    return y.sum(-3)


@pytest.mark.parametrize("function", [PixelSpline(), PixelSpline(2, 1), PixelSpline(3, 4)])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3), (0,)])
def test_few_splines_are_all_splines(function, batch):
    x = colours(*batch, 3, 4, 5).requires_grad_()
    coefficients = draw(*batch, function.channels, 4, 5).requires_grad_()
    with torch.no_grad():  # the ends and knots between cells, too
        x.view(-1)[:3] = torch.tensor([0.0, 1.0, 0.4])[: x.numel()]
    weight = draw(*x.shape, seed=1)
    fast, slow = function(x, coefficients), plain(function, x, coefficients)
    torch.testing.assert_close(fast, slow, **EXACT)
    gradients = [torch.autograd.grad((weight * y).sum(), (x, coefficients)) for y in (fast, slow)]
    inside = (x > 0) & (x < 1)
    torch.testing.assert_close(gradients[0][0][inside], gradients[1][0][inside], **EXACT)
    torch.testing.assert_close(gradients[0][1], gradients[1][1], **EXACT)


def test_gradients_of_splines_are_those_of_finite_differences():
    inputs = colours(2, 3, 2, 2).requires_grad_(), draw(2, 90, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(PixelSpline(), inputs)


@pytest.mark.parametrize("function", [PixelSpline(), PixelSpline(2, 1), PixelSpline(3, 4)])
def test_splines_start_as_the_identity(function):
    x = torch.linspace(0, 1, 60, dtype=F64).reshape(3, 4, 5)
    coefficients = function.start().to(F64)[:, None, None].expand(-1, 4, 5)
    torch.testing.assert_close(function(x, coefficients), x, rtol=0, atol=1e-7)  # coefficients are float32


def test_outside_of_the_colours_splines_stay_as_at_the_end():
    coefficients = draw(90, 1, 1)
    coefficients.unflatten(0, (3, 3, 10))[:, :, 9] = 0
    ends, outside = torch.tensor([0.0, 1.0, 0.5], dtype=F64), torch.tensor([-3.0, 1.2, 0.5], dtype=F64)
    a, b = (PixelSpline()(x.view(3, 1, 1), coefficients) for x in (ends, outside))
    torch.testing.assert_close(a, b, **EXACT)


def test_nan_travels_to_its_pixel_only():
    x = colours(3, 2, 2)
    x[1, 0, 0] = torch.nan
    y = PixelSpline()(x, draw(90, 2, 2))
    assert y[:, 0, 0].isnan().all()
    assert y.isnan().sum() == 3


# Parts of the generator.


def test_wavelets_keep_lengths_and_angles_and_flat_images():
    x, y = draw(2, 3, 4, 6), draw(2, 3, 4, 6, seed=1)
    torch.testing.assert_close((haar(x) * haar(y)).sum(), (x * y).sum(), **EXACT)
    flat = haar(torch.ones(1, 2, 2, 2, dtype=F64)).flatten()
    assert flat.tolist() == [2, 0, 0, 0, 2, 0, 0, 0]


def test_attention_goes_by_way_of_the_anchors():
    """Head by head, with the matrix between channels written out."""
    layer = stirred(AnchoredAttention(12).double())
    x, light = draw(2, 12, 6, 4), draw(2, 12, 6, 4, seed=1)
    q, k, a = layer.query(x), layer.key(x), layer.anchor(x)
    v = layer.value(x) * light
    mixed = torch.zeros_like(x)
    for n in range(2):
        for h in range(3):
            one, few = slice(4 * h, 4 * h + 4), slice(2 * h, 2 * h + 2)
            qs, ks, each = (part[n].flatten(1) for part in (q[:, one], k[:, one], a[:, few]))
            qs, ks, each = (part / part.square().sum(-1, keepdim=True).sqrt() for part in (qs, ks, each))
            first = torch.softmax(layer.temperature_anchors[h] * qs @ each.T, -1)
            second = torch.softmax(layer.temperature_values[h] * each @ ks.T, -1)
            mixed[n, one] = torch.einsum("ca,ad,dhw->chw", first, second, v[n, one])
    torch.testing.assert_close(layer(x, light), layer.out(mixed), **EXACT)


def test_the_modulator_treats_every_pixel_alone():
    layer = stirred(Modulator(6, 5)).double()
    torch.nn.init.normal_(layer.bank, generator=drawn())
    x = draw(2, 6, 3, 4)
    y = layer(x)
    torch.testing.assert_close(layer(x[..., 1:2, 2:3]), y[..., 1:2, 2:3], **EXACT)
    query, keys = layer.query(x)[1, :, 2, 3], layer.key(layer.bank.T)
    cosines = [torch.cosine_similarity(query, key, dim=0).clamp(min=0) for key in keys]
    expected = sum(cosine * value for cosine, value in zip(cosines, layer.value(layer.bank.T), strict=True))
    torch.testing.assert_close(y[1, :, 2, 3], expected, **EXACT)


# The model.


@pytest.mark.parametrize(("model", "count"), [(CmKAN(), 76_875), (CmKAN.light(), 7_311)])
def test_parameters_are_as_published(model, count):
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize(
    ("levels", "entries", "function"), [(2, 128, PixelSpline()), (1, 7, PixelSpline(3, 2)), (3, 1, PixelSpline())]
)
def test_parameters_are_those_of_the_formula(levels, entries, function):
    blocks = [12 * 4**level for level in range(levels)]
    m, p = 3 + sum(blocks), function.channels
    # Twice as many: 13.5 c^2 + 39.5 c + 6 for a block, and a map of the light.
    twice = sum(27 * c * c + 79 * c + 12 + 2 * c * (light + 1) for light, c in zip([12, *blocks], blocks, strict=False))
    fuse, modulator, write = 2 * m * m + 16 * m, m * entries + 3 * (m * m + m), m * m + 13 * m + p * (m + 1)
    count = sum(parameter.numel() for parameter in CmKAN(levels, entries, function, device="meta").parameters())
    assert count == 1011 + twice // 2 + fuse + modulator + write


@pytest.mark.parametrize("make", [CmKAN, CmKAN.light])
@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 3, 13, 10), (2, 1, 3, 4, 4), (1, 3, 1, 1), (3, 0, 3, 8, 8)])
def test_colours_start_as_they_are(make, shape):
    x = colours(*shape, dtype=torch.float32)
    torch.testing.assert_close(make()(x), x, rtol=0, atol=1e-6)


def test_images_are_independent():
    model, x = light(), colours(2, 2, 3, 6, 4)
    each = torch.stack([model(image) for image in x.flatten(0, 1)])
    torch.testing.assert_close(model(x), each.reshape(x.shape), **EXACT)


def test_an_image_of_odd_size_is_seen_as_if_its_border_went_on():
    model, x = CmKAN(2, 3, dtype=F64), colours(1, 3, 5, 7)
    model.reset_parameters(drawn())
    stirred(model)
    larger = functional.pad(x, (0, 1, 0, 3), mode="replicate")
    torch.testing.assert_close(model(x), model(larger)[..., :5, :7], **EXACT)


def test_what_a_pixel_becomes_depends_on_its_surroundings():
    model, x = light(), torch.full((3, 16, 16), 0.5, dtype=F64)
    before = model(x)[:, 6, 6]
    x[:, :4, :4] = 0
    assert (model(x)[:, 6, 6] - before).abs().max() > 1e-3


def test_gradients_are_those_of_finite_differences():
    model = light()
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (colours(1, 3, 4, 4).requires_grad_(), *values), fast_mode=True)


def test_it_is_traced_as_one_graph():
    model, x = light(), colours(2, 3, 5, 6)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x), **EXACT)


def test_the_generator_alone_decides_what_is_drawn():
    model, states = CmKAN.light(), []
    for seed in (7, 8, 7):
        before = torch.get_rng_state()
        stirred(model).reset_parameters(drawn(seed))
        assert torch.equal(torch.get_rng_state(), before)
        states.append(torch.nn.utils.parameters_to_vector(model.parameters()).clone())
    assert torch.equal(states[0], states[2])
    assert not torch.equal(states[0], states[1])


def test_a_state_dict_carries_the_whole_function():
    model, other, x = light(), CmKAN.light(dtype=F64), colours(1, 3, 6, 6)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))


# Loss and training.


def test_images_are_entirely_like_themselves_and_flat_ones_by_their_levels():
    x = colours(2, 3, 12, 14)
    torch.testing.assert_close(ssim(x, x), torch.tensor(1.0, dtype=F64), **EXACT)
    torch.testing.assert_close(colour_loss(x, x), torch.tensor(0.0, dtype=F64), **EXACT)
    a, b = torch.full((1, 3, 11, 11), 0.3, dtype=F64), torch.full((1, 3, 11, 11), 0.7, dtype=F64)
    alike = torch.tensor((2 * 0.21 + 1e-4) / (0.09 + 0.49 + 1e-4), dtype=F64)
    torch.testing.assert_close(ssim(a, b), alike, **EXACT)
    torch.testing.assert_close(colour_loss(a, b), 0.4 + 0.15 * (1 - alike), **EXACT)


def test_training_lowers_the_loss_and_batches_are_those_of_the_generator():
    x = colours(4, 3, 12, 12, dtype=torch.float32)
    runs = []
    for seed in (1, 1):
        model = CmKAN.light()
        model.reset_parameters(drawn())
        runs.append(train_colours(model, x, 0.7 * x.flip(1), steps=12, batch_size=2, lr=1e-2, generator=drawn(seed)))
    assert runs[0] == runs[1]
    assert runs[0][-1] < 0.7 * runs[0][0]


def test_fine_tuning_helps_on_other_images_and_leaves_the_model_alone():
    model, x = CmKAN.light(), colours(3, 3, 8, 8, dtype=torch.float32)
    model.reset_parameters(drawn())
    state = copy.deepcopy(model.state_dict())
    tuned = fine_tune(model, x[:2], 0.5 + 0.5 * x[:2], steps=10, lr=1e-2)
    held_out = 0.5 + 0.5 * x[2:]
    assert functional.l1_loss(tuned(x[2:]), held_out) < 0.7 * functional.l1_loss(model(x[2:]), held_out)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda: CmKAN(levels=0), ValueError, r"`levels` must be at least 1, but is 0\."),
        (lambda: CmKAN(entries=1.5), TypeError, r"`entries` must be an integer, .* 1\.5\."),  # pyright: ignore
        (lambda: PixelSpline(0), ValueError, r"`grid_size` must be at least 1, but is 0\."),
        (lambda: PixelSpline(5, 0), ValueError, r"`degree` must be at least 1, but is 0\."),
        (lambda: CmKAN.light()(torch.ones(4, 8, 8)), ValueError, r"`x` must have shape \(\*batch, 3, H, W\) with"),
        (lambda: CmKAN.light()(torch.ones(3, 0, 8)), ValueError, r"`x` must have .* but has \(3, 0, 8\)"),
        (lambda: ssim(torch.ones(3, 10, 20), torch.ones(3, 10, 20)), ValueError, r"with sides of 11 or more, but"),
        (lambda: ssim(torch.ones(1, 11, 11), torch.ones(3, 11, 11)), ValueError, r"must have one shape"),
        (lambda: fine_tune(CmKAN.light(), torch.ones(0, 3, 8, 8), torch.ones(0, 3, 8, 8)), ValueError, "with n > 0"),
        (lambda: _trained(steps=0), ValueError, r"`steps` must be at least 1, but is 0\."),
        (lambda: _trained(lr=-1.0), ValueError, r"`lr` must be positive and finite, but is -1\.0\."),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(spoil, error, message):
    with pytest.raises(error, match=message):
        spoil()


def _trained(steps=1, lr=1e-3):
    train_colours(CmKAN.light(), torch.ones(1, 3, 11, 11), torch.ones(1, 3, 11, 11), steps=steps, lr=lr)
