"""Vision transformers: published sizes, warm starts that change nothing, and attention that is learned."""

from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from classical import KAT, KArAt, Rational, ViT, ViTConfig, parameter_groups, warm_start
from classical.basis import Basis, Quadrature, standard_normal
from classical.spline_basis import BSpline
from classical.vit_blocks import Block, FeedForward
from qkan import DARUAN
from tolerances import EXACT

F64 = torch.float64

SMALL = ViTConfig(image_size=8, patch_size=4, channels=2, classes=3, width=8, layers=2, heads=2, ratio=2)
IMAGE = (2, 8, 8)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, dtype=F64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=drawn(seed))


def made(model, seed=1):
    model.reset_parameters(drawn(seed))
    with torch.no_grad():  # Zeros would hide what is multiplied by them, or added.
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, dtype=parameter.dtype, generator=drawn(2)))
    return model


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


class Quantum(Basis):
    """Expectation values of circuits as functions of a number, some of their own for every token."""

    def __init__(self, tokens: int, size: int) -> None:
        super().__init__()
        self.size, self.flops = size, 0
        self.activation = DARUAN(tokens, size, dtype=F64)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x).mT

    def inputs(self) -> Quadrature:
        return standard_normal()


OPERATORS = {
    "softmax": None,
    "Fourier": KArAt,
    "B-splines": lambda tokens, heads: KArAt(tokens, heads, rank=3, basis=BSpline(3, 2)),
    "DARUAN": lambda tokens, heads: KArAt(tokens, heads, rank=2, basis=Quantum(tokens, 3)),
}
OPERATOR = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)


# Sizes.


@pytest.mark.parametrize(
    ("config", "perceptron"),
    [(ViTConfig.tiny(), 5_717_416), (ViTConfig.small(), 22_050_664), (ViTConfig.base(), 86_567_656)],
)
def test_parameters_are_those_that_are_published(config, perceptron):
    """A rational function has 6 + 8 * 4 coefficients, and there are two in each of 12 blocks."""
    for model, expected in ((ViT, perceptron), (KAT, perceptron + 2 * 12 * 38)):
        transformer = model(config, device="meta")
        assert count(transformer) == transformer.cost().parameters == expected
    assert perceptron + 912 in (5_718_328, 22_051_576, 86_568_568)


@pytest.mark.parametrize(("universal", "operators"), [(False, 12), (True, 1)])
def test_learned_attention_has_a_function_for_each_token_and_rank(universal, operators):
    config, size = ViTConfig.tiny(), 2 * 3
    model = ViT(config, operator=KArAt, universal=universal, device="meta")
    added = operators * config.heads * config.tokens * 12 * (size + 1)
    assert count(model) == model.cost().parameters == 5_717_416 + added


@OPERATOR
@pytest.mark.parametrize("model", [ViT, KAT])
def test_costs_are_what_is_counted(model, operator):
    """Parameters are counted, and operations of products by torch's counter."""
    transformer = model(SMALL, operator=operator, dtype=F64)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the products one by one
        transformer(draw(3, *IMAGE))
    cost, tokens, layers = transformer.cost(), SMALL.tokens, SMALL.layers
    assert cost.parameters == count(transformer)
    functions = tokens * SMALL.width + 4 * SMALL.width + layers * 2 * tokens * 4 * SMALL.width
    per_token = 14 * SMALL.hidden if model is ViT else 20 * (SMALL.hidden + SMALL.width)
    functions += layers * tokens * per_token
    for block in transformer.blocks:
        if isinstance(attention := cast(Block, block).attn.operator, KArAt):
            functions += SMALL.heads * tokens**2 * attention.basis.flops
    if operator is not OPERATORS["DARUAN"]:  # Its circuits are products as well.
        assert counter.get_total_flops() == 3 * (cost.flops - functions)


# The function.


def test_a_block_is_that_of_torch():
    """`nn.TransformerEncoderLayer`, the normalisations first."""
    block = made(ViT(SMALL, dtype=F64)).blocks[0]
    other = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True, dtype=F64)
    names = {
        "self_attn.in_proj_weight": "attn.qkv.weight",
        "self_attn.in_proj_bias": "attn.qkv.bias",
        "self_attn.out_proj.weight": "attn.proj.weight",
        "self_attn.out_proj.bias": "attn.proj.bias",
        "linear1.weight": "mlp.fc1.weight",
        "linear1.bias": "mlp.fc1.bias",
        "linear2.weight": "mlp.fc2.weight",
        "linear2.bias": "mlp.fc2.bias",
    }
    state = block.state_dict()
    other.load_state_dict({name: state[names.get(name, name)] for name in other.state_dict()})
    x = draw(3, 5, 8)
    torch.testing.assert_close(block(x), other(x), **EXACT)


