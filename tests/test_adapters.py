"""Adapters change nothing at first, then only themselves; what they are put on stays as it is, bit for bit."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from circuits import pz
from classical import (
    MLP,
    FourierKANLayer,
    KANAdapter,
    LoRA,
    NeRA,
    adapt,
    adapter,
    adapter_state_dict,
    adapters,
    load_adapter_state_dict,
    merge_adapters,
    unmerge_adapters,
)
from classical.hats import Hats
from classical.recompute import recomputed
from qkan import QKANLayer
from tolerances import EXACT, SINGLE

F64 = torch.float64

fourier = partial(KANAdapter, rank=3, make=lambda rank: FourierKANLayer(rank, rank, degree=2))
daruan = partial(KANAdapter, rank=3, make=lambda rank: QKANLayer(rank, rank, pz(2), base=None, frozen=["scale"]))
silu = partial(KANAdapter, rank=3, make=lambda rank: nn.SiLU(), scale=0.5)

KINDS = {
    "LoRA": partial(LoRA, rank=3, scale=0.7),
    "NeRA": partial(NeRA, rank=3, size=4, scale=0.7),
    "Fourier": fourier,
    "DARUAN": daruan,
    "SiLU": silu,
}
EVERY = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=drawn(seed))


def linear(inputs=4, outputs=5, dtype=F64, **options):
    layer = nn.Linear(inputs, outputs, dtype=dtype, **options)
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=seed + 1))
    return layer


def trained(model):
    """As after training: `up` is no longer zero."""
    with torch.no_grad():
        for seed, each in enumerate(adapters(model).values()):
            each.up.copy_(draw(*each.up.shape, seed=seed + 10))
    return model


# One adapter.


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_at_the_start_outputs_are_those_of_the_linear_map_bit_for_bit(make, dtype, bias):
    alone = linear(dtype=dtype, bias=bias)
    x = draw(2, 3, 4).to(dtype)
    expected = alone(x)
    layer = make(alone)
    assert torch.equal(layer(x), expected)
    trained(layer)
    assert not torch.equal(layer(x), expected)
    layer.reset_parameters(drawn())
    assert torch.equal(layer(x), expected)
    assert layer(x).dtype == dtype


def test_lora_is_its_formula():
    layer, x = trained(LoRA(linear(), rank=2, scale=0.5)), draw(7, 4)
    weight = layer.base.weight + 0.5 * layer.up @ layer.down
    torch.testing.assert_close(layer(x), x @ weight.T + layer.base.bias, **EXACT)


def test_nera_is_its_formula():
    """Sample by sample, with interpolation between knots instead of hats."""
    layer, x = trained(NeRA(linear(), rank=2, size=5)), 2.5 * draw(6, 4)
    edges, hats = layer.edges, layer.edges.basis
    assert isinstance(hats, Hats)
    with torch.no_grad():
        hats.gaps.add_(draw(*hats.gaps.shape))
        hats.scale.mul_(1.3)
        layer.get_parameter("scale").fill_(0.6)
    for sample, y in zip(x, layer(x), strict=True):
        z = [torch.stack([interpolated(hats, edges, r, i, sample[i]) for i in range(4)]).sum() for r in range(2)]
        expected = layer.base(sample) + 0.6 * layer.up @ torch.stack(z)
        torch.testing.assert_close(y, expected, **EXACT)


def interpolated(hats, edges, r, i, x):
    t, c, x = hats.knots()[i], edges.coefficients[r, i], hats.scale[i] * x
    if x <= t[0]:
        return c[0]
    for k in range(len(t) - 1):
        if x <= t[k + 1]:
            share = (x - t[k]) / (t[k + 1] - t[k])
            return (1 - share) * c[k] + share * c[k + 1]
    return c[-1]


def test_a_kan_adapter_is_its_formula():
    layer, x = trained(silu(linear())), draw(7, 4)
    expected = layer.base(x) + 0.5 * nn.functional.silu(x @ layer.down.T) @ layer.up.T
    torch.testing.assert_close(layer(x), expected, **EXACT)


@EVERY
@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (2, 1, 3)])
def test_leading_axes_are_independent_samples(make, batch):
    layer, x = trained(make(linear())), draw(*batch, 4)
    each = torch.stack([layer(one) for one in x.reshape(-1, 4)])
    torch.testing.assert_close(layer(x), each.reshape(*batch, 5), **EXACT)


@EVERY
def test_an_empty_batch_has_an_empty_result(make):
    layer = make(linear())
    layer(torch.empty(2, 0, 4, dtype=F64)).sum().backward()
    assert not layer.up.grad.any()


@EVERY
def test_gradients_are_those_of_finite_differences(make):
    layer = trained(make(linear(2, 2)))
    named = {name: value for name, value in layer.named_parameters() if value.requires_grad}

    def function(x, *values):
        return torch.func.functional_call(layer, dict(zip(named, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (draw(3, 2).requires_grad_(), *named.values()))


@EVERY
def test_it_is_traced_as_one_graph(make):
    layer, x = trained(make(linear())), draw(3, 4)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), layer(x), **EXACT)


@EVERY
def test_only_the_adapter_learns(make):
    layer = trained(make(linear()))
    layer(draw(3, 4)).square().sum().backward()
    assert [parameter.grad for parameter in layer.base.parameters()] == [None, None]
    wanted = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in wanted)


@pytest.mark.parametrize(
    ("make", "inputs", "outputs", "count"),
    [
        (partial(LoRA, rank=64), 3072, 3072, 393_216),
        (partial(LoRA, rank=16), 3072, 3072, 98_304),
        (partial(NeRA, rank=64), 3072, 3072, 1_797_121),
        (partial(NeRA, rank=16), 3072, 3072, 470_017),
        (partial(NeRA, rank=2, size=5), 7, 11, 7 * 5 * 3 + 7 + 2 * 11 + 1),
        (fourier, 7, 11, 3 * 7 + 3 * 11 + 3 * 3 * 4 + 3),
    ],
)
def test_parameters_are_those_of_the_formula(make, inputs, outputs, count):
    """The first four are published, to three digits."""
    layer = make(nn.Linear(inputs, outputs, device="meta"))
    assert layer.cost().parameters == count
    assert sum(parameter.numel() for parameter in layer.parameters() if parameter.requires_grad) == count


@pytest.mark.parametrize("name", ["LoRA", "NeRA", "Fourier"])
def test_products_are_those_that_torch_counts(name):
    layer = KINDS[name](linear())
    with FlopCounterMode(display=False) as counter:
        layer(draw(7, 4))
    other = {"LoRA": 0, "NeRA": 4 * 17, "Fourier": 3 * 7}[name] + 3 + 5
    assert counter.get_total_flops() == 7 * (2 * 4 * 5 + layer.cost().flops - other)


def test_the_cost_of_an_unknown_function_is_refused():
    with pytest.raises(TypeError, match="The cost of a SiLU is not known"):
        silu(linear()).cost()


# Hats, and their memory.


@pytest.mark.parametrize("size", [2, 3, 8])
def test_hats_sum_to_one_everywhere(size):
    hats = Hats(3, size, dtype=F64)
    with torch.no_grad():
        for parameter in hats.parameters():
            parameter.add_(draw(*parameter.shape))
    values = hats(5 * draw(50, 3))
    torch.testing.assert_close(values.sum(-1), torch.ones(50, 3, dtype=F64), **EXACT)
    assert values.min() >= 0


def test_each_hat_is_one_at_its_knot_and_zero_at_the_others():
    hats = Hats(2, 5, dtype=F64)
    with torch.no_grad():
        hats.gaps.add_(draw(2, 4))
    eye = torch.eye(5, dtype=F64)[:, None].expand(5, 2, 5)
    torch.testing.assert_close(hats(hats.knots().T), eye, **EXACT)


def test_knots_start_evenly_spaced_on_the_domain():
    knots = Hats(2, 8, dtype=F64).knots()
    torch.testing.assert_close(knots, torch.linspace(-3, 3, 8, dtype=F64).expand(2, 8), **EXACT)


@pytest.mark.parametrize("reach", [1e-6, 1.0, 1e6])
def test_domains_may_be_narrow_and_wide(reach):
    knots = Hats(1, 8, (-reach, reach), dtype=F64).knots()
    torch.testing.assert_close(knots, reach * torch.linspace(-1, 1, 8, dtype=F64)[None], rtol=1e-9, atol=1e-9 * reach)


def test_knots_that_have_met_leave_gradients_finite():
    hats, x = Hats(2, 4), torch.randn(5, 2, requires_grad=True)
    with torch.no_grad():
        hats.gaps.fill_(-1000)
    values = hats(x)
    weights = torch.arange(4.0)
    for gradient in torch.autograd.grad((values * weights).sum(), [x, *hats.parameters()]):
        assert gradient.isfinite().all()
    assert (hats.knots().diff() > 0).all()


def test_beyond_the_knots_functions_go_on():
    hats = Hats(1, 4)
    y = hats(torch.tensor([[-math.inf], [-100.0], [100.0], [math.inf], [math.nan]]))[:, 0]
    assert y[:2].tolist() == [[1, 0, 0, 0]] * 2
    assert y[2:4].tolist() == [[0, 0, 0, 1]] * 2
    assert y[4].isnan().any()


def test_samples_in_parts_are_samples_at_once(monkeypatch):
    layer, x = trained(NeRA(linear(), rank=3, size=4)), draw(5, 3, 4).requires_grad_()
    wanted = [x, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
    once = torch.autograd.grad(layer(x).square().sum(), wanted)
    monkeypatch.setattr(adapter, "FEATURES", 4 * 4 * 4)
    for part in (layer, torch.compile(layer, fullgraph=True, backend="eager")):
        parts = torch.autograd.grad(part(x).square().sum(), wanted)
        for a, b in zip(once, parts, strict=True):
            torch.testing.assert_close(a, b, **EXACT)


def test_nera_keeps_its_input_and_no_functions_of_it(monkeypatch):
    monkeypatch.setattr(adapter, "FEATURES", 10 * 64 * 8)
    layer, x = NeRA(nn.Linear(64, 64), rank=2), draw(200, 64, dtype=torch.float32).requires_grad_()
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel() * (tensor.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()))
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    assert sum(sizes) - layer.base.weight.numel() < x.numel()


def test_fewer_samples_than_rows_go_the_ordinary_way():
    x = draw(4, 3)
    jacobian = torch.func.jacrev(lambda x: recomputed(lambda part: part.sin(), x, 4))(x)
    assert jacobian.shape == (4, 3, 4, 3)


# Merging.


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, EXACT), (torch.float32, SINGLE)])
def test_lora_merges_into_one_linear_map(dtype, tolerance):
    model = nn.Sequential(linear(dtype=dtype), nn.Tanh(), linear(5, 2, dtype=dtype, bias=False)).eval()
    adapt(model, ["0", "2"], partial(LoRA, rank=2))
    state, x = copy.deepcopy(trained(model).state_dict()), draw(6, 4).to(dtype)
    y = model(x)
    gone = merge_adapters(model)
    assert [type(module) for module in model] == [nn.Linear, nn.Tanh, nn.Linear]
    assert model.state_dict().keys() == {"0.weight", "0.bias", "2.weight"}
    assert not any(module.training for module in model.modules())
    torch.testing.assert_close(model(x), y, **tolerance)
    unmerge_adapters(model, gone)
    assert torch.equal(model(x), y)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_a_merged_weight_is_rounded_once():
    layer = trained(LoRA(linear(dtype=torch.bfloat16), rank=2))
    exact = layer.base.weight.double() + layer.up.double() @ layer.down.double()
    torch.testing.assert_close(layer.merge().weight.double(), exact, rtol=2**-8, atol=1e-6)


def test_what_is_not_linear_cannot_be_merged_and_nothing_is():
    model = nn.Sequential(linear(), linear(5, 2))
    adapt(model, "0", LoRA)
    adapt(model, "1", NeRA)
    with pytest.raises(TypeError, match="A NeRA is not linear in its input"):
        merge_adapters(model)
    assert [type(module) for module in model] == [LoRA, NeRA]
    with pytest.raises(ValueError, match="no adapter to merge"):
        merge_adapters(nn.Linear(2, 3))


# A model.


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.to_q, self.to_k = nn.Linear(4, 4), nn.Linear(4, 4)
        self.to_out = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0))

    def forward(self, x):
        return self.to_out(torch.softmax(self.to_q(x) * self.to_k(x), -1))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Attention(), Attention()])
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.norm(x))


@pytest.fixture
def model(seeded):
    return Model().double()


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        ("to_q", ["blocks.0.to_q", "blocks.1.to_q"]),
        (["to_out.0", "head"], ["blocks.0.to_out.0", "blocks.1.to_out.0", "head"]),
        ("blocks.1.to_?", ["blocks.1.to_q", "blocks.1.to_k"]),
        (["*.to_[qk]", "to_q"], ["blocks.0.to_q", "blocks.0.to_k", "blocks.1.to_q", "blocks.1.to_k"]),
        ("blocks.0.to_k", ["blocks.0.to_k"]),
    ],
)
def test_targets_are_names_ends_of_names_or_patterns(model, targets, names):
    assert sorted(adapt(model, targets, LoRA).names) == sorted(names) == sorted(adapters(model))


@EVERY
def test_a_model_is_what_it_was_until_adapters_are_trained_and_its_weights_stay(model, make):
    x, y = draw(32, 4), draw(32, 3, seed=1)
    before, state = model(x), copy.deepcopy(model.state_dict())
    adapt(model, ["to_q", "to_out.0", "head"], make)
    assert torch.equal(model(x), before)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(15):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    after = {name.replace(".base.", "."): tensor for name, tensor in model.state_dict().items()}
    assert all(torch.equal(after[name], tensor) for name, tensor in state.items())


def test_a_report_counts_what_was_and_what_came(model):
    total = sum(parameter.numel() for parameter in model.parameters())
    report = adapt(model, ["to_q", "head"], partial(LoRA, rank=2))
    assert [(layer.names, layer.frozen, layer.trained) for layer in report.layers] == [
        (("blocks.0.to_q",), 20, 16),
        (("blocks.1.to_q",), 20, 16),
        (("head",), 15, 14),
    ]
    assert (report.before, report.after, report.trained) == (total, total + 46, 46)
    assert str(report).splitlines()[-1].split() == ["model", f"{total}", "46"]
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if not name.endswith((".up", ".down"))}


def test_a_second_round_of_adapters_leaves_the_first_trained(model):
    adapt(model, "to_q", LoRA)
    assert adapt(model, "to_k", NeRA).trained == sum(each.cost().parameters for each in adapters(model).values())


def test_what_a_function_keeps_frozen_stays_frozen(model):
    adapt(model, "head", daruan)
    assert not model.head.psi.activation.scale.requires_grad
    assert model.head.psi.activation.theta.requires_grad


def test_a_map_in_several_places_has_one_adapter(model):
    model.blocks[1].to_q = model.blocks[0].to_q  # the module
    model.blocks[1].to_k.weight, model.blocks[1].to_k.bias = model.blocks[0].to_k.weight, model.blocks[0].to_k.bias
    report = adapt(model, ["blocks.0.to_q", "to_k"], LoRA)
    assert [layer.names for layer in report.layers] == [
        ("blocks.0.to_q", "blocks.1.to_q"),
        ("blocks.0.to_k", "blocks.1.to_k"),
    ]
    assert model.blocks[0].to_q is model.blocks[1].to_q
    assert model.blocks[0].to_k is model.blocks[1].to_k
    y = trained(model)(draw(5, 4))
    torch.testing.assert_close(_merged(model)(draw(5, 4)), y, **EXACT)


def _merged(model):
    other = copy.deepcopy(model)
    merge_adapters(other)
    return other


def test_copies_and_functional_calls_are_independent(model):
    adapt(model, "to_q", NeRA)
    other, x = trained(copy.deepcopy(model)), draw(5, 4)
    assert not torch.equal(other(x), model(x))
    called = torch.func.functional_call(model, dict(other.named_parameters()), (x,))
    assert torch.equal(called, other(x))


def test_another_dtype_comes_later(model):
    adapt(model, ["to_q", "head"], daruan)
    y = trained(model)(draw(5, 4))
    torch.testing.assert_close(model.float()(draw(5, 4).float()).double(), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("position", ["encoder.layers.0.linear1", "linear2"])
def test_the_fast_path_of_transformers_does_not_pass_adapters_by(seeded, position):
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    model = nn.ModuleDict({"encoder": nn.TransformerEncoder(layer, 1)}).eval()
    adapt(model, position, partial(LoRA, rank=2))
    trained(model)
    x, mask = draw(2, 3, 4, dtype=torch.float32), torch.tensor([[False, False, True], [False, False, False]])
    slow = model["encoder"](x, src_key_padding_mask=mask)
    with torch.no_grad():
        fast = model["encoder"](x, src_key_padding_mask=mask)
    torch.testing.assert_close(fast, slow, **SINGLE)


# Keeping.


def test_a_state_has_what_adapters_learned_and_nothing_else(model):
    adapt(model, ["to_q", "head"], LoRA)
    state = adapter_state_dict(trained(model))
    assert set(state) == {f"{name}.{part}" for name in adapters(model) for part in ("up", "down")}
    storages = [tensor.untyped_storage().data_ptr() for tensor in [*state.values(), *model.state_dict().values()]]
    assert len(set(storages)) == len(storages)
    other = copy.deepcopy(model)
    for each in adapters(other).values():
        each.reset_parameters(drawn(3))
    load_adapter_state_dict(other, state)
    assert torch.equal(other(draw(5, 4)), model(draw(5, 4)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("head.up"), "'head.up' is missing"),
        (lambda state: state.update({"head.base.weight": torch.ones(3, 4)}), "'head.base.weight' is of no adapter"),
        (lambda state: state.update({"head.up": torch.ones(3, 9)}), r"'head.up' must have shape \(3, 8\), .* \(3, 9\)"),
    ],
)
def test_a_state_of_other_adapters_is_refused_whole(model, spoil, message):
    adapt(model, ["to_q", "head"], LoRA)
    state = adapter_state_dict(trained(model))
    spoil(state)
    for each in adapters(model).values():
        each.reset_parameters()
    with pytest.raises(ValueError, match=message):
        load_adapter_state_dict(model, state)
    assert not any(each.up.any() for each in adapters(model).values())


@pytest.mark.parametrize(
    ("targets", "make", "error", "message"),
    [
        ("to_w", LoRA, ValueError, r"has 'to_w', which no module .* is called; near it are .*'to_k'"),
        (["to_q", "q"], LoRA, ValueError, r"has 'q', which no module"),
        ([], LoRA, ValueError, r"`targets` must have a name or more, but is empty"),
        ("norm", LoRA, ValueError, r"instances of torch.nn.Linear itself, but means 'norm', a LayerNorm"),
        ("*", LoRA, ValueError, r"instances of torch.nn.Linear itself, but means 'blocks', a ModuleList"),
        ("mha.out_proj", LoRA, ValueError, r"means 'mha.out_proj', a NonDynamicallyQuantizableLinear"),
        ("head", lambda layer: nn.Linear(4, 3), TypeError, r"`make` must make an adapter of the linear map"),
        ("head", lambda layer: LoRA(nn.Linear(4, 3)), TypeError, r"`make` must make an adapter of the linear map"),
        ("head", partial(LoRA, rank=0), ValueError, r"`rank` must be at least 1, but is 0\."),
        ("head", partial(LoRA, scale=math.inf), ValueError, r"`scale` must be finite, but is inf\."),
        ("head", partial(NeRA, size=1), ValueError, r"`size` must be at least 2, but is 1\."),
        ("head", partial(NeRA, domain=(1, 1)), ValueError, r"`domain` must be a pair of numbers"),
        ("head", partial(KANAdapter, rank=2, make=lambda rank: torch.tanh), TypeError, r"must make a torch.nn.Module"),  # pyright: ignore
    ],
)
def test_what_cannot_be_adapted_is_named_and_nothing_changes(model, targets, make, error, message):
    model.mha = nn.MultiheadAttention(4, 2)
    model.norm.requires_grad_(False)
    with pytest.raises(error, match=message):
        adapt(model, targets, make)
    assert not adapters(model)
    assert {name.partition(".")[0] for name, p in model.named_parameters() if not p.requires_grad} == {"norm"}


def test_what_is_adapted_already_is_refused(model):
    adapt(model, "to_q", LoRA)
    for again in ("to_q", "to_q.base", "*.to_q"):
        with pytest.raises(ValueError, match=r"must not mean 'blocks.0.to_q.*', which is adapted already"):
            adapt(model, again, LoRA)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda: LoRA(nn.Conv1d(2, 3, 1)), TypeError, r"`linear` must be a torch.nn.Linear, but is a Conv1d\."),  # pyright: ignore
        (lambda: LoRA(linear())(draw(3, 5)), ValueError, r"`x` must have shape \(\*batch, 4\), but has \(3, 5\)"),
        (lambda: adapt(3, "a", LoRA), TypeError, r"`model` must be a torch.nn.Module, but is 3\."),  # pyright: ignore
        (lambda: unmerge_adapters(MLP([2, 3]), {"layers.0": nn.Tanh()}), TypeError, r"`gone` must have adapters only"),  # pyright: ignore
        (lambda: adapter_state_dict(MLP([2, 3])), ValueError, r"`model` has no adapter"),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(spoil, error, message):
    with pytest.raises(error, match=message):
        spoil()
