"""Rational activations: their closed form, hand-made gradients, and what is kept for the backward."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call, jacrev, vmap
from torch.nn import functional

from classical import Rational, rational_fit, rational_function
from classical.checks import ACTIVATIONS
from classical.rational_fit import FITTED, fitted, least_squares
from classical.rational_function import plain_rational, rational
from tolerances import EXACT, ROUNDED

F64 = torch.float64

FORM = pytest.mark.parametrize("form", ["A", "B"])
SHAPES = [(1, 1, 8), (2, 4, 8), (3, 197, 192), (16,), (0, 8), (5, 24), (2, 3, 5, 16)]


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=drawn(seed))


def away(x):
    """At least 0.05 away from zero, where moduli have a kink."""
    return x + 0.05 * torch.where(x < 0, -1.0, 1.0)


def problem(*shape, groups=(1, 8), degrees=(5, 4), dtype=F64) -> tuple[Tensor, Tensor, Tensor]:
    """Samples and coefficients, all to be differentiated."""
    tensors = draw(*shape), draw(groups[0], degrees[0] + 1, seed=1), draw(groups[1], degrees[1], seed=2)
    x, a, b = (away(tensor).to(dtype).requires_grad_() for tensor in tensors)
    return x, a, b


def gradients(function, tensors, form):
    pull = draw(*tensors[0].shape, seed=3).to(tensors[0].dtype)
    return torch.autograd.grad(function(*tensors, form), tensors, pull)


# The function.


@FORM
@pytest.mark.parametrize(
    ("groups", "degrees"), [((1, 8), (5, 4)), ((4, 1), (3, 2)), ((2, 16), (1, 1)), ((16, 4), (2, 6))]
)
def test_it_is_a_quotient_of_polynomials_for_each_group(form, groups, degrees):
    x, a, b = problem(7, 16, groups=groups, degrees=degrees)
    y = rational(x, a, b, form)
    for channel in range(16):
        a_c, b_c, x_c = a[channel * groups[0] // 16], b[channel * groups[1] // 16], x[:, channel]
        if form == "A":
            h = torch.stack([b_c[j].abs() * x_c.abs() ** (j + 1) for j in range(degrees[1])]).sum(0)
        else:
            h = torch.stack([b_c[j] * x_c ** (j + 1) for j in range(degrees[1])]).sum(0).abs()
        expected = sum(a_c[i] * x_c**i for i in range(degrees[0] + 1)) / (1 + h)
        torch.testing.assert_close(y[:, channel], expected, rtol=1e-12, atol=1e-12)


@FORM
def test_the_denominator_never_vanishes(form):
    x, b = torch.linspace(-50, 50, 1001, dtype=F64)[:, None], 10 * draw(1, 4)
    inverse = rational(x, torch.tensor([[1.0, 0.0]], dtype=F64), b, form)
    assert (inverse > 0).all()
    assert (inverse <= 1).all()


# Gradients.


@FORM
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("chunk", [2**16, 40])
def test_the_fast_path_equals_the_plain_one_in_value_and_every_gradient(form, shape, chunk, monkeypatch):
    monkeypatch.setattr(rational_function, "CHUNK", chunk)
    tensors = problem(*shape)
    torch.testing.assert_close(rational(*tensors, form), plain_rational(*tensors, form), **EXACT)
    fast, plain = gradients(rational, tensors, form), gradients(plain_rational, tensors, form)
    torch.testing.assert_close(fast, plain, rtol=1e-11, atol=1e-11)


@FORM
@pytest.mark.parametrize("shape", [(2, 4, 8), (3, 197, 192)])
def test_in_single_precision_it_is_as_good(form, shape):
    tensors = problem(*shape, dtype=torch.float32)
    exact = gradients(plain_rational, [tensor.double() for tensor in tensors], form)
    for single, double in zip(gradients(rational, tensors, form), exact, strict=True):
        assert single.dtype == torch.float32
        assert (single - double).norm() <= 2e-6 * double.norm()


@FORM
@pytest.mark.parametrize(("shape", "degrees"), [((3, 8), (5, 4)), ((2, 1, 2, 4), (2, 1)), ((4,), (1, 3))])
def test_gradients_are_those_of_finite_differences_once_and_twice(form, shape, degrees):
    tensors = problem(*shape, groups=(2, 4), degrees=degrees)
    assert torch.autograd.gradcheck(partial(rational, form=form), tensors)
    assert torch.autograd.gradgradcheck(partial(rational, form=form), tensors)


@FORM
def test_views_are_as_good_as_copies(form):
    _, a, b = problem(1, 8)
    for view in (draw(8, 5).T, draw(5, 4, 16)[..., ::2], draw(3, 8, 4).transpose(1, 2), draw(8).expand(4, 8)):
        copy = view.contiguous().requires_grad_()
        view = view.detach().requires_grad_()
        torch.testing.assert_close(rational(view, a, b, form), rational(copy, a, b, form), **EXACT)
        torch.testing.assert_close(gradients(rational, (view, a, b), form), gradients(rational, (copy, a, b), form))


@FORM
def test_denominators_that_start_at_zero_learn(form):
    x, rest = draw(50, 8).requires_grad_(), Rational(8, "identity", form=form, dtype=F64)
    assert not rest.denominator.any()
    rest(x).sum().backward()
    powers = torch.stack([x.abs() ** j if form == "A" else x**j for j in range(1, 5)]).detach()
    assert rest.denominator.grad is not None
    torch.testing.assert_close(rest.denominator.grad, -(x * powers).sum(1).T.detach(), rtol=1e-10, atol=1e-10)
    (slope,) = torch.autograd.grad(rest(x).sum(), x)
    assert torch.equal(slope, torch.ones_like(x))


def test_gradients_are_the_same_bits_in_every_run():
    tensors = problem(6, 197, 192, dtype=torch.float32)
    first, second = (gradients(rational, tensors, "A") for _ in range(2))
    assert all(map(torch.equal, first, second))


def one_after_the_other(terms, groups):
    """Sums in float32 as atomic additions make them, `(k, rows, channels) -> (groups, k)`; each addition rounds."""
    columns = terms.float().unflatten(-1, (groups, -1)).movedim(2, 0).flatten(2).numpy()
    return torch.from_numpy(np.add.accumulate(columns, axis=-1)[..., -1]).double()


@pytest.mark.parametrize("pull", [lambda y: y.detach(), lambda y: draw(*y.shape, seed=4).float()], ids=["y", "noise"])
def test_gradients_of_coefficients_are_much_better_than_sums_one_after_the_other(pull):
    """In a batch of 16 images of 197 tokens, of a mean of squares and of noise, most of which cancels in the sums."""
    tensors = problem(16 * 197, 192, dtype=torch.float32)
    y = rational(*tensors)
    pull = pull(y)
    fast = torch.autograd.grad(y, tensors, pull)[1:]
    x, a, b = (tensor.detach().double() for tensor in tensors)
    q = rational(x, torch.eye(1, 6, dtype=F64), b).reciprocal()
    f = rational(x, a, b)
    by_a = torch.stack([pull * x**i / q for i in range(6)])
    by_b = torch.stack([-pull * f / q * x.abs() ** j for j in range(1, 5)])
    by_b *= b.sign().T.repeat_interleave(24, 1)[:, None]
    for found, terms, groups in ((fast[0], by_a, 1), (fast[1], by_b, 8)):
        right = terms.unflatten(-1, (groups, -1)).sum((1, 3)).T
        assert (found - right).norm() < (one_after_the_other(terms, groups) - right).norm() / 50
        torch.testing.assert_close(found, right.float(), rtol=2**-23, atol=0)  # rounded once


# Memory.


def kept(function):
    """Numbers that autograd keeps, parameters and inputs included, each storage once."""
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(storages.values())


@FORM
def test_it_keeps_a_quarter_of_what_torch_would(form):
    tensors = problem(4, 197, 192, dtype=torch.float32)
    fast, plain = (kept(partial(function, *tensors, form)) for function in (rational, plain_rational))
    assert fast <= 1.01 * tensors[0].numel() * 4  # the input, and some coefficients
    assert fast <= plain / 4


def partitioned(graph, inputs):
    """A backend that does as torch's compiler until there are two graphs, and runs these as they are."""
    from functorch.compile import make_boxed_func
    from torch._inductor.compile_fx import compile_fx

    as_it_is: Any = lambda part, inputs, **options: make_boxed_func(part.forward)  # noqa: E731
    return compile_fx(graph, inputs, inner_compile=as_it_is)


