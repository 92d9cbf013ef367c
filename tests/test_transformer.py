"""A GPT is its equations, sees no future, remembers exactly, and starts where it should with any feed-forward."""

import copy
import io
import math
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from classical import BSplineKAN
from models import BF16, F32, F64, copied, drawn, identical
from qkan import GPT, GPTConfig, bits_per_character, next_token_loss, perplexity
from qkan.attention import Attention, Memory, rotation
from qkan.blocks import FEED_FORWARDS, GAIN, STD, FeedForward, LayerScale, MakeFeedForward
from qkan.sampling import sample
from tolerances import EXACT

pytestmark = pytest.mark.usefixtures("seeded")

VOCABULARY, CONTEXT, WIDTH = 7, 12, 16
MAKERS: Mapping[str, str | MakeFeedForward] = {
    **{name: name for name in FEED_FORWARDS},
    "a KAN": lambda width: BSplineKAN([width, width], domain=(-3.0, 3.0)),
}


def blocks(model: GPT) -> Any:
    """The blocks, whose parts type checkers do not know."""
    return model.blocks


each_feed_forward = pytest.mark.parametrize("feed_forward", MAKERS.values(), ids=MAKERS)


def gpt(feed_forward: str | MakeFeedForward = "mlp", dtype: torch.dtype = F64, **sizes: Any) -> GPT:
    """A small model whose parameters are large enough for every part to matter."""
    config = GPTConfig(
        **{"vocabulary": VOCABULARY, "context": CONTEXT, "width": WIDTH, "layers": 2, "heads": 2} | sizes
    )
    model = GPT(config, feed_forward, dtype=dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith(("norm", "blocks.0.feed_forward.module", "blocks.1.feed_forward.module")):
                parameter.normal_(std=0.5)
    return model.eval()


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(VOCABULARY, shape, generator=drawn(seed))


# What is computed.


def naive_attention(attention: Attention, x: Tensor) -> Tensor:
    """Of `x (time, width)`, position by position, with rotations as complex numbers."""
    size = x.shape[-1] // attention.heads
    parts = attention.inputs(x).reshape(len(x), 3, attention.heads, size)
    turns = [10_000.0 ** (-2 * j / size) for j in range(size // 2)]
    angle = torch.tensor([[t * turn for turn in turns] for t in range(len(x))], dtype=F64)

    def complexes(part: Tensor) -> Tensor:
        return torch.complex(part[:, : size // 2], part[:, size // 2 :]) * torch.exp(1j * angle)

    heads = []
    for head in range(attention.heads):
        q, k, v = complexes(parts[:, 0, head]), complexes(parts[:, 1, head]), parts[:, 2, head]
        rows = []
        for t in range(len(x)):
            scores = (q[t] * k[: t + 1].conj()).real.sum(-1) / math.sqrt(size)
            rows.append(scores.exp() @ v[: t + 1] / scores.exp().sum())
        heads.append(torch.stack(rows))
    return attention.output(torch.cat(heads, -1))


def naive_gpt(model: GPT, text: Tensor) -> Tensor:
    def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return layer.weight * centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() + layer.bias

    x = model.embedding.weight[text]
    for block in blocks(model):
        x = x + naive_attention(block.attention, norm(block.attention_norm, x))
        x = x + block.feed_forward(norm(block.norm, x))
    return norm(model.norm, x) @ model.embedding.weight.T


@each_feed_forward
def test_a_model_is_its_equations(feed_forward):
    model, text = gpt(feed_forward), tokens(3, CONTEXT)
    expected = torch.stack([naive_gpt(model, row) for row in text])
    torch.testing.assert_close(model(text), expected, **EXACT)


def test_the_perceptron_is_its_formula():
    module, x = FeedForward(3).double(), torch.randn(4, 3, dtype=F64)
    hidden = x @ module.up.weight.T + module.up.bias
    gelu = hidden / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    torch.testing.assert_close(module(x), gelu @ module.down.weight.T + module.down.bias, **EXACT)


@each_feed_forward
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3), (0,), (2, 0)], ids=str)
def test_models_map_any_batch(feed_forward, batch):
    model, text = gpt(feed_forward), tokens(*batch, 5)
    rows = [model(row) for row in text.reshape(-1, 5)]
    expected = torch.stack(rows) if rows else torch.empty(0, 5, VOCABULARY, dtype=F64)
    torch.testing.assert_close(model(text), expected.reshape(*batch, 5, VOCABULARY), **EXACT)


@each_feed_forward
def test_nobody_sees_the_future(feed_forward):
    model, text = gpt(feed_forward), tokens(2, CONTEXT)
    logits = model(text)
    for time in range(1, CONTEXT):
        changed = text.clone()
        changed[:, time:] = (changed[:, time:] + 1) % VOCABULARY
        torch.testing.assert_close(model(changed)[:, :time], logits[:, :time], **EXACT)
        assert not torch.isclose(model(changed)[:, time:], logits[:, time:]).all(-1).any()


def test_attention_depends_on_differences_of_positions():
    attention, x = Attention(WIDTH, 2).double(), torch.randn(6, WIDTH, dtype=F64)
    early, late = (attention(x, rotation(start, 6, WIDTH // 2, x)) for start in (0, 37))
    torch.testing.assert_close(late, early, **EXACT)
    reversed_order = attention(x.flip(0), rotation(0, 6, WIDTH // 2, x)).flip(0)
    assert not torch.isclose(reversed_order, early).all(-1).any()


def test_the_readout_is_the_embedding():
    model = GPT(GPTConfig(VOCABULARY, CONTEXT, WIDTH, layers=3, heads=2))
    block = 12 * WIDTH**2 + 13 * WIDTH  # attention 4 w^2 + 4 w, perceptron 8 w^2 + 5 w, two norms 4 w
    assert sum(parameter.numel() for parameter in model.parameters()) == VOCABULARY * WIDTH + 3 * block + 2 * WIDTH


@each_feed_forward
def test_every_parameter_learns(feed_forward):
    model, text = gpt(feed_forward), tokens(4, CONTEXT)
    next_token_loss(model(text), text).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("feed_forward", ["mlp", "hqkan"])
def test_a_small_model_learns_a_rule(feed_forward):
    """Counting up and down by turns needs two tokens of the past."""
    text = torch.tensor([(0, 1, 2, 3, 4, 3, 2, 1)[t % 8] for t in range(40)]).unfold(0, CONTEXT, 1)
    model = GPT(GPTConfig(VOCABULARY, CONTEXT, WIDTH, layers=2, heads=2), feed_forward)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loss = torch.tensor(0.0)
    for _ in range(60):
        optimizer.zero_grad()
        loss = next_token_loss(model(text)[:, 1:], text[:, 1:])
        loss.backward()
        optimizer.step()
    assert loss < 0.1
    assert model.generate(torch.tensor([0, 1]), 8, temperature=0).tolist() == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1]


# The start.


def streams(model: GPT, text: Tensor) -> tuple[float, float]:
    """Variance of the residual stream before the first block and after the last."""
    seen: list[Tensor] = []
    hooks = [model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))]
    hooks.append(model.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])))
    with torch.no_grad():
        model(text)
    for hook in hooks:
        hook.remove()
    first, last = (x.var().item() for x in seen)
    return first, last


@each_feed_forward
@pytest.mark.parametrize("layers", [1, 4, 12])
def test_the_stream_starts_alike_at_any_depth(feed_forward, layers):
    model = GPT(GPTConfig(VOCABULARY, 32, 64, layers, 4), feed_forward)
    first, last = streams(model, tokens(8, 32))
    assert first == pytest.approx(STD**2, rel=0.2)
    if feed_forward == "mlp":
        assert first < last < 3 * first
    else:  # these start with a variance of 1 for normal inputs, here few different ones, and of 2 for the KAN
        assert GAIN**2 / 4 < last < 5 / 4 * GAIN**2


@pytest.mark.parametrize("layers", [1, 4, 12])
def test_branches_of_unit_variance_together_add_half_the_square_of_the_gain(layers):
    model, added = GPT(GPTConfig(VOCABULARY, 32, 64, layers, 4), lambda width: nn.Identity()), []
    for block in blocks(model):
        block.feed_forward.register_forward_hook(lambda _, inputs, output: added.append(output.square().mean().item()))
    model(tokens(8, 32))
    # The norm in front has 1e-5 beneath its root, beside the variance 4e-4 of an embedding.
    assert sum(added) == pytest.approx(GAIN**2 / 2, rel=0.05)


def test_linear_maps_start_as_in_gpt2():
    model = GPT(GPTConfig(VOCABULARY, width=128, layers=8))
    block = blocks(model)[3]
    for linear, std in (
        (block.attention.inputs, STD),
        (block.attention.output, STD / 4),
        (block.feed_forward.up, STD),
        (block.feed_forward.down, STD / 4),
    ):
        assert linear.weight.std().item() == pytest.approx(std, rel=0.03)
        assert not linear.bias.any()


@each_feed_forward
def test_a_module_of_ones_own_keeps_its_start(feed_forward):
    made, starts = [], []

    def make(width: int) -> nn.Module:
        module = nn.Sequential(FEED_FORWARDS.get(feed_forward, feed_forward)(width))
        made.append(module)
        starts.append(copied(module))
        return module

    model = GPT(GPTConfig(VOCABULARY, width=WIDTH, layers=2, heads=2), make)
    assert [block.feed_forward.module for block in blocks(model)] == made
    assert all(identical(copied(module), start) for module, start in zip(made, starts, strict=True))


# The loss.


def test_a_model_that_copies_the_next_token_has_no_loss():
    text = tokens(3, 9)
    knowing = 200.0 * nn.functional.one_hot(text.roll(-1, -1), VOCABULARY).double()
    assert next_token_loss(knowing, text).item() == pytest.approx(0.0, abs=1e-12)
    copying = 200.0 * nn.functional.one_hot(text, VOCABULARY).double()
    assert next_token_loss(copying, text) > 100, "to repeat the token that was seen is no prediction"


def test_the_loss_is_the_mean_over_all_predictions():
    logits, text = torch.randn(2, 3, 9, VOCABULARY, dtype=F64, generator=drawn(1)), tokens(2, 3, 9)
    terms = [
        -math.log(logits[*at].softmax(-1)[text[at[0], at[1], at[2] + 1]].item())
        for at in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(8)).tolist()
    ]
    assert next_token_loss(logits, text).item() == pytest.approx(sum(terms) / 48, abs=1e-12)
    assert next_token_loss(0 * logits, text).item() == pytest.approx(math.log(VOCABULARY), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8], ids=str)
