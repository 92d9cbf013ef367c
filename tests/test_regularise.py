"""The sparsity penalty is that of its formula, with gradients everywhere, for any layer with edges."""

import copy
import math

import pytest
import torch
from torch import nn

from circuits import pz
from classical import (
    MLP,
    BSplineKAN,
    BSplineKANLayer,
    ChebyshevKAN,
    FastKANLayer,
    FourierKAN,
    FourierKANLayer,
    ReLUKAN,
    SingleParameterKAN,
    SingleParameterKANLayer,
    attribution,
    sparsity,
)
from classical.edge import EdgeLayer
from classical.probe import edge_layers, edge_spreads, root, spread
from qkan import DARUAN
from tolerances import EXACT

F64 = torch.float64

pytestmark = pytest.mark.usefixtures("seeded")


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


class Quantum(nn.Module):
    """A layer of circuits that can tell what its edges add."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.activation = DARUAN(inputs, outputs, pz(1), dtype=F64)

    def edge_values(self, x):
        return self.activation(x)

    def forward(self, x):
        return self.edge_values(x).sum(-1)


MODELS = {
    "B-splines": lambda: BSplineKAN([3, 2, 2], dtype=F64),
    "ReLU bumps": lambda: ReLUKAN([3, 2, 2], dtype=F64),
    "normalised": lambda: ChebyshevKAN([3, 4, 2], norm="layer", base="silu", dtype=F64),
    "normalised over the batch": lambda: FourierKAN([3, 4, 2], norm="batch", dtype=F64),
    "mixed": lambda: nn.Sequential(FourierKANLayer(3, 2, dtype=F64), nn.Tanh(), FastKANLayer(2, 2, dtype=F64)),
    "circuits": lambda: nn.Sequential(Quantum(3, 2), Quantum(2, 2)),
}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def entropy(shares):
    return -sum(p * math.log2(p + 1e-4) for p in shares)


def without_base(seen):
    """What the functions of each edge add."""
    values = seen.layer.edge_values(seen.x)
    if not isinstance(seen.layer, EdgeLayer) or seen.layer.base is None:
        return values
    return values - seen.layer.get_parameter("base_weight") * seen.layer.base(seen.x)[..., None, :]


def by_hand(model, x, l1, weight):
    """The formula, one edge at a time, of what each edge adds without its base."""
    total = 0.0
    for seen in edge_layers(model, x):
        values = without_base(seen)
        v = (values.std(0) / (seen.x.std(0) + 0.1)).detach()
        rows = [entropy((line / (line.sum() + 1)).tolist()) for line in v]
        columns = [entropy((line / (line.sum() + 1)).tolist()) for line in v.T]
        total += l1 * v.sum().item() + weight * (sum(rows) / len(rows) + sum(columns) / len(columns))
    return total


@each_model
@pytest.mark.parametrize(("l1", "weight"), [(1.0, 2.0), (1.0, 0.0), (0.0, 0.3)])
def test_the_penalty_is_its_formula(make, l1, weight):
    model, x = make(), draw(20, 3)
    assert sparsity(model, x, l1=l1, entropy=weight).item() == pytest.approx(by_hand(model, x, l1, weight), abs=1e-10)


def test_one_edge_by_hand():
    """The edge 3 sin x at inputs -a and a, whose standard deviation is the root of 2 times a."""
    layer = SingleParameterKANLayer(1, 1, norm=None, bias=False, dtype=F64)
    layer.coefficients.data.fill_(3)
    a = 0.5
    v = 3 * math.sin(a) * math.sqrt(2) / (a * math.sqrt(2) + 0.1)
    p = v / (v + 1)
    expected = v - 2 * 2 * p * math.log2(p + 1e-4)
    assert sparsity(layer, torch.tensor([[-a], [a]], dtype=F64)).item() == pytest.approx(expected, abs=1e-12)


def test_coefficients_and_their_differences_count_if_asked_for():
    model, x = BSplineKAN([2, 3, 1], dtype=F64), draw(9, 2)
    layers = [layer.get_parameter("coefficients") for layer in model.layers]
    sizes = sum(c.abs().mean(-1).sum() for c in layers)
    steps = sum((c[..., 1:] - c[..., :-1]).abs().mean(-1).sum() for c in layers)
    penalty = sparsity(model, x, l1=0, entropy=0, coefficients=0.5, differences=0.25)
    torch.testing.assert_close(penalty, 0.5 * sizes + 0.25 * steps, **EXACT)
    single = SingleParameterKAN([2, 1], dtype=F64)
    assert sparsity(single, x, l1=0, entropy=0, differences=1).item() == 0


@each_model
def test_gradients_are_those_of_finite_differences(make):
    model, x = make(), draw(6, 3)
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(
            Penalty(model), {f"model.{n}": v for n, v in zip(names, values, strict=True)}, (x,)
        )

    assert torch.autograd.gradcheck(function, (x.requires_grad_(), *values))


class Penalty(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return sparsity(self.model, x, coefficients=0.0)


@each_model
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_edges_that_are_exactly_zero_have_finite_penalties_and_gradients(make, dtype):
    model, x = make().to(dtype), draw(8, 3).to(dtype).requires_grad_()
    with torch.no_grad():
        for layer in (seen.layer for seen in edge_layers(model, x)):
            if isinstance(layer, Quantum):
                layer.activation.get_parameter("scale").zero_()  # Circuits that do not see their input are constant.
            elif isinstance(layer, EdgeLayer):
                layer.coefficients.zero_()
    penalty = sparsity(model, x)
    penalty.backward()
    assert penalty.item() == pytest.approx(0, abs=1e-3 if dtype == torch.float32 else 1e-12)
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_edges_that_are_not_zero_have_gradients_beside_some_that_are():
    layer, x = BSplineKANLayer(3, 2, dtype=F64), draw(8, 3)
    layer.coefficients.data[0, 1] = 0
    sparsity(layer, x).backward()
    assert layer.coefficients.grad is not None
    alive = layer.coefficients.grad.abs().sum(-1) > 0
    assert alive.tolist() == [[True, False, True], [True, True, True]]


def test_inputs_that_never_change_are_no_trouble():
    layer, x = BSplineKANLayer(2, 2, dtype=F64), torch.full((5, 2), 0.3, dtype=F64, requires_grad=True)
    sparsity(layer, x).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@each_model
@pytest.mark.parametrize("base", [True, False])
def test_spreads_are_standard_deviations_of_edge_values(make, base):
    """From covariances of functions, without an entry per sample and edge."""
    for seen in edge_layers(make(), draw(4, 5, 3)):
        values = seen.layer.edge_values(seen.x) if base else without_base(seen)
        torch.testing.assert_close(
            edge_spreads(seen.layer, seen.x, base), values.flatten(0, -3).std(0), rtol=0, atol=1e-9
        )


def test_a_spread_is_that_of_torch_and_a_root_of_nothing_has_no_slope():
    x = draw(3, 4, 2)
    torch.testing.assert_close(spread(x), x.reshape(-1, 2).std(0), **EXACT)
    torch.testing.assert_close(spread(x, axes=2), x.std(0), **EXACT)
    square = torch.tensor([4.0, 0.0, -1e-9], requires_grad=True)
    root(square).sum().backward()
    assert square.grad is not None
    assert square.grad.tolist() == [0.25, 0, 0]


@pytest.mark.parametrize("look", [sparsity, attribution])
@pytest.mark.parametrize("training", [True, False])
def test_statistics_of_a_normalisation_do_not_notice(look, training):
    model, x = BSplineKAN([3, 4, 2], norm="batch", dtype=F64), draw(20, 3)
    model(3 + x)
    before, y = copy.deepcopy(model.state_dict()), copy.deepcopy(model).train(training)(x)
    look(model.train(training), x)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model(x), y)
    tracked = model.layers[0].get_buffer("norm.num_batches_tracked")
    assert tracked == (2 if training else 1)


def test_descent_leaves_fewer_edges():
    """A target of one input of three: the others fade under the penalty."""
    layer, x = FourierKANLayer(3, 1, 2, dtype=F64), draw(64, 3)
    layer.reset_parameters(torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(layer.parameters(), 0.05)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (layer(x)[:, 0] - x[:, 0].sin()).square().mean() + 0.01 * sparsity(layer, x)
        loss.backward()
        optimiser.step()
    spreads = edge_spreads(layer, x)[0]
    assert spreads[0] > 0.5
    assert spreads[1:].max() < 0.05


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sparsity(MLP([2, 1]), torch.ones(3, 2)), ValueError, r"`model` must have a layer with edges, .* none"),
        (
            lambda: sparsity(BSplineKAN([2, 1]), torch.ones(1, 2)),
            ValueError,
            r"`x` must have 2 samples or more, .* 1\.",
        ),
        (lambda: sparsity(BSplineKAN([2, 1]), torch.ones(2)), ValueError, r"`x` must have 2 samples or more, .* 1\."),
        (
            lambda: sparsity(BSplineKAN([2, 1]), torch.ones(3, 2), l1=math.nan),
            ValueError,
            r"`l1` must be finite, .* nan",
        ),
        (lambda: sparsity(BSplineKAN([2, 1]), torch.ones(3, 2), entropy="2"), TypeError, r"`entropy` must be a number"),  # pyright: ignore
        (lambda: sparsity(Quantum(2, 1), draw(3, 2), coefficients=1), ValueError, r"must be 0 for edges without coeff"),
    ],
)
def test_an_impossible_argument_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