@FORM
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own code
def test_a_compiler_keeps_no_more(form):
    """Which may keep from the forward what the backward has in common."""
    tensors = problem(4, 197, 192, dtype=torch.float32)
    compiled = torch.compile(rational, fullgraph=True, backend=partitioned)
    assert kept(partial(compiled, *tensors, form)) <= 1.01 * tensors[0].numel() * 4


# Transformations.


@FORM
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch instantiates it, tracing
def test_it_compiles_into_one_graph_with_its_gradients(form, backend):
    tensors = problem(3, 5, 16)
    compiled = torch.compile(partial(rational, form=form), fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(*tensors), plain_rational(*tensors, form), **EXACT)
    found = gradients(lambda *arguments: compiled(*arguments[:-1]), tensors, form)
    torch.testing.assert_close(found, gradients(plain_rational, tensors, form), rtol=1e-11, atol=1e-11)


@FORM
@pytest.mark.parametrize("mapped", [(0, None, None), (None, 0, None), (0, 0, 0), (1, None, 0)])
def test_it_is_mapped_over(form, mapped):
    shapes = [(3, 3, 8), (3, 1, 6), (3, 8, 4)]
    x, a, b = (draw(*(shape if dim is not None else shape[1:])) for shape, dim in zip(shapes, mapped, strict=True))
    fast, plain = (partial(function, form=form) for function in (rational, plain_rational))
    torch.testing.assert_close(vmap(fast, mapped)(x, a, b), vmap(plain, mapped)(x, a, b), **EXACT)


