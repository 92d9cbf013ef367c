"""Feed-forward blocks of models in the style of timm, Hugging Face, LLaMA and torch give way to HQKANs."""

# pyright: reportArgumentType=false

import copy
import io
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models import BF16, F32, F64, copied, identical
from qkan import HQKAN, Replacement, latent_widths, replace_mlps
from tolerances import SINGLE

pytestmark = pytest.mark.usefixtures("seeded")

D, H = 16, 64


# Blocks with the structure and the names of those of other packages.


class Mlp(nn.Module):
    """As timm's."""

    def __init__(self, width: int = D, hidden: int = H, out: int = D, drop: float = 0.0, norm: bool = False) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.drop1 = nn.Dropout(drop)
        self.norm = nn.LayerNorm(hidden) if norm else nn.Identity()
        self.fc2 = nn.Linear(hidden, out)
        self.drop2 = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop2(self.fc2(self.norm(self.drop1(self.act(self.fc1(x))))))


class Conv1D(nn.Module):
    """As Hugging Face's: a linear map with weight (in, out)."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.shape[:-1], self.nf)


class GPT2MLP(nn.Module):
    """As Hugging Face's."""

    def __init__(self, hidden: int = H, width: int = D, drop: float = 0.1) -> None:
        super().__init__()
        self.c_fc = Conv1D(hidden, width)
        self.c_proj = Conv1D(width, hidden)
        self.act = nn.GELU()
        self.dropout = nn.Dropout(drop)

    def forward(self, hidden_states: Tensor | None) -> Tensor:
        assert hidden_states is not None
        return self.dropout(self.c_proj(self.act(self.c_fc(hidden_states))))


class LlamaMLP(nn.Module):
    """As Hugging Face's: gated."""

    def __init__(self, width: int = D, hidden: int = H) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)
        self.act_fn = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class Expert(nn.Module):
    """As Mixtral's, whose middle map is the last one, with an activation that is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Linear(D, H, bias=False)
        self.w2 = nn.Linear(H, D, bias=False)
        self.w3 = nn.Linear(D, H, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(functional.silu(self.w1(x)) * self.w3(x))


class Packed(nn.Module):
    """A gate out of the same map, as in ModernBERT."""

    def __init__(self) -> None:
        super().__init__()
        self.Wi = nn.Linear(D, 2 * H)
        self.act = nn.GELU()
        self.drop = nn.Dropout(0.1)
        self.Wo = nn.Linear(H, D)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.Wi(x).chunk(2, dim=-1)
        return self.Wo(self.drop(self.act(x) * gate))


class Backwards(nn.Module):
    """Registers its last map first."""

    def __init__(self) -> None:
        super().__init__()
        self.proj, self.fc = nn.Linear(H, D), nn.Linear(D, H)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(torch.relu(self.fc(x)))


class Attention(nn.Module):
    def __init__(self, width: int = D) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.proj_drop(self.proj(functional.scaled_dot_product_attention(q, k, v)))


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(D), Attention()
        self.norm2, self.mlp = nn.LayerNorm(D), mlp

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    def __init__(self, *mlps: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Linear(7, D)
        self.blocks = nn.ModuleList(map(Layer, mlps))
        self.head = nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class ViTIntermediate(nn.Module):
    """As Hugging Face's."""

    def __init__(self, function: bool) -> None:
        super().__init__()
        self.dense = nn.Linear(D, H)
        self.intermediate_act_fn: Any = functional.gelu if function else nn.GELU()

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.intermediate_act_fn(self.dense(hidden_states))


class ViTOutput(nn.Module):
    """As Hugging Face's: it adds the residual."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(H, D)
        self.dropout = nn.Dropout(0.5)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        return self.dropout(self.dense(hidden_states)) + input_tensor


class BertOutput(ViTOutput):
    """As Hugging Face's, with a norm after the residual."""

    def __init__(self) -> None:
        super().__init__()
        self.LayerNorm = nn.LayerNorm(D)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        return self.LayerNorm(super().forward(hidden_states, input_tensor))