def test_tokens_are_patches_read_row_by_row_after_the_class_token():
    model, x = made(ViT(replace(SMALL, layers=1), dtype=F64)), draw(1, *IMAGE)
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(x)
    weight, bias = model.patch_embed.proj.weight.flatten(1), model.patch_embed.proj.bias
    assert bias is not None
    patches = [x[0, :, i : i + 4, j : j + 4].flatten() for i in (0, 4) for j in (0, 4)]
    tokens = [model.cls_token[0, 0], *(weight @ patch + bias for patch in patches)]
    torch.testing.assert_close(seen[0][0], torch.stack(tokens) + model.pos_embed[0], **EXACT)


@OPERATOR
@pytest.mark.parametrize("model", [ViT, KAT])
def test_leading_axes_are_independent_samples(model, operator):
    transformer = made(model(SMALL, operator=operator, dtype=F64))
    for batch in [(), (4,), (2, 3)]:
        x = draw(*batch, *IMAGE)
        each = torch.stack([transformer(one) for one in x.reshape(-1, *IMAGE)])
        torch.testing.assert_close(transformer(x), each.reshape(*batch, 3), **EXACT)
    assert transformer(torch.empty(0, *IMAGE, dtype=F64)).shape == (0, 3)


@OPERATOR
def test_every_parameter_learns(operator):
    model = made(KAT(SMALL, operator=operator, dtype=F64))
    model(draw(3, *IMAGE)).square().sum().backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert all(name.startswith("blocks.") and "activation." in name for name in idle), idle  # some angles of circuits


def test_gradients_are_those_of_finite_differences():
    config = replace(SMALL, image_size=4, layers=1, width=4)
    model = made(KAT(config, operator=lambda tokens, heads: KArAt(tokens, heads, rank=1), dtype=F64))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Rational):
                module.denominator.add_(0.1)
    names, values = zip(*model.named_parameters(), strict=True)

    def function(x, *values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (draw(1, 2, 4, 4).requires_grad_(), *values), fast_mode=True)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch instantiates it, tracing
def test_it_is_traced_as_one_graph():
    model, x = made(KAT(replace(SMALL, layers=1), operator=KArAt, dtype=F64)), draw(2, *IMAGE)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x), **EXACT)


@OPERATOR
@pytest.mark.parametrize("universal", [False, True])
def test_a_state_dict_carries_the_whole_function(operator, universal):
    model, other = (KAT(SMALL, operator=operator, universal=universal, dtype=F64) for _ in range(2))
    made(model)
    made(other, seed=5)
    x = draw(2, *IMAGE)
    assert not torch.equal(model(x), other(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))


def test_the_generator_alone_decides_what_is_drawn():
    models = [KAT(SMALL, operator=KArAt) for _ in range(3)]
    before = torch.get_rng_state()
    states = []
    for seed, model in zip((7, 8, 7), models, strict=True):
        model.reset_parameters(drawn(seed))
        states.append(nn.utils.parameters_to_vector(model.parameters()))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(states[0], states[2])
    assert not torch.equal(states[0], states[1])


