"""Units that select: mixtures are what the equations say, and pruning leaves the function of a certain choice."""

import copy
import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn import functional

from circuits import pz, real
from classical import SKAN, AFKANLayer, BSplineKANLayer, FourierKANLayer, KANConv2d, SConvKAN, SKANLayer
from classical.cost import Cost
from classical.edge import EdgeLayer
from classical.fourier import Fourier
from classical.narrow import narrowed
from classical.pairs import ActivationPairs
from classical.spline_basis import BSpline
from classical.stages import Annealing, anneal, pruned, selection_entropy, shake
from qkan import QKANLayer
from tolerances import EXACT

F64 = torch.float64


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape):
    return torch.randn(*shape, dtype=F64, generator=drawn())


class Unfolded(nn.Module):
    """An edge layer on all patches of an image."""

    def __init__(self, inputs, outputs, size=3):
        super().__init__()
        self.layer = FourierKANLayer(inputs * size * size, outputs, 2)
        self.size = size

    def reset_parameters(self, generator=None):
        self.layer.reset_parameters(generator)

    def forward(self, x):
        rows, columns = x.shape[-2] - self.size + 1, x.shape[-1] - self.size + 1
        y = self.layer(functional.unfold(x, self.size).transpose(-1, -2))
        return y.transpose(-1, -2).unflatten(-1, (rows, columns))


QUANTUM = partial(QKANLayer, circuit=pz(2))
LAYERS = (BSpline(3, 2), Fourier(2), QUANTUM, nn.Linear)
CONVOLUTIONS = (partial(nn.Conv2d, kernel_size=3), Unfolded)


def layer_of(pool: Any = LAYERS, outputs: int = 4) -> tuple[Any, torch.Tensor]:
    return random_logits(SKANLayer(3, outputs, pool, dtype=F64)), draw(5, 3)


def convolution_of(pool: Any = CONVOLUTIONS, outputs: int = 4) -> tuple[Any, torch.Tensor]:
    return random_logits(SConvKAN(2, outputs, pool, dtype=F64)), draw(3, 2, 5, 6)


def random_logits(selection: Any) -> Any:
    selection.logits.data = 2 * draw(*selection.logits.shape)
    return selection


EVERY = pytest.mark.parametrize("make", [layer_of, convolution_of])


def certain(selection):
    """The selection with all probability on its choices."""
    selection = copy.deepcopy(selection)
    selection.logits.data = 1e4 * functional.one_hot(selection.choice(), selection.logits.shape[1]).double()
    return selection


@EVERY
def test_outputs_are_mixed_by_gates_of_norm_one(make):
    selection, x = make()
    shake(selection, generator=drawn(3))
    anneal(selection, 0.7)
    results = [candidate(x) for candidate in selection.candidates]
    y = torch.zeros_like(results[0])
    for o in range(4):
        scores = ((selection.logits[o] + selection.noise[o]) / 0.7).tolist()
        weights = [math.exp(score) for score in scores]
        norm = math.sqrt(sum(weight**2 for weight in weights))
        for weight, result in zip(weights, results, strict=True):
            y.select(selection.axis, o).add_(weight / norm * result.select(selection.axis, o))
    torch.testing.assert_close(selection(x), y, **EXACT)


@EVERY
def test_where_the_choice_is_certain_pruning_changes_nothing(make):
    selection, x = make()
    assert len(selection.choice().unique()) > 1
    torch.testing.assert_close(selection.prune()(x), certain(selection)(x), **EXACT)


@EVERY
def test_a_choice_of_one_by_all_leaves_that_one_as_it_is(make):
    selection, x = make()
    selection.logits.data[:, 1] = 10
    chosen = selection.prune()
    assert torch.equal(chosen(x), selection.candidates[1](x))
    assert chosen.state_dict().keys() - {"order"} == {
        f"parts.0.{name}" for name in selection.candidates[1].state_dict()
    }


def test_a_quantum_layer_is_one_more_space():
    layer, x = layer_of([QUANTUM, partial(QKANLayer, circuit=real(1), share="out", base=None), BSpline()], outputs=6)
    layer.logits.data = functional.one_hot(torch.tensor([2, 0, 1, 0, 1, 2]), 3).double()
    chosen = layer.prune()
    torch.testing.assert_close(chosen(x), certain(layer)(x), **EXACT)
    parts: Any = chosen.parts
    first, second, third = parts
    assert isinstance(first, QKANLayer)
    assert (first.out_features, first.activation.out_features) == (2, 2)
    assert torch.equal(first.activation.get_parameter("theta"), layer.candidates[0].activation.theta[[1, 3]])
    assert torch.equal(second.activation.theta, layer.candidates[1].activation.theta)  # which outputs share
    assert torch.equal(third.coefficients, layer.candidates[2].coefficients[[0, 5]])
    chosen(x).sum().backward()
    assert first.activation.theta.grad is not None