class ViTLayer(nn.Module):
    def __init__(self, output: nn.Module, function: bool = False) -> None:
        super().__init__()
        self.intermediate, self.output = ViTIntermediate(function), output
        self.layernorm_after = nn.LayerNorm(D)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.intermediate(self.layernorm_after(x)), x)


def sequential(drop: float = 0.0) -> nn.Sequential:
    return nn.Sequential(nn.Linear(D, H), nn.GELU(), nn.Dropout(drop), nn.Linear(H, D), nn.Dropout(drop))


def tokens(width: int = 7, dtype: torch.dtype = F32) -> Tensor:
    return torch.randn(2, 5, width, dtype=dtype)


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for parameter in nn.ModuleList(modules).parameters())


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs)


WHOLE = {
    "timm": Mlp,
    "timm, norm": lambda: Mlp(norm=True),
    "GPT-2": GPT2MLP,
    "LLaMA": LlamaMLP,
    "Mixtral": Expert,
    "packed gate": Packed,
    "backwards": Backwards,
}


# What is found, and what comes in its place.


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_a_block_is_replaced_as_a_whole(make):
    model = Transformer(make(), make())
    mlp, whole = count(make()), count(model)
    report = replace_mlps(model)
    assert report.names == ("blocks.0.mlp", "blocks.1.mlp")
    assert report.blocks_before == 2 * mlp
    assert report.blocks_after == 2 * count(HQKAN(D, D))
    assert report.before == whole
    assert report.after == count(model) == whole - 2 * mlp + 2 * count(HQKAN(D, D))
    assert len([module for module in model.modules() if isinstance(module, HQKAN)]) == 2
    model(tokens()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_the_new_map_does_all_that_the_block_did(make):
    layer, x = Layer(make()).eval(), tokens(D)
    replace_mlps(layer, linear)
    (new,) = [module for module in layer.mlp.modules() if isinstance(module, nn.Linear)]
    before = x + layer.attn(layer.norm1(x))
    torch.testing.assert_close(layer(x), before + new(layer.norm2(before)), **SINGLE)


def test_dropouts_after_the_last_map_stay():
    model = Transformer(Mlp(drop=0.1), GPT2MLP(drop=0.2), Packed(), LlamaMLP())
    dropouts = [model.get_submodule("blocks.0.mlp.drop2"), model.get_submodule("blocks.1.mlp.dropout")]
    replace_mlps(model)
    assert [type(model.get_submodule(f"blocks.{i}.mlp")) for i in range(4)] == [
        nn.Sequential,
        nn.Sequential,
        HQKAN,
        HQKAN,
    ]
    assert [model.get_submodule(f"blocks.{i}.mlp.1") for i in range(2)] == dropouts


def test_the_maps_of_a_sequential_give_way_and_what_is_around_them_stays():
    mlp = nn.Sequential(nn.LayerNorm(D), *sequential(0.5), nn.LayerNorm(D))
    first, dropout, last = mlp[0], mlp[5], mlp[6]
    model = Transformer(mlp)
    report = replace_mlps(model)
    assert report.names == ("blocks.0.mlp",)
    assert report.blocks_before == D * H + H + H * D + D
    assert [type(module) for module in mlp] == [
        nn.LayerNorm,
        HQKAN,
        nn.Identity,
        nn.Identity,
        nn.Identity,
        nn.Dropout,
        nn.LayerNorm,
    ]
    assert (mlp[0], mlp[5], mlp[6]) == (first, dropout, last)
    x = tokens(D)
    mlp.eval()
    torch.testing.assert_close(mlp(x), last(mlp[1](first(x))), **SINGLE)


@pytest.mark.parametrize("function", [False, True])
@pytest.mark.parametrize("make", [ViTOutput, BertOutput])
def test_the_two_halves_of_a_vision_transformers_block_keep_dropout_residual_and_norm(make, function):
    layer: Any = ViTLayer(make(), function).eval()
    x = tokens(D)
    report = replace_mlps(nn.ModuleList([layer]), linear)
    assert report.names == ("0",)
    assert report.blocks_before == D * H + H + H * D + D
    new = layer.intermediate.dense
    assert isinstance(new, nn.Linear)
    expected = new(layer.layernorm_after(x)) + x
    if isinstance(layer.output, BertOutput):
        expected = layer.output.LayerNorm(expected)
    torch.testing.assert_close(layer(x), expected, **SINGLE)
    assert layer.output.dropout.p == 0.5
    torch.testing.assert_close(copy.deepcopy(layer)(x), expected, **SINGLE)
    torch.save(layer, io.BytesIO())


# torch's own transformers.


def encoder(layers: int = 2, activation: Any = "relu", norm_first: bool = False) -> Any:
    layer = nn.TransformerEncoderLayer(D, 2, H, 0.3, activation, batch_first=True, norm_first=norm_first)
    nested = not norm_first and layer.activation_relu_or_gelu != 0
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=nested).eval()