@FORM
def test_jacobians_are_those_of_the_plain_path_in_every_way_to_ask(form):
    tensors = tuple(problem(2, 8))
    fast, plain = (partial(function, form=form) for function in (rational, plain_rational))
    right = torch.autograd.functional.jacobian(plain, tensors)
    torch.testing.assert_close(jacrev(fast, (0, 1, 2))(*tensors), right, **EXACT)
    for vectorize in (False, True):
        found = torch.autograd.functional.jacobian(fast, tensors, vectorize=vectorize)
        torch.testing.assert_close(found, right, **EXACT)


def test_it_is_called_with_other_parameters():
    layer, x = Rational(8, "silu", dtype=F64), draw(5, 8)
    others = {"numerator": draw(1, 6), "denominator": draw(8, 4)}
    torch.testing.assert_close(
        functional_call(layer, others, (x,)), rational(x, others["numerator"], others["denominator"]), **EXACT
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("coefficients", ["single", "half"])
def test_half_precision_is_computed_in_single_and_rounded_once(dtype, coefficients):
    x = draw(40, 8).to(dtype).requires_grad_()
    layer = Rational(8, "silu", dtype=dtype if coefficients == "half" else torch.float32)
    layer(x).sum().backward()
    assert x.grad is not None
    exact, x64 = Rational(8, "silu", dtype=F64), x.detach().double().requires_grad_()
    exact.load_state_dict(layer.state_dict())
    y = exact(x64)
    y.sum().backward()
    assert x64.grad is not None
    place = 2 * ROUNDED[dtype]["atol"]  # of numbers, relative
    assert layer(x).dtype == x.grad.dtype == dtype
    torch.testing.assert_close(layer(x).double(), y, rtol=place, atol=1e-6)
    torch.testing.assert_close(x.grad.double(), x64.grad, rtol=place, atol=1e-6)
    for found, right in zip(layer.parameters(), exact.parameters(), strict=True):
        assert found.grad is not None
        assert right.grad is not None
        assert found.grad.dtype == found.dtype
        torch.testing.assert_close(found.grad.double(), right.grad, rtol=place, atol=1e-4)


# Starts.

LARGEST_ERRORS = {
    "A": {"identity": 0.0, "sigmoid": 5e-9, "silu": 2e-6, "tanh": 3e-6, "gelu": 3e-3, "relu": 0.0301}
    | {"softplus": 5e-6, "leaky_relu": 0.03, "elu": 5e-4, "selu": 0.03},
    "B": {"identity": 0.0, "sigmoid": 5e-9, "silu": 2e-6, "tanh": 4e-6, "gelu": 1e-3, "relu": 4e-2}
    | {"softplus": 5e-6, "leaky_relu": 0.04, "elu": 4e-3, "selu": 0.04},
}


@FORM
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_it_starts_as_the_function_of_that_name(name, form):
    x = torch.linspace(-3, 3, 601, dtype=F64)[:, None].expand(-1, 8)
    layer = Rational(8, name, form=form, dtype=F64)
    torch.testing.assert_close(layer(x), ACTIVATIONS[name](x), rtol=0, atol=LARGEST_ERRORS[form][name])


@pytest.mark.parametrize(("name", "form"), [("tanh", "A"), ("gelu", "A"), ("silu", "B")])
def test_the_table_is_what_the_fit_finds(name, form):
    function, x = ACTIVATIONS[name], torch.linspace(-3, 3, 1000, dtype=F64)[:, None]

    def error(coefficients):
        a, b = (torch.tensor(part, dtype=F64)[None] for part in coefficients)
        return (rational(x, a, b, form) - function(x)).square().sum()

    found = least_squares(function, 5, 4, form)
    torch.testing.assert_close(error(FITTED[form][name]), error(found), rtol=1e-3, atol=0)


@FORM
def test_a_function_that_is_rational_is_found(form):
    def function(x):
        return (1 - x + 0.5 * x**2) / (1 + 0.3 * x**2)

    x = torch.linspace(-5, 5, 101, dtype=F64)[:, None]
    layer = Rational(1, function, degrees=(2, 2), form=form, dtype=F64)
    torch.testing.assert_close(layer(x), function(x), rtol=0, atol=1e-6)


def test_other_degrees_are_fitted_when_asked_for():
    x = torch.linspace(-3, 3, 601, dtype=F64)[:, None]
    layer = Rational(1, "tanh", degrees=(3, 2), dtype=F64)
    torch.testing.assert_close(layer(x), torch.tanh(x), rtol=0, atol=1e-2)
    assert fitted(functional.silu) is FITTED["A"]["silu"]
    assert rational_fit.fitted(ACTIVATIONS["identity"], 3, 2) == ((0.0, 1.0, 0.0, 0.0), (0.0, 0.0))


# The module.


def test_parameters_are_those_of_the_formula():
    for features, groups, count in ((192, (1, None), 38), (768, (1, 8), 38), (192, (8, 1), 52), (12, (1, None), 22)):
        layer = Rational(features, groups=groups)
        assert sum(parameter.numel() for parameter in layer.parameters()) == layer.cost().parameters == count
    assert Rational(192).cost().published_flops == 192 * (2 * 5 + 2 * 4 + 3)


def test_coefficients_go_back_to_their_start():
    layer = Rational(8, "silu")
    start = layer(x := draw(5, 8, dtype=torch.float32))
    with torch.no_grad():
        layer.numerator.add_(1)
        layer.denominator.add_(1)
    assert not torch.allclose(layer(x), start)
    layer.reset_parameters()
    assert torch.equal(layer(x), start)


def test_device_and_dtype_reach_the_parameters_and_nan_the_result():
    layer = Rational(8, device="meta", dtype=F64)
    assert {(p.device.type, p.dtype) for p in layer.parameters()} == {("meta", F64)}
    assert layer(torch.empty(3, 8, device="meta", dtype=F64)).shape == (3, 8)
    y = Rational(2)(torch.tensor([[0.1, float("nan")], [0.1, 0.2]]))
    assert y.isnan().tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda: Rational(0), ValueError, r"Argument `features` must be at least 1, but is 0\."),
        (lambda: Rational(8, "swish"), ValueError, r"`start` must be .* relu, .*, but is 'swish'\."),
        (lambda: Rational(8, degrees=(5, 0)), ValueError, r"`degrees` must be at least 1, but is 0\."),
        (lambda: Rational(8, degrees=5), TypeError, r"`degrees` must be a pair of integers, .*, but is 5\."),  # pyright: ignore
        (lambda: Rational(8, groups=8), TypeError, r"`groups` must be a pair such as .*, but is 8\."),  # pyright: ignore
        (lambda: Rational(12, groups=(1, 8)), ValueError, r"divisors of the 12 channels, but has 8: take None for 4\."),
        (lambda: Rational(8, form="C"), ValueError, r"`form` must be one of A, B, but is 'C'\."),
        (
            lambda: Rational(8)(torch.arange(8)),
            TypeError,
            r"`x` must be of floating-point .* torch\.int64: call `x\.flo",
        ),
        (lambda: Rational(8)(torch.ones(5, 2)), ValueError, r"`x` must have shape \(\*batch, 8\), but has \(5, 2\)\."),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(spoil, error, message):
    with pytest.raises(error, match=message):
        spoil()