def test_a_pruned_layer_has_the_parameters_of_its_choices_only():
    layer, _ = layer_of((BSpline(3, 2), Fourier(2), nn.Linear), outputs=6)
    sizes = torch.tensor([3 * 5 + 1, 3 * 4 + 1, 3 + 1])  # of an output in each space
    layer.logits.data = functional.one_hot(torch.tensor([0, 1, 0, 2, 1, 1]), 3).double()
    assert sum(p.numel() for p in layer.parameters()) == 6 * sizes.sum() + 6 * 3
    assert sum(p.numel() for p in layer.prune().parameters()) == sizes[layer.choice()].sum()


@EVERY
def test_pruning_leaves_the_selection_and_torch_s_generator_alone(make):
    selection, x = make()
    before, state, y = torch.get_rng_state(), copy.deepcopy(selection.state_dict()), selection(x)
    chosen = selection.prune()
    with torch.no_grad():
        for parameter in chosen.parameters():
            parameter.add_(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(selection(x), y)
    assert all(torch.equal(value, state[name]) for name, value in selection.state_dict().items())


def test_what_makers_hold_is_copied():
    base = nn.PReLU()
    layer, x = layer_of([partial(FourierKANLayer, base=base), BSpline()])
    y = layer(x)
    torch.testing.assert_close(layer.prune()(x), certain(layer)(x), **EXACT)
    assert base.weight.dtype == torch.float32
    assert torch.equal(layer(x), y)


def test_a_part_that_all_modules_of_a_maker_share_stays_as_it_is():
    base, x = nn.PReLU(), torch.randn(5, 3, generator=drawn())
    layer = random_logits(SKANLayer(3, 4, [lambda i, o: FourierKANLayer(i, o, base=base), BSpline()])).float()
    weight, chosen = base.weight, layer.prune()
    assert base.weight is weight
    assert layer.candidates[0].base is base
    assert all(parameter is not weight for parameter in chosen.parameters())
    torch.testing.assert_close(chosen(x), certain(layer).float()(x))


def test_what_is_frozen_and_the_mode_survive_pruning():
    layer, _ = layer_of([partial(QKANLayer, frozen=["scale"]), BSpline()])
    layer.candidates[0].bias.requires_grad_(False)
    frozen = {name for name, p in layer.eval().prune().named_parameters() if not p.requires_grad}
    assert frozen == {"parts.0.bias", "parts.0.activation.scale"}
    assert not any(module.training for module in layer.prune().modules())


@EVERY
def test_a_tuned_network_can_be_restored(make):
    """By pruning a selection of the same choices, then loading."""
    selection, x = make()
    chosen, other = selection.prune(), make()[0]
    with torch.no_grad():
        for parameter in chosen.parameters():
            parameter.mul_(1.5)
    other.load_state_dict(selection.state_dict())
    restored = other.prune()
    assert not torch.equal(restored(x), chosen(x))
    restored.load_state_dict(chosen.state_dict())
    assert torch.equal(restored(x), chosen(x))


def test_selections_are_pruned_wherever_they_are():
    inner, x = layer_of()
    model: Any = nn.Sequential(
        nn.Linear(3, 3, dtype=F64), nn.ModuleDict({"a": inner})["a"], nn.Sequential(nn.Tanh(), inner)
    )
    model[2][1] = SKAN([4, 4, 2], pool=(nn.Linear, Fourier(1)), dtype=F64)
    smaller = pruned(model)
    expected = nn.Sequential(model[0], inner.prune(), nn.Tanh(), *(layer.prune() for layer in model[2][1].layers))
    torch.testing.assert_close(smaller(x), expected(x), **EXACT)
    assert sum(p.numel() for p in smaller.parameters()) == sum(p.numel() for p in expected.parameters())
    assert torch.equal(pruned(inner)(x), inner.prune()(x))
    tied, _ = layer_of(outputs=3)
    twice = pruned(nn.Sequential(tied, nn.Tanh(), tied))
    torch.testing.assert_close(twice(x), tied.prune()(tied.prune()(x).tanh()), **EXACT)
    assert len(list(twice.parameters())) == len(list(tied.prune().parameters()))
    assert isinstance(SKAN([2, 3, 1]).prune(), SKAN)


@EVERY
def test_gradients_are_those_of_finite_differences(make):
    selection, x = make()
    selection.temperature.fill_(0.6)
    names, values = zip(*selection.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(selection, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (x[:2].clone().requires_grad_(), *values))


@pytest.mark.parametrize("make", [partial(layer_of, (BSpline(), Fourier(), nn.Linear)), convolution_of])
def test_it_is_traced_as_one_graph_whatever_the_temperature(make):
    torch.compiler.reset()
    selection, x = make()
    counter = CompileCounter()
    compiled = torch.compile(selection, fullgraph=True, backend=counter)
    for step in range(3):
        anneal(selection, 0.5**step)
        shake(selection, generator=drawn(step))
        torch.testing.assert_close(compiled(x), selection(x), **EXACT)
    assert counter.frame_count == 1
    chosen = selection.prune()
    torch.testing.assert_close(torch.compile(chosen, fullgraph=True, backend="eager")(x), chosen(x), **EXACT)


def test_signals_keep_their_scale_through_every_stage():
    model: Any = SKAN([48] * 7, dtype=F64)
    model.reset_parameters(drawn(3))
    x = torch.randn(256, 48, dtype=F64, generator=drawn(4))
    for layer in model.layers:
        layer.logits.data = draw(*layer.logits.shape)
    for temperature in (10.0, 1.0, 0.01):
        anneal(model, temperature)
        assert 0.5 < model(x).square().mean().item() < 2
    assert 0.5 < model.prune()(x).square().mean().item() < 2


def test_every_layer_has_a_basis_of_its_own():
    basis = ActivationPairs(dtype=F64)
    model: Any = SKAN([2, 3, 1], pool=[basis, nn.Linear], dtype=F64)
    own = [layer.candidates[0].basis for layer in model.layers]
    assert len({id(basis.low), *(id(other.low) for other in own)}) == 3
    assert all(
        isinstance(layer.candidates[0], EdgeLayer) and layer.candidates[0].bias is not None for layer in model.layers
    )


def test_costs_are_those_of_the_candidates_and_their_gates():
    layer, _ = layer_of((BSplineKANLayer, Fourier(2)), outputs=6)
    first, second = (candidate.cost() for candidate in layer.candidates)
    assert layer.cost() == first + second + Cost(12, 24)
    assert layer.cost().parameters == sum(p.numel() for p in layer.parameters())
    chosen = layer.prune()
    assert chosen.cost().parameters == sum(p.numel() for p in chosen.parameters())
    narrow = (
        BSplineKANLayer(3, int((layer.choice() == 0).sum())).cost()
        + EdgeLayer(3, int((layer.choice() == 1).sum()), Fourier(2), bias=True).cost()
    )
    assert chosen.cost() == narrow


def test_costs_of_convolutions_are_those_of_the_candidates_and_of_gates_on_each_pixel():
    pool = [partial(KANConv2d, kernel_size=(3, 2), make=make) for make in (BSplineKANLayer, FourierKANLayer)]
    layer = random_logits(SConvKAN(2, 6, pool, dtype=F64))
    first, second = (candidate.cost(5, 6) for candidate in layer.candidates)
    assert layer.cost(5, 6) == first + second + Cost(12, 24 * 3 * 5)
    assert layer.cost(5, 6).parameters == sum(p.numel() for p in layer.parameters())
    chosen = layer.prune()
    assert len(chosen.parts) == 2
    counts = [int((layer.choice() == number).sum()) for number in range(2)]
    narrow = [maker(2, count).cost(5, 6) for maker, count in zip(pool, counts, strict=True)]
    assert chosen.cost(5, 6) == narrow[0] + narrow[1]


def test_temperatures_fall_evenly_and_stay():
    schedule = Annealing(2.0, 0.02, steps=4)
    temperatures = [schedule(step) for step in range(7)]
    assert temperatures[:5] == pytest.approx([2 * 10 ** (-step / 2) for step in range(5)])
    assert temperatures[5:] == [temperatures[4]] * 2
    model: Any = SKAN([2, 3, 1])
    anneal(model, schedule(1))
    assert [layer.temperature.item() for layer in model.layers] == pytest.approx([temperatures[1]] * 2)
    assert "layers.0.temperature" in model.state_dict()


def test_entropy_is_that_of_the_probabilities():
    model: Any = SKAN([2, 3, 1], pool=LAYERS, dtype=F64)
    assert selection_entropy(model).item() == pytest.approx(math.log(4))
    first, second = (random_logits(layer).probabilities() for layer in model.layers)
    p = torch.cat([first, second])
    torch.testing.assert_close(selection_entropy(model), -(p * p.log()).sum() / 4, **EXACT)


def test_a_certain_choice_has_no_entropy_and_a_finite_gradient():
    layer, x = layer_of()
    anneal(layer, 1e-3)
    entropy = selection_entropy(layer)
    (layer(x).sum() + entropy).backward()
    assert entropy.item() == pytest.approx(0, abs=1e-6)
    assert layer.logits.grad.isfinite().all()


def test_noise_makes_outputs_try_candidates_as_often_as_they_are_probable():
    layer = SKANLayer(1, 20_000, (nn.Linear, nn.Linear, nn.Linear), dtype=F64)
    layer.logits.data += torch.tensor([0.0, 1.0, -0.5])
    shake(layer, generator=drawn(5))
    frequencies = (layer.logits + layer.noise).argmax(-1).bincount() / 20_000
    torch.testing.assert_close(frequencies.double(), layer.probabilities()[0], rtol=0, atol=5 * 0.5 / math.sqrt(20_000))
    assert layer.noise.mean().item() == pytest.approx(0.5772, abs=5 * 1.2826 / math.sqrt(60_000))


def test_noise_is_for_training_and_comes_from_the_generator_alone():
    layer, x = layer_of()
    still, before = layer(x), torch.get_rng_state()
    shake(layer, generator=drawn(5))
    noisy, noise = layer(x), layer.noise.clone()
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(noisy, still)
    assert torch.equal(layer.eval()(x), still)
    assert "noise" not in layer.state_dict()
    shake(layer, generator=drawn(6))
    assert not torch.equal(layer.noise, noise)
    shake(layer, scale=0.0)
    assert torch.equal(layer.train()(x), still)


def test_a_reset_forgets_choices_temperature_and_noise():
    layer = random_logits(SKANLayer(3, 4, dtype=F64))
    anneal(layer, 0.1)
    shake(layer)
    layer.reset_parameters(drawn())
    assert not layer.logits.any()
    assert not layer.noise.any()
    assert layer.temperature == 1


def waves_and_kinks(generator):
    """One target is a sum of sines, the other a broken line, of two inputs on [-1, 1]."""
    x = 2 * torch.rand(128, 2, generator=generator) - 1
    a, b = x.T
    waves = torch.sin(math.pi * a) + torch.cos(3 * math.pi * b) / 2
    kinks = a.abs() - 2 * (b - 0.5).clamp(min=0)
    return x, torch.stack([waves, kinks], -1)


@pytest.mark.parametrize("seed", [0, 1])
def test_training_finds_the_space_each_target_is_of(seed):
    generator = drawn(seed)
    x, y = waves_and_kinks(generator)
    layer = SKANLayer(2, 2, [BSpline(4, 1), Fourier(3, math.pi)])
    layer.reset_parameters(generator)
    optimizer, schedule = torch.optim.Adam(layer.parameters(), lr=0.05), Annealing(1.0, 0.1, steps=250)
    for step in range(250):
        anneal(layer, schedule(step))
        shake(layer, generator=generator)
        optimizer.zero_grad()
        functional.mse_loss(layer(x), y).backward()
        optimizer.step()
    assert layer.choice().tolist() == [1, 0]
    chosen = layer.prune()
    loss = functional.mse_loss(chosen(x), y).item()
    anneal(layer, 1e-3)
    assert loss == pytest.approx(functional.mse_loss(layer.eval()(x), y).item(), rel=1e-3, abs=1e-7)
    assert loss < 0.02
    optimizer = torch.optim.LBFGS(chosen.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = functional.mse_loss(chosen(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert closure().item() < 1e-6


class Gated(nn.Linear):
    """Of the halves of twice as many outputs one is the gate."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, 2 * outputs)

    def forward(self, input):
        return functional.glu(super().forward(input))


class Crossed(nn.Linear):
    """Not a module whose outputs have rows of their own."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, 2 * outputs + 1)


def named_by_size(inputs, outputs):
    return nn.Sequential(*[nn.Identity()] * outputs, nn.Linear(inputs, outputs))


@pytest.mark.parametrize(
    ("maker", "reason"),
    [
        (Crossed, r"`weight` of shape \(9, 3\) would have \(5, 3\)"),
        (named_by_size, r"the names of its parameters are \['4\.weight', '4\.bias'\], not \['2\.weight', '2\.bias'\]"),
        (lambda inputs, outputs: nn.Bilinear(inputs, outputs, outputs), r"`weight` of shape \(4, 3, 4\) would have"),
    ],
)
def test_a_candidate_without_rows_of_its_own_cannot_be_narrowed(maker, reason):
    with pytest.raises(ValueError, match=r"\w+ cannot be pruned to 2 of 4 outputs, since " + reason):
        narrowed(maker(3, 4), maker, 3, 4, torch.tensor([0, 2]))


def normalised(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs))


@pytest.mark.parametrize(
    "maker",
    [
        partial(nn.Conv2d, kernel_size=1, groups=2),
        partial(KANConv2d, kernel_size=1, groups=2),
        normalised,
    ],
)
def test_a_candidate_that_groups_or_mixes_its_outputs_cannot_be_narrowed(maker):
    """Shapes would not tell: a smaller grouped convolution reads other channels."""
    with pytest.raises(
        ValueError, match=r"\w+ cannot be pruned to 2 of 4 outputs, since its \w+ mixes or groups outputs"
    ):
        narrowed(maker(4, 4), maker, 4, 4, torch.tensor([0, 1]))


def test_groups_and_normalisations_of_inputs_are_no_obstacle():
    def maker(inputs, outputs):
        depthwise = nn.Conv2d(inputs, inputs, 3, groups=inputs)
        return nn.Sequential(depthwise, nn.GroupNorm(2, inputs), nn.Conv2d(inputs, outputs, 1))

    module, rows, x = maker(4, 4), torch.tensor([3, 1]), torch.randn(2, 4, 5, 5, generator=drawn())
    torch.testing.assert_close(narrowed(module, maker, 4, 4, rows)(x), module(x)[:, rows])


@pytest.mark.parametrize(
    "maker", [nn.Linear, Gated, AFKANLayer, QUANTUM, partial(FourierKANLayer, base="silu", norm="layer")]
)
def test_a_square_layer_is_narrowed_along_its_outputs(maker):
    """Where inputs and outputs are as many, shapes alone do not tell them apart, but what a smaller one has does."""
    module, rows, x = maker(4, 4).double(), torch.tensor([3, 1]), draw(5, 4)
    torch.testing.assert_close(narrowed(module, maker, 4, 4, rows)(x), module(x)[:, rows], **EXACT)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SKANLayer(0, 1), ValueError, r"Argument `in_features` must be at least 1, but is 0\."),
        (lambda: SConvKAN(1, 0, CONVOLUTIONS), ValueError, r"Argument `out_channels` must be at least 1, but is 0\."),
        (lambda: SKANLayer(1, 1, []), ValueError, r"Argument `pool` must have one candidate or more, but is empty\."),
        (lambda: SKANLayer(1, 1, ["spline"]), TypeError, r"`pool` must have functions .*, but has 'spline'\."),  # pyright: ignore
        (lambda: SKANLayer(3, 1)(torch.ones(5, 2)), ValueError, r"`x` must have shape \(\*batch, 3\), .* \(5, 2\)"),
        (
            lambda: SConvKAN(1, 2, [partial(nn.Conv2d, kernel_size=k) for k in (1, 3)])(torch.ones(1, 1, 3, 3)),
            ValueError,
            r"must have one shape, with 2 at axis -3, but have \(1, 2, 3, 3\), \(1, 2, 1, 1\)\.",
        ),
        (
            lambda: SKANLayer(2, 3, [lambda inputs, outputs: nn.Linear(inputs, 1)])(torch.ones(4, 2)),
            ValueError,
            r"must have one shape, with 3 at axis -1, but have \(4, 1\)\.",
        ),
        (lambda: SConvKAN(1, 2, CONVOLUTIONS).cost(5, 5), TypeError, r"The cost of \w+ is not known"),
        (lambda: SKANLayer(2, 3, [nn.Linear]).cost(), TypeError, r"The cost of Linear is not known"),
        (lambda: anneal(SKAN([2, 1]), 0.0), ValueError, r"`temperature` must be positive and finite, but is 0\.0\."),
        (lambda: Annealing(steps=0), ValueError, r"Argument `steps` must be at least 1, but is 0\."),
        (lambda: Annealing(end=-1.0), ValueError, r"Argument `end` must be positive and finite, but is -1\.0\."),
        (lambda: shake(SKAN([2, 1]), math.nan), ValueError, r"Argument `scale` must be finite, but is nan\."),
        (lambda: selection_entropy(nn.Linear(1, 1)), ValueError, r"`model` must have a selection, .* but has none\."),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(make, error, message):
    with pytest.raises(error, match=message):
        make()