def by_hand(layer: nn.TransformerEncoderLayer, x: Tensor, padding: Tensor | None = None) -> Tensor:
    """An evaluated layer from its parts, with `linear1` as the whole feed-forward map."""

    def attention(x: Tensor) -> Tensor:
        return layer.self_attn(x, x, x, key_padding_mask=padding, need_weights=False)[0]

    if layer.norm_first:
        x = x + attention(layer.norm1(x))
        return x + layer.linear1(layer.norm2(x))
    x = layer.norm1(x + attention(x))
    return layer.norm2(x + layer.linear1(x))


@pytest.mark.parametrize("activation", ["relu", functional.gelu, nn.SiLU()], ids=["relu", "a function", "a module"])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("no_grad", [False, True])
def test_layers_of_torchs_encoder_use_the_new_map_in_every_mode(no_grad, norm_first, activation):
    model, x = encoder(2, activation, norm_first), tokens(D)
    report = replace_mlps(model)
    assert report.names == ("layers.0", "layers.1")
    assert report.blocks_before == 2 * (D * H + H + H * D + D)
    dropouts = {name for name, module in model.layers[0].named_children() if isinstance(module, nn.Dropout)}
    assert dropouts == {"dropout1", "dropout2"}  # not that of the hidden layer
    with torch.inference_mode(no_grad):
        expected = by_hand(model.layers[1], by_hand(model.layers[0], x))
        torch.testing.assert_close(model(x), expected, **SINGLE)
        torch.testing.assert_close(copy.deepcopy(model)(x), expected, **SINGLE)
    y = model.train()(x)
    assert y.shape == x.shape
    assert not torch.equal(y, model(x))  # dropout is at work


def test_padded_batches_do_not_reach_the_fast_path():
    model, x = encoder(), tokens(D)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    replace_mlps(model, select="layers.0")
    with torch.no_grad():
        y = model(x, src_key_padding_mask=padding)
        expected = model.layers[1](by_hand(model.layers[0], x, padding), src_key_padding_mask=padding)
    torch.testing.assert_close(y[0], expected[0], **SINGLE)
    torch.testing.assert_close(y[1, :3], expected[1, :3], **SINGLE)


def test_layers_of_torchs_decoder_use_the_new_map():
    layer = nn.TransformerDecoderLayer(D, 2, H, 0.3, batch_first=True).eval()
    model = nn.TransformerDecoder(layer, 2)
    assert replace_mlps(model, linear).names == ("layers.0", "layers.1")
    x, memory = tokens(D), tokens(D)
    for layer in model.layers:
        assert isinstance(layer, nn.TransformerDecoderLayer)
        y = layer.norm1(x + layer.self_attn(x, x, x, need_weights=False)[0])
        y = layer.norm2(y + layer.multihead_attn(y, memory, memory, need_weights=False)[0])
        torch.testing.assert_close(layer(x, memory), layer.norm3(y + layer.linear1(y)), **SINGLE)