def test_in_training_branches_are_left_out_for_some_samples_and_the_mean_stays():
    config = replace(SMALL, drop_path=0.5)
    model = made(ViT(config, dtype=F64))
    assert [cast(Block, block).drop_path for block in model.blocks] == [0.0, 0.5]
    block, branch = cast(Block, model.blocks[1]), torch.ones(4000, 5, 8, dtype=F64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = block.train().dropped(branch)
    assert set(dropped.flatten(1).mean(1).tolist()) == {0.0, 2.0}
    assert dropped.mean().item() == pytest.approx(1, abs=5 / 4000**0.5)
    assert torch.equal(block.eval().dropped(branch), branch)


# Warm starts.


def timm_state(config):
    """Weights by the names that timm gives them, and what it calls the model."""
    return {name: value.clone() for name, value in made(ViT(config, dtype=F64), seed=9).state_dict().items()}


def test_names_are_those_of_timm():
    block = {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}
    modules = {f"blocks.{k}.{name}" for k in (0, 1) for name in block} | {"patch_embed.proj", "norm", "head"}
    names = {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")} | {"cls_token", "pos_embed"}
    assert ViT(SMALL).state_dict().keys() == names


@pytest.mark.parametrize(("start", "error"), [("identity", 1e-12), ("silu", 1e-5), ("gelu", 5e-3)])
def test_a_warm_start_leaves_the_function_of_a_vit_unchanged(start, error):
    """Up to the error of the fit, which weights of size 1 do not make larger."""
    act = {"identity": "identity", "silu": functional.silu, "gelu": functional.gelu}[start]

    def feed_forward(config):
        maps = nn.Linear(config.width, config.hidden), nn.Linear(config.hidden, config.width)
        return FeedForward(maps[0], act, maps[1], config.hidden)

    vit = made(ViT(SMALL, feed_forward, dtype=F64), seed=9)
    kat = made(KAT(SMALL, start=start, dtype=F64))
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.mul_(10 if parameter.ndim > 1 else 1)
        for parameter in kat.parameters():
            parameter.add_(1)
    warm_start(kat, vit.state_dict())
    x = draw(5, *IMAGE)
    torch.testing.assert_close(kat(x), vit(x), rtol=0, atol=error)
    assert vit(x).std(0).max() > 0.1


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda state: state.pop("head.bias"), ValueError, r"must have the names of the model, but lacks 'head\.bias'"),
        (lambda state: state.update(pre=torch.ones(1)), ValueError, r"but has 'pre', and 0 more differ"),
        (
            lambda state: state.update({"norm.weight": torch.ones(3)}),
            ValueError,
            r"shape \(8,\) for 'norm\.weight', .* \(3,\)",
        ),
        (lambda state: state.update(cls_token=[0.0]), TypeError, r"must have tensors only, but has \[0\.0\] for 'cls"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(spoil, error, message):
    model, state = KAT(SMALL, dtype=F64), timm_state(SMALL)
    before = nn.utils.parameters_to_vector(model.parameters()).clone()
    spoil(state)
    with pytest.raises(error, match=message):
        warm_start(model, state)
    assert torch.equal(nn.utils.parameters_to_vector(model.parameters()), before)


def test_coefficients_biases_norms_and_positions_do_not_decay():
    model = KAT(SMALL, operator=KArAt)
    decaying, staying = parameter_groups(model, 0.05)
    assert (decaying["weight_decay"], staying["weight_decay"]) == (0.05, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    stay, decay = ({names[id(p)] for p in group["params"]} for group in (staying, decaying))
    assert len(stay) + len(decay) == len(names)
    assert {name for name in names.values() if ".rational." in name} <= stay
    assert {"cls_token", "pos_embed", "head.bias", "norm.weight"} <= stay
    assert {"head.weight", "blocks.0.mlp.fc1.weight", "blocks.1.attn.operator.coefficients"} <= decay
    torch.optim.AdamW([decaying, staying]).step()


# Learned attention.


@pytest.mark.parametrize("basis", [None, BSpline(3, 2), Quantum(5, 3)], ids=["Fourier", "B-splines", "DARUAN"])
def test_weights_are_sums_of_functions_of_the_scores(basis):
    """One row, head and function at a time."""
    operator, scores = KArAt(5, 2, rank=3, basis=basis, dtype=F64), draw(4, 2, 5, 5)
    c, features = operator.coefficients.unflatten(-1, (5, -1)), operator.basis(scores)
    weights = torch.zeros(4, 2, 5, 5, dtype=F64)
    for head in range(2):
        for k in range(5):
            mixed = [
                sum(c[head, s, q, m] * features[:, head, k, q, m] for q in range(5) for m in range(c.shape[-1]))
                for s in range(3)
            ]
            for p in range(5):
                weights[:, head, k, p] = sum(operator.weight[head, p, s] * mixed[s] for s in range(3))
    torch.testing.assert_close(operator(scores), weights, rtol=1e-11, atol=1e-11)


def test_learned_weights_start_with_variance_one_over_the_tokens():
    operator = KArAt(60, 4, dtype=F64)
    operator.reset_parameters(drawn(1))
    weights = operator(draw(2, 4, 60, 60))
    assert 0.8 < (60 * weights.square().mean()).item() < 1.25


def test_all_blocks_share_a_universal_operator():
    operators = [cast(Block, block).attn.operator for block in ViT(SMALL, operator=KArAt, universal=True).blocks]
    assert operators[0] is operators[1] is not None
    operators = [cast(Block, block).attn.operator for block in ViT(SMALL, operator=KArAt).blocks]
    assert operators[0] is not operators[1]


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            lambda: ViTConfig(image_size=30),
            ValueError,
            r"`image_size` must be a multiple of patch_size=16, but is 30\.",
        ),
        (lambda: ViTConfig(width=200), ValueError, r"`width` must be a multiple of heads=3, but is 200\."),
        (lambda: ViTConfig(layers=0), ValueError, r"`layers` must be at least 1, but is 0\."),
        (lambda: ViTConfig(dropout=1.0), ValueError, r"`dropout` must be in \[0, 1\), but is 1\.0\."),
        (lambda: ViTConfig(drop_path="0.1"), TypeError, r"`drop_path` must be a number, such as 0\.1, but is '0\.1'"),  # pyright: ignore
        (lambda: KAT(SMALL, groups=(1, 3)), ValueError, r"`groups` must have divisors of the 8 channels, but has 3"),
        (lambda: ViT(SMALL)(torch.ones(2, 8, 12)), ValueError, r"`x` must have shape \(\*batch, 2, 8, 8\), but has"),
        (lambda: KArAt(5, 2, rank=0), ValueError, r"`rank` must be at least 1, but is 0\."),
        (
            lambda: KArAt(5, 2)(torch.ones(2, 6, 6)),
            ValueError,
            r"\(\*batch, 2, 5, 5\), because every token .* \(2, 6, 6\)",
        ),
    ],
)
def test_an_impossible_argument_is_named_with_its_value(spoil, error, message):
    with pytest.raises(error, match=message):
        spoil()