def test_the_loss_takes_ints_of_any_kind(dtype):
    model, text = gpt(), tokens(3, 9)
    expected = next_token_loss(model(text), text)
    assert next_token_loss(model(text), text.to(dtype)) == expected
    for other in (text.double(), text.bool()):
        with pytest.raises(TypeError, match=r"`tokens` must be a tensor of ints, but is torch\.(float64|bool)"):
            next_token_loss(model(text), other)


def test_the_last_logits_and_the_first_token_are_of_no_loss():
    logits, text = torch.randn(4, 9, VOCABULARY, dtype=F64, generator=drawn(1)), tokens(4, 9)
    loss = next_token_loss(logits, text)
    logits[:, -1], text[:, 0] = 100.0, (text[:, 0] + 1) % VOCABULARY
    assert next_token_loss(logits, text) == loss


@pytest.mark.parametrize(
    ("logits", "text"), [((3, 5, 7), (3, 4)), ((3, 1, 7), (3, 1)), ((7,), ()), ((3, 5), (3, 5))], ids=str
)
def test_the_loss_refuses_what_has_no_next_token(logits, text):
    with pytest.raises(ValueError, match=r"Arguments `logits` and `tokens` must have shapes"):
        next_token_loss(torch.zeros(logits), torch.zeros(text, dtype=torch.long))