# What is none.


class Residual(Mlp):
    """It adds its input itself, so that it is more than a block."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Conditioned(Mlp):
    """It takes two inputs."""

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x + condition)


class Scaled(Mlp):
    """It has a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(D))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * super().forward(x)


class Normed(Mlp):
    """It normalises its input, by a norm without parameters or with."""

    def __init__(self, affine: bool) -> None:
        super().__init__()
        self.before = nn.LayerNorm(D, elementwise_affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.before(x))


class Mixed(Mlp):
    """It mixes the hidden numbers by something that is no linear map of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.act: Any = nn.MultiheadAttention(H, 2)


class Mixer(nn.Module):
    """Its maps have the sizes of a block's, but between them tokens see each other."""

    def __init__(self, mix: Callable[[Tensor], Tensor], gated: bool = False) -> None:
        super().__init__()
        self.up, self.gate = nn.Linear(D, H), nn.Linear(D, H) if gated else None
        self.down = nn.Linear(H, D)
        self.mix = mix

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.mix(self.up(x))
        return self.down(hidden if self.gate is None else hidden * torch.sigmoid(self.gate(x)))


class After(Mlp):
    """It does something with its input and what its last map makes."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, super().forward(x))


class Before(After):
    """It does something with its input first."""

    def forward(self, x: Tensor) -> Tensor:
        return Mlp.forward(self, self.function(x, x))


class Fourier(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x, dim=-2).real


class Raising(Mlp):
    """It takes images of 196 tokens only."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] != 196:
            raise self.error("tokens")
        return super().forward(x)


NONE = {
    "attention of queries and values": lambda: Mixer(lambda v: functional.scaled_dot_product_attention(v, v, v)),
    "sums up to now": lambda: Mixer(lambda v: v.cumsum(-2)),
    "sums from now on": lambda: Mixer(lambda v: v.flip(-2).cumsum(-2).flip(-2)),
    "sums by position": lambda: Mixer(lambda v: v.cumsum(1)),
    "a mean over the batch": lambda: Mixer(lambda v: v - v.mean(0)),
    "a gated scan": lambda: Mixer(lambda v: v.cumsum(-2), gated=True),
    "tokens of a frequency": lambda: nn.Sequential(nn.Linear(D, H), Fourier(), nn.Linear(H, D)),
    "another shape": lambda: nn.Sequential(nn.Linear(D, H), nn.Flatten(0, 1), nn.Linear(H, D)),
    "a gate by the input": lambda: After(lambda x, y: x * torch.tanh(y)),
    "a product with the input": lambda: After(lambda x, y: x * y),
    "an activation at the end": lambda: After(lambda x, y: y.relu()),
    "a factor at the end": lambda: After(lambda x, y: 0.5 * y),
    "a norm at the end": lambda: After(lambda x, y: functional.layer_norm(y, (D,))),
    "a norm of the input": lambda: Before(lambda x, _: functional.layer_norm(x, (D,))),
    "assertion": lambda: Raising(AssertionError),
    "attribute": lambda: Raising(AttributeError),
    "index": lambda: Raising(IndexError),
    "key": lambda: Raising(KeyError),
    "attention": Attention,
    "torch's attention": lambda: nn.MultiheadAttention(D, 2),
    "residual": Residual,
    "two inputs": Conditioned,
    "a parameter": Scaled,
    "norm before": lambda: Normed(False),
    "affine norm before": lambda: Normed(True),
    "mixed": Mixed,
    "a head": lambda: Mlp(out=5),
    "a bottleneck": lambda: Mlp(hidden=4),
    "square maps": lambda: nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, D)),
    "three maps": lambda: nn.Sequential(nn.Linear(D, H), nn.Linear(H, H), nn.Linear(H, D)),
    "a convolution between": lambda: nn.Sequential(nn.Linear(D, H), nn.Conv1d(H, H, 1), nn.Linear(H, D)),
    "embeddings": lambda: nn.Sequential(nn.Embedding(D, H), nn.Linear(H, D)),
}


