r"""A decoder-only transformer whose feed-forward is one argument: a perceptron, an HQKAN, or any module."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from circuits.checks import is_real, values_visible
from qkan.attention import Memory, rotation
from qkan.blocks import STD, Block, MakeFeedForward, maker
from qkan.daruan import check_sizes
from qkan.sampling import check_sampling, sample


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a `GPT`.

    Args:
        vocabulary: number of different tokens.
        context: most tokens that are seen at once.
        width: of the residual stream; a multiple of twice the heads.
        layers: number of blocks.
        heads: of every attention.
        dropout: probability in [0, 1), for the embeddings, the attention's weights and every branch.
    """

    vocabulary: int
    context: int = 256
    width: int = 128
    layers: int = 4
    heads: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        names = ("vocabulary", "context", "width", "layers", "heads")
        check_sizes(**{name: getattr(self, name) for name in names})
        if self.width % (2 * self.heads):
            raise ValueError(
                f"Argument `width` must be a multiple of 2 * heads = {2 * self.heads}, because a head rotates pairs, "
                f"but is {self.width}."
            )
        if not is_real(self.dropout) or not 0 <= self.dropout < 1:
            raise ValueError(f"Argument `dropout` must be a number in [0, 1), but is {self.dropout!r}.")


class GPT(nn.Module):
    r"""A causal transformer from tokens `(*batch, time)` to logits `(*batch, time, vocabulary)` of the next ones.

    Every block adds two branches to the stream, `x + attention(norm(x))`, then `x + feed_forward(norm(x))`. Positions
    are rotary, so they have no parameters; the embedding is the read-out too (tied weights).

    Embeddings and linear maps start normal with standard deviation 0.02, and the last map of a branch with
    $0.02 / \sqrt{2\,\mathrm{layers}}$, as in GPT-2. A feed-forward other than "mlp" keeps the start that it gives
    itself and is followed by a trainable gain a channel (a `LayerScale`), which starts at
    $0.3 / \sqrt{2\,\mathrm{layers}}$: outputs of variance 1, such as those of an HQKAN, together add a variance of
    0.045 to the stream, whatever the depth.

    Args:
        config: the sizes.
        feed_forward: a name in `FEED_FORWARDS`, or a function from the width to a module that maps
            `(*batch, width)` to itself, such as `lambda width: HQKAN(width, width, latent=(64, 64))`.
        device: of the parameters.
        dtype: of the parameters.

    >>> model = GPT(GPTConfig(vocabulary=65, width=32, layers=2), feed_forward="hqkan")
    >>> model(torch.zeros(3, 10, dtype=torch.long)).shape
    torch.Size([3, 10, 65])

    Reference: Radford et al., Language models are unsupervised multitask learners, 2019; Su et al., RoFormer, 2021,
    arXiv:2104.09864; for HQKAN as feed-forward Jiang et al., 2025, arXiv:2509.14026.
    """

    def __init__(
        self,
        config: GPTConfig,
        feed_forward: str | MakeFeedForward = "mlp",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        make = maker(feed_forward)
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(make(config.width), config.width, config.heads, config.layers, config.dropout)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        nn.init.normal_(self.embedding.weight, std=STD)
        self.to(device=device, dtype=dtype)

    def forward(self, tokens: Tensor, cache: list[Memory] | None = None) -> Tensor:
        """Logits of the token after each of `tokens (*batch, time)`, `(*batch, time, vocabulary)`.

        With a cache, made by `new_cache`, `tokens` follow those that it has seen, and it remembers them too.
        """
        if cache is not None and len(cache) != len(self.blocks):
            raise ValueError(
                f"Argument `cache` must have a memory for each of the {len(self.blocks)} blocks, but has {len(cache)}: "
                "make it by new_cache() of this model."
            )
        start = len(cache[0]) if cache else 0
        self._check(tokens, start)
        x = self.dropout(self.embedding(tokens))
        turn = rotation(start, tokens.shape[-1], self.config.width // self.config.heads, x)
        for block, memory in zip(self.blocks, cache or [None] * len(self.blocks), strict=True):
            x = block(x, turn, memory)
        return nn.functional.linear(self.norm(x), self.embedding.weight)

    def new_cache(self) -> list[Memory]:
        """An empty memory for every block, to be handed to `forward` with the parts of a sequence one by one."""
        return [Memory() for _ in self.blocks]

    @torch.no_grad()
    def generate(
        self,
        prompt: Tensor,
        steps: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
        cached: bool = True,
    ) -> Tensor:
        """The prompts and `steps` tokens more, `(*batch, time + steps)`, one drawn after the other, without dropout.

        Once the context is full the older half of it is forgotten. Only the end of a longer prompt is seen.

        Args:
            prompt: `(*batch, time)`, at least one token each.
            steps: how many tokens are added.
            temperature: divides the logits; 0 takes the likeliest token.
            top_k: only so many of the likeliest tokens can be drawn; None for all.
            generator: on the device of the prompt; None for torch's global one.
            cached: whether keys and values are remembered; without, every step computes them all anew.
        """
        check_sampling(self.config.vocabulary, temperature, top_k)
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 0:
            raise ValueError(f"Argument `steps` must be an int of 0 or more, but is {steps!r}.")
        self._check(prompt[..., -self.config.context :], 0, name="prompt")
        if prompt.shape[-1] == 0:
            raise ValueError("Argument `prompt` must have at least one token, but has none: begin with any token.")
        modes, tokens = [(module, module.training) for module in self.modules()], prompt
        start, cache = max(0, prompt.shape[-1] - self.config.context), self.new_cache()
        self.eval()
        try:
            for _ in range(steps):
                if tokens.shape[-1] - start > self.config.context:
                    start, cache = tokens.shape[-1] - (self.config.context + 1) // 2, self.new_cache()
                new = tokens[..., start + len(cache[0]) :]
                logits = self(new, cache if cached else None)[..., -1, :]
                drawn = sample(logits, temperature, top_k, generator)
                tokens = torch.cat([tokens, drawn[..., None].to(tokens.dtype)], -1)
        finally:
            for module, training in modes:
                module.training = training
        return tokens

    def _check(self, tokens: Tensor, start: int, name: str = "tokens") -> None:
        if not isinstance(tokens, Tensor) or tokens.dtype not in (torch.int64, torch.int32):
            kind = tokens.dtype if isinstance(tokens, Tensor) else type(tokens).__name__
            raise TypeError(f"Argument `{name}` must be a tensor of ints, but is {kind}: call .long() on it.")
        if tokens.ndim == 0:
            raise ValueError(f"Argument `{name}` must have shape (*batch, time), but has shape ().")
        if start + tokens.shape[-1] > self.config.context:
            raise ValueError(
                f"Argument `{name}` must have at most context={self.config.context} tokens, with those of the cache, "
                f"but has {start} + {tokens.shape[-1]}: cut the sequence, or build the model with a longer context."
            )
        if tokens.numel() and values_visible(tokens):
            low, high = map(int, tokens.aminmax())
            if low < 0 or high >= self.config.vocabulary:
                raise ValueError(
                    f"Argument `{name}` must be from 0 to vocabulary - 1 = {self.config.vocabulary - 1}, but reaches "
                    f"{low if low < 0 else high}."
                )