def test_perplexity_and_bits_are_the_loss_in_other_units():
    assert perplexity(math.log(65)) == pytest.approx(65)
    assert bits_per_character(math.log(65)) == pytest.approx(math.log2(65))
    # 100 tokens of 2 bits each for 400 characters.
    assert bits_per_character(2 * math.log(2), tokens=100, characters=400) == pytest.approx(0.5)


# The cache.


@each_feed_forward
@settings(max_examples=25)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=CONTEXT), batch=st.sampled_from([(), (3,), (2, 2)]))
def test_parts_of_a_sequence_give_the_logits_of_the_whole(feed_forward, sizes, batch):
    model, text = gpt(feed_forward), tokens(*batch, CONTEXT)
    cache, ends = model.new_cache(), [sum(sizes[: n + 1]) for n in range(len(sizes))]
    bounds = [0, *(end for end in ends if end < CONTEXT), CONTEXT]
    with torch.no_grad():
        parts = [model(text[..., a:b], cache) for a, b in pairwise(bounds)]
        whole = model(text)
    assert [len(memory) for memory in cache] == [CONTEXT] * 2
    torch.testing.assert_close(torch.cat(parts, -2), whole, **EXACT)


def test_gradients_pass_through_the_cache():
    model, text = gpt(), tokens(2, 8)

    def gradients(logits: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(logits.square().sum(), list(model.parameters()))

    cache = model.new_cache()
    parts = torch.cat([model(text[:, :5], cache), model(text[:, 5:], cache)], 1)
    for actual, expected in zip(gradients(parts), gradients(model(text)), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def test_a_memory_is_of_one_batch():
    model, cache = gpt(), gpt().new_cache()
    model(tokens(2, 3), cache)
    with pytest.raises(ValueError, match=r"The cache is of a batch \(2,\), the tokens of \(3,\): use a new cache\."):
        model(tokens(3, 3), cache)
    assert len(Memory()) == 0


# Generation.


def greedily(model: GPT, text: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        text = torch.cat([text, model(text)[..., -1:, :].argmax(-1)], -1)
    return text


@each_feed_forward
@pytest.mark.parametrize("batch", [(), (3,), (2, 2), (0,)], ids=str)
def test_temperature_zero_takes_the_likeliest(feed_forward, batch):
    model, prompt = gpt(feed_forward), tokens(*batch, 4)
    expected = greedily(model, prompt, CONTEXT - 4)
    assert torch.equal(model.generate(prompt, CONTEXT - 4, temperature=0), expected)
    assert torch.equal(model.generate(prompt, CONTEXT - 4, top_k=1), expected)


@each_feed_forward
@pytest.mark.parametrize("length", [1, 5, CONTEXT, CONTEXT + 5])
def test_the_cache_changes_no_token(feed_forward, length):
    model, prompt = gpt(feed_forward), tokens(3, length)
    texts = [
        model.generate(prompt, 3 * CONTEXT, 0.9, top_k=5, generator=drawn(3), cached=cached) for cached in (True, False)
    ]
    assert torch.equal(*texts)
    assert texts[0].shape == (3, length + 3 * CONTEXT)
    assert torch.equal(texts[0][:, :length], prompt)
    assert texts[0][:, length:].unique().numel() > 2


def test_a_full_context_forgets_its_older_half():
    model, text = gpt(), tokens(2, CONTEXT)
    longer = model.generate(text, 2, temperature=0)
    assert torch.equal(longer[:, CONTEXT], model(text)[:, -1].argmax(-1))
    assert torch.equal(longer[:, -1], model(longer[:, -1 - CONTEXT // 2 : -1])[:, -1].argmax(-1))


def test_only_the_end_of_a_long_prompt_is_seen():
    model, text = gpt(), tokens(2, 2 * CONTEXT)
    longer, shorter = model.generate(text, 9, temperature=0), model.generate(text[:, CONTEXT:], 9, temperature=0)
    assert torch.equal(longer[:, CONTEXT:], shorter)


@pytest.mark.parametrize("context", [1, 2, 3])
def test_the_shortest_contexts_go_on(context):
    model = gpt(context=context)
    texts = [model.generate(tokens(2, 1), 7, temperature=0, cached=cached) for cached in (True, False)]
    assert torch.equal(*texts)
    if context == 1:
        assert torch.equal(texts[0][:, 1:], model(texts[0][:, :-1, None])[..., 0, :].argmax(-1))


def test_a_generator_fixes_the_text():
    model, prompt = gpt(), tokens(4, 2)
    first, again, other = (model.generate(prompt, 10, generator=drawn(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nothing_is_dropped_while_generating_and_training_goes_on_afterwards():
    model = gpt(dropout=0.5).train()
    first, second = (model.generate(tokens(4, 2), 8, temperature=0) for _ in range(2))
    assert torch.equal(first, second)
    assert all(module.training for module in model.modules())
    text = tokens(4, 8)
    assert not torch.equal(model(text), model(text))
    assert torch.equal(model.eval()(text), model(text))


def test_a_frozen_part_stays_in_evaluation():
    model = gpt(dropout=0.5).train()
    model.blocks[0].eval()
    model.generate(tokens(2, 2), 2)
    assert model.training
    assert not any(module.training for module in model.blocks[0].modules())


def test_no_steps_are_no_change_and_dtypes_stay():
    prompt = tokens(2, 3).int()
    assert torch.equal(gpt().generate(prompt, 0), prompt)
    assert gpt().generate(prompt, 2).dtype == torch.int32


def test_draws_have_the_distribution_of_the_logits():
    logits, count = torch.tensor([0.0, 1.0, 2.0, -1.0]), 40_000
    for temperature, top_k in ((1.0, None), (0.5, None), (2.0, 3)):
        rows = sample(logits.expand(count, 4), temperature, top_k, drawn(0))
        expected = (logits / temperature).softmax(-1)
        if top_k:
            expected[3] = 0
            expected = expected / expected.sum()
        # Five standard deviations, at most sqrt(1 / 4 n) each.
        assert (rows.bincount(minlength=4) / count - expected).abs().max() < 5 / math.sqrt(4 * count)


def test_exactly_so_many_of_equal_tokens_can_be_drawn():
    assert sample(torch.zeros(1000, 6), top_k=2, generator=drawn(0)).unique().numel() == 2


@pytest.mark.parametrize("dtype", [BF16, F32, F64], ids=str)
def test_a_tiny_temperature_is_greedy(dtype):
    logits = torch.randn(50, 9, generator=drawn(0)).to(dtype)
    assert torch.equal(sample(1e4 * logits, 1e-30), sample(logits, 0))


# Modules of torch.


@each_feed_forward
def test_a_state_dict_is_loaded_safely(feed_forward):
    model, other, file = gpt(feed_forward), gpt(feed_forward), io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    assert not torch.equal(other(tokens(5)), model(tokens(5)))
    other.load_state_dict(torch.load(file, weights_only=True))
    for twin in (other, copy.deepcopy(model)):
        assert torch.equal(twin(tokens(5)), model(tokens(5)))


@each_feed_forward
def test_parameters_can_be_passed_from_outside(feed_forward):
    model, other = gpt(feed_forward), gpt(feed_forward)
    assert torch.equal(functional_call(other, copied(model), (tokens(5),)), model(tokens(5)))


@each_feed_forward
@pytest.mark.parametrize(("dtype", "atol"), [(F32, 2e-5), (BF16, 0.3)], ids=str)
def test_other_dtypes_are_close(feed_forward, dtype, atol):
    model = gpt(feed_forward)
    logits, expected = copy.deepcopy(model).to(dtype)(tokens(3, 8)), model(tokens(3, 8)).detach()
    assert logits.dtype == dtype
    torch.testing.assert_close(logits.double(), expected, rtol=0, atol=atol * expected.abs().max().item())


def test_devices_and_dtypes_are_of_all_parameters():
    model = GPT(GPTConfig(VOCABULARY, CONTEXT, WIDTH, heads=2), "hqkan", device="meta", dtype=BF16)
    assert {(parameter.device.type, parameter.dtype) for parameter in model.parameters()} == {("meta", BF16)}
    assert model(torch.zeros(2, 5, dtype=torch.long, device="meta")).shape == (2, 5, VOCABULARY)


# Refusals.

Maker: Any = GPT
Config: Any = GPTConfig

REFUSED: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "vocabulary": (lambda: Config(0), ValueError, "`vocabulary` must be positive, but is 0."),
    "layers": (lambda: Config(5, layers=2.0), TypeError, "`layers` must be an int, but is 2.0."),
    "heads": (lambda: Config(5, width=12, heads=4), ValueError, "`width` must be a multiple of 2 * heads = 8"),
    "dropout": (lambda: Config(5, dropout=1.0), ValueError, "`dropout` must be a number in [0, 1), but is 1.0."),
    "no name": (lambda: Maker(Config(5), "kan"), TypeError, "one of 'mlp', 'hqkan', 'grouped hqkan', or a function"),
    "a module": (lambda: Maker(Config(5), nn.Identity()), TypeError, "`feed_forward` must be one of"),
    "floats": (lambda: gpt()(torch.zeros(3)), TypeError, "`tokens` must be a tensor of ints, but is torch.float32"),
    "a list": (lambda: Maker(Config(5))([1]), TypeError, "`tokens` must be a tensor of ints, but is list"),
    "one token": (lambda: gpt()(torch.tensor(1)), ValueError, "`tokens` must have shape (*batch, time)"),
    "too large": (lambda: gpt()(torch.tensor([7])), ValueError, "from 0 to vocabulary - 1 = 6, but reaches 7."),
    "negative": (lambda: gpt()(torch.tensor([-1])), ValueError, "from 0 to vocabulary - 1 = 6, but reaches -1."),
    "too long": (
        lambda: gpt()(tokens(13)),
        ValueError,
        "at most context=12 tokens, with those of the cache, but has 0",
    ),
    "another depth": (
        lambda: gpt()(tokens(3), [*gpt().new_cache(), Memory()]),
        ValueError,
        "`cache` must have a memory for each of the 2 blocks, but has 3: make it by new_cache() of this model.",
    ),
    "no memory": (lambda: gpt()(tokens(3), []), ValueError, "for each of the 2 blocks, but has 0"),
    "no prompt": (lambda: gpt().generate(tokens(2, 0), 1), ValueError, "`prompt` must have at least one token"),
    "steps": (lambda: gpt().generate(tokens(2), -1), ValueError, "`steps` must be an int of 0 or more, but is -1."),
    "cold": (lambda: gpt().generate(tokens(2), 1, -0.1), ValueError, "`temperature` must be a number of 0 or more"),
    "top_k": (lambda: gpt().generate(tokens(2), 1, top_k=8), ValueError, "from 1 to vocabulary=7, but is 8."),
}


@pytest.mark.parametrize(("make", "error", "told"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_told(make, error, told):
    with pytest.raises(error, match=re.escape(told)):
        make()


def test_a_full_cache_is_told():
    model = gpt()
    cache = model.new_cache()
    model(tokens(10), cache)
    with pytest.raises(ValueError, match=r"but has 10 \+ 3: cut the sequence"):
        model(tokens(3), cache)


def test_a_gain_multiplies_every_channel():
    scaled = LayerScale(nn.Identity(), 3, 0.25)
    torch.testing.assert_close(scaled(torch.ones(2, 3)), torch.full((2, 3), 0.25))