@pytest.mark.parametrize("make", NONE.values(), ids=NONE)
def test_what_is_no_block_is_left_alone(make):
    model = nn.ModuleDict({"it": make(), "head": nn.Linear(D, 3)})
    before, shown = copied(model), repr(model)
    with pytest.raises(
        ValueError, match=r"`model` has no feed-forward block of sizes in == out < hidden; looked for a"
    ):
        replace_mlps(model)
    assert identical(copied(model), before)
    assert repr(model) == shown


def test_a_zero_start_hides_no_attention():
    mixer, mlp = Mixer(lambda v: functional.scaled_dot_product_attention(v, v, v)), Mlp()
    for parameter in (*mixer.down.parameters(), *mlp.fc2.parameters()):
        nn.init.zeros_(parameter)
    assert replace_mlps(nn.ModuleDict({"it": mixer, "mlp": mlp})).names == ("mlp",)


def test_norms_over_a_batch_that_take_no_time_stay_blocks():
    norm = nn.BatchNorm1d(H)
    before = copied(norm)
    model = nn.ModuleDict({"it": nn.Sequential(nn.Linear(D, H), norm, nn.ReLU(), nn.Linear(H, D))})
    assert replace_mlps(model).names == ("it",)
    assert identical(copied(norm), before)


def test_other_sizes_are_replaced_where_they_are_selected():
    model = nn.ModuleDict({"head": Mlp(D, H, 5), "narrow": nn.Sequential(nn.Linear(D, 4), nn.ReLU(), nn.Linear(4, 3))})
    report = replace_mlps(model, select=lambda name, module: name in ("head", "narrow"))
    assert [(block.names, block.in_features, block.out_features) for block in report.blocks] == [
        (("head",), D, 5),
        (("narrow",), D, 3),
    ]
    assert model["head"](tokens(D)).shape == (2, 5, 5)
    assert model["narrow"](tokens(D)).shape == (2, 5, 3)


@pytest.mark.parametrize(
    "select", ["blocks.1.*", lambda name, module: name == "blocks.1.mlp"], ids=["text", "function"]
)
def test_selection_is_by_name_or_by_function(select):
    model = Transformer(Mlp(), Mlp(), Mlp())
    if isinstance(select, str):
        with pytest.raises(
            ValueError, match=r"must select feed-forward blocks, but selects 'blocks.1.norm1', a LayerN"
        ):
            replace_mlps(model, select=select)
        select = "blocks.1.mlp"
    assert replace_mlps(model, select=select).names == ("blocks.1.mlp",)
    assert [isinstance(model.get_submodule(f"blocks.{i}.mlp"), Mlp) for i in range(3)] == [True, False, True]


# How it comes.


@pytest.mark.parametrize("dtype", [F64, BF16], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_dtype_device_and_training_mode_are_those_of_the_block(training, dtype):
    model = Transformer(Mlp(), sequential(), LlamaMLP()).to(dtype).train(training)
    replace_mlps(model)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert {module.training for module in model.modules()} == {training}
    assert model(tokens(dtype=dtype)).dtype == dtype


def test_a_model_on_meta_stays_there():
    model = Transformer(Mlp(), GPT2MLP(), LlamaMLP(), sequential()).to("meta")
    assert len(replace_mlps(model).names) == 4
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model(tokens().to("meta")).shape == (2, 5, 3)


def test_a_shared_block_is_replaced_once_and_shared_again():
    shared = Mlp()
    model = Transformer(shared, shared, Mlp())
    report = replace_mlps(model)
    assert [block.names for block in report.blocks] == [("blocks.0.mlp", "blocks.1.mlp"), ("blocks.2.mlp",)]
    assert report.blocks_before == 2 * count(Mlp())
    assert report.blocks_after == 2 * count(HQKAN(D, D))
    assert report.after == count(model)
    assert model.get_submodule("blocks.0.mlp") is model.get_submodule("blocks.1.mlp")
    assert model.get_submodule("blocks.0.mlp") is not model.get_submodule("blocks.2.mlp")


def test_a_block_that_stands_twice_in_one_module_is_replaced_twice():
    shared = Mlp()
    model = nn.Sequential(shared, nn.ReLU(), shared)
    replace_mlps(model)
    assert model[0] is model[2] is not shared


def test_blocks_that_share_weights_share_the_new_map():
    first, second = sequential(), sequential()
    for position in (0, 3):
        second[position].weight, second[position].bias = first[position].weight, first[position].bias
    model = Transformer(first, second)
    report = replace_mlps(model)
    assert [block.names for block in report.blocks] == [("blocks.0.mlp", "blocks.1.mlp")]
    assert first[0] is second[0]
    assert report.blocks_before == count(sequential())
    assert report.after == count(model)


def test_any_map_can_be_made():
    model = Transformer(Mlp(), LlamaMLP())
    sizes = []

    def make(inputs: int, outputs: int) -> nn.Module:
        sizes.append((inputs, outputs))
        return HQKAN(inputs, outputs, latent_widths(inputs, outputs, 2), share=3)

    report = replace_mlps(model, make)
    assert sizes == [(D, D), (D, D)]
    assert report.blocks[0].after == count(HQKAN(D, D, [8, 8], share=3))


def test_a_replaced_model_is_an_ordinary_model():
    models = [Transformer(Mlp(), LlamaMLP(), sequential()) for _ in range(2)]
    for model in models:
        replace_mlps(model)
    x = tokens()
    assert not torch.equal(models[0](x), models[1](x))
    models[1].load_state_dict(models[0].state_dict(), strict=True)
    assert torch.equal(models[0](x), models[1](x))
    assert torch.equal(copy.deepcopy(models[0])(x), models[0](x))
    with pytest.raises(ValueError, match="no feed-forward block"):
        replace_mlps(models[0])


def test_other_parameters_stay_as_they_are():
    model, x = Transformer(Mlp()), tokens()
    before = copied(model)
    replace_mlps(model)
    kept = {name: value for name, value in copied(model).items() if ".mlp." not in name}
    assert identical(kept, {name: value for name, value in before.items() if ".mlp." not in name})
    assert model(x).isfinite().all()


# Failing.


def test_a_make_that_fails_changes_nothing():
    model = Transformer(Mlp(), Mlp())
    before, shown, made = copied(model), repr(model), []

    def make(inputs: int, outputs: int) -> nn.Module:
        if made:
            raise RuntimeError("out of memory")
        made.append(HQKAN(inputs, outputs))
        return made[0]

    with pytest.raises(RuntimeError, match="out of memory"):
        replace_mlps(model, make)
    assert repr(model) == shown
    assert identical(copied(model), before)


class Stubborn(Layer):
    """Its block cannot be replaced."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "mlp" and isinstance(value, HQKAN | nn.Sequential):
            raise KeyboardInterrupt
        super().__setattr__(name, value)


def test_a_replacement_that_is_interrupted_is_undone():
    layer = nn.TransformerEncoderLayer(D, 2, H, batch_first=True)
    vision = ViTLayer(ViTOutput(), function=True)
    model: Any = nn.ModuleDict(
        {"a": Layer(Mlp()), "b": nn.TransformerEncoder(layer, 1), "c": vision, "d": Stubborn(Mlp())}
    )
    before, shown, x = copied(model), repr(model), tokens(D)
    model.eval()
    with torch.no_grad():
        expected = [model[name](x) for name in "abcd"]
        with pytest.raises(KeyboardInterrupt):
            replace_mlps(model)
        assert repr(model) == shown
        assert identical(copied(model), before)
        for name, y in zip("abcd", expected, strict=True):
            assert torch.equal(model[name](x), y)
    assert model["b"].use_nested_tensor
    assert model["b"].layers[0].activation_relu_or_gelu == 1
    assert vision.intermediate.intermediate_act_fn is functional.gelu


def test_finding_a_block_does_not_change_it():
    """Not even the statistics of a norm that trains."""

    class Tracked(Residual):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x)

    model = nn.ModuleList([Tracked()])
    before = copied(model)
    with pytest.raises(ValueError, match="no feed-forward block"):
        replace_mlps(model)
    assert identical(copied(model), before)


def test_finding_blocks_draws_no_random_numbers_and_changes_no_modes():
    """In evaluation mode hooks are called; whatever they draw, the caller's random numbers are as before."""
    modes = []

    class Noisy(Residual):
        def forward(self, x: Tensor) -> Tensor:
            modes.append((self.training, self.drop1.training))
            torch.rand(3)
            return super().forward(x)

    noisy, mlp, called = Noisy(drop=0.5), Mlp(drop=0.5), []
    model = nn.ModuleDict({"it": noisy, "mlp": mlp})
    noisy.drop1.eval()
    mlp.register_forward_hook(lambda *_: called.append(1))
    state = torch.get_rng_state()
    replace_mlps(model, lambda i, o: nn.Identity())
    assert torch.equal(torch.get_rng_state(), state)
    assert modes
    assert set(modes) == {(False, False)}
    assert called
    assert (noisy.training, noisy.drop1.training, noisy.drop2.training) == (True, False, True)
    assert not any(module._forward_hooks for module in model.modules())


REFUSED = {
    "no model": (lambda: replace_mlps("model"), TypeError, "`model` must be a torch.nn.Module, but is 'model'."),
    "a model that is a block": (
        lambda: replace_mlps(Mlp()),
        ValueError,
        "`model` is itself a feed-forward block, which only a module around it can replace: use HQKAN(16, 16) instead",
    ),
    "nothing": (
        lambda: replace_mlps(nn.Linear(2, 2)),
        ValueError,
        "`model` has no feed-forward block of sizes in == out < hidden; looked for a torch.nn.Sequential or a module",
    ),
    "nothing selected": (
        lambda: replace_mlps(Transformer(Mlp()), select="*.ffn"),
        ValueError,
        "`model` has no feed-forward block that `select` selects; looked for",
    ),
    "selected attention": (
        lambda: replace_mlps(Transformer(Mlp()), select="*.attn"),
        ValueError,
        "`select` must select feed-forward blocks, but selects 'blocks.0.attn', a Attention; a block is",
    ),
    "no module made": (
        lambda: replace_mlps(Transformer(Mlp()), lambda i, o: None),
        TypeError,
        "`make` must make a torch.nn.Module, but makes None.",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals_say_what_was_looked_for(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_a_report_is_a_table():
    shared = Mlp()
    report = replace_mlps(Transformer(shared, shared, sequential()))
    assert isinstance(report, Replacement)
    new = count(HQKAN(D, D))
    assert str(report).splitlines() == [
        "block                       sizes     before  after",
        f"blocks.0.mlp, blocks.1.mlp  16 -> 16   2,128    {new}",
        f"blocks.2.mlp                16 -> 16   2,128    {new}",
        f"all blocks                             4,256    {2 * new}",
        f"model                                  {report.before:,}  {report.after:,}",
    ]
    assert report == Replacement(report.blocks, report.before, report.after)
    assert hash(report)


def test_frozen_models_are_counted_all_the_same():
    model = Transformer(Mlp()).requires_grad_(False)
    report = replace_mlps(model)
    assert report.blocks_before == count(Mlp())
    assert math.isclose(report.before - report.after, report.blocks_before - report.blocks_after)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable
    assert all(".mlp." in name for name in trainable)
