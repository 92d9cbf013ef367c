"""What counts as a feed-forward block of a network, and which attributes change when one map takes its place.

A block is known by its structure, never by the name of its class: linear maps in -> hidden -> out, or a second one
in -> hidden for a gate, and between them nothing but what acts on each token's hidden numbers.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from qkan.tokenwise import is_tokenwise

LOOKED_FOR = (
    "a torch.nn.Sequential or a module of one input with linear maps in -> hidden -> out, two or, with a gate, three; "
    "a torch.nn.TransformerEncoderLayer or TransformerDecoderLayer; "
    "a module with `intermediate` (dense, intermediate_act_fn) and `output` (dense)"
)


@dataclass(frozen=True)
class Edit:
    """`setattr(owner, name, value)`."""

    owner: nn.Module
    name: str
    value: object


@dataclass(frozen=True)
class Block:
    """A feed-forward block.

    Args:
        module: the block, or the module that does the work of one among other things.
        maps: its linear maps, the last one last.
        sizes: of input, hidden layer and output.
        removed: what goes with the maps.
        certain: whether no other purpose is likely.
        edits: what puts a given map in their place.
    """

    module: nn.Module
    maps: tuple[nn.Module, ...]
    sizes: tuple[int, int, int]
    removed: tuple[nn.Module, ...]
    certain: bool
    edits: Callable[[nn.Module], list[Edit]]

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """All that goes."""
        return *self.maps, *self.removed

    @property
    def key(self) -> tuple[int, ...]:
        """Equal for blocks whose maps share their parameters."""
        return tuple(id(parameter) for module in self.maps for parameter in module.parameters())


def recognised(module: nn.Module, model: nn.Module) -> Block | None:
    """The feed-forward block that a module of `model` is, or does the work of."""
    return _layer(module) or _split(module) or _span(module) or _whole(module, model)


def unfused(model: nn.Module, replaced: Sequence[Block]) -> list[Edit]:
    """What stops a `torch.nn.TransformerEncoder` from reading weights that its layers no longer have."""
    gone = {block.module for block in replaced}
    encoders = [module for module in model.modules() if isinstance(module, nn.TransformerEncoder)]
    return [Edit(encoder, "use_nested_tensor", False) for encoder in encoders if not gone.isdisjoint(encoder.layers)]


def _layer(module: nn.Module) -> Block | None:
    """A layer of torch's transformers, whose maps are its own beside the attention."""
    if not isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        return None

    def edits(new: nn.Module) -> list[Edit]:
        # The fast path of an encoder layer asks this first, and would read the weights of both maps.
        fused = [Edit(module, "activation_relu_or_gelu", 0)] * isinstance(module, nn.TransformerEncoderLayer)
        passed = [_passed(module, name) for name in ("activation", "dropout", "linear2")]
        return [Edit(module, "linear1", new), *passed, *fused]

    return _block(module, [module.linear1, module.linear2], [], edits, certain=True)


def _split(module: nn.Module) -> Block | None:
    """Two modules of a layer, of which the second adds the residual: Hugging Face's BERT and ViT."""
    layer = _children(module)
    if not {"intermediate", "output"} <= layer.keys():
        return None
    first, second = layer["intermediate"], layer["output"]
    if getattr(first, "intermediate_act_fn", None) is None or not {*_maps(first)} == {*_maps(second)} == {"dense"}:
        return None
    between = {name: child for name, child in _children(first).items() if name != "dense"}

    def edits(new: nn.Module) -> list[Edit]:
        passed = [_passed(first, name) for name in {**between, "intermediate_act_fn": None}]
        return [Edit(first, "dense", new), *passed, _passed(second, "dense")]

    return _block(module, [*_maps(first).values(), *_maps(second).values()], between.values(), edits, certain=True)


def _span(module: nn.Module) -> Block | None:
    """Two maps in a `torch.nn.Sequential` and what is between them; what is around them stays."""
    if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
        return None
    maps, children = _maps(module), _children(module)
    if len(maps) != 2:
        return None
    first, last = maps
    names = list(children)
    between = names[names.index(first) + 1 : names.index(last)]

    def edits(new: nn.Module) -> list[Edit]:
        return [Edit(module, first, new), *(_passed(module, name) for name in (*between, last))]

    block = _block(module, list(maps.values()), [children[name] for name in between], edits)
    both = nn.Sequential(*(children[name] for name in (first, *between, last)))
    return block if block is not None and is_tokenwise(both, block.maps, block.sizes[0]) else None


def _whole(module: nn.Module, model: nn.Module) -> Block | None:
    """A module that is nothing but a block: it goes, but for the dropouts after its last map."""
    maps, children = _maps(module), _children(module)
    if isinstance(module, nn.Sequential) or len(maps) not in (2, 3) or any(True for _ in module.parameters(False)):
        return None
    after = list(children.values())[list(children).index([*maps][-1]) + 1 :]
    dropouts = [child for child in after if isinstance(child, nn.Dropout)]

    def edits(new: nn.Module) -> list[Edit]:
        new = nn.Sequential(new, *dropouts).train(module.training) if dropouts else new
        return [Edit(owner, name, new) for owner in model.modules() for name in _names(owner, module)]

    others = [child for name, child in children.items() if name not in maps]
    blocks = [_block(module, order, others, edits) for order in _orders(list(maps.values()))]
    fitting = [block for block in blocks if block is not None and is_tokenwise(module, block.maps, block.sizes[0])]
    return max(fitting, key=lambda block: block.certain, default=None)


def _block(
    module: nn.Module,
    maps: Sequence[nn.Module],
    removed: Collection[nn.Module],
    edits: Callable[[nn.Module], list[Edit]],
    certain: bool = False,
) -> Block | None:
    """The block of these parts, if the sizes of its maps fit together and the rest acts on each hidden number."""
    *ups, down = [_sizes(linear) for linear in maps]
    if down is None or ups[0] is None or any(up != ups[0] for up in ups):
        return None
    (inputs, width), (hidden, outputs) = ups[0], down
    # A gate may come out of the same map as what it gates.
    if width != hidden and not (len(ups) == 1 and width == 2 * hidden):
        return None
    if not all(_acts_on(hidden, child) for child in removed):
        return None
    certain = certain or inputs == outputs < hidden
    return Block(module, tuple(maps), (inputs, hidden, outputs), tuple(removed), certain, edits)


def _acts_on(hidden: int, child: nn.Module) -> bool:
    """Whether a child between the maps may act on each hidden number alone, or normalises them."""
    normalised = getattr(child, "normalized_shape", (hidden,))
    return tuple(normalised) == (hidden,) and all(p.numel() in (1, hidden) for p in child.parameters())


def _orders(maps: list[nn.Module]) -> Iterator[list[nn.Module]]:
    """The maps with each of them last, that which is last first."""
    for last in reversed(range(len(maps))):
        yield [*maps[:last], *maps[last + 1 :], maps[last]]


def _passed(owner: nn.Module, name: str) -> Edit:
    """What makes an attribute return its input."""
    module = isinstance(getattr(owner, name), nn.Module)
    return Edit(owner, name, nn.Identity().train(owner.training) if module else _same)


def _same(x: Tensor) -> Tensor:
    return x


def _children(module: nn.Module) -> dict[str, nn.Module]:
    # Not named_children, which names a module that stands in two places once.
    return {name: child for name, child in module._modules.items() if child is not None}


def _names(owner: nn.Module, module: nn.Module) -> list[str]:
    return [name for name, child in _children(owner).items() if child is module]


def _maps(module: nn.Module) -> Mapping[str, nn.Module]:
    return {name: child for name, child in _children(module).items() if _sizes(child) is not None}


def _sizes(module: nn.Module) -> tuple[int, int] | None:
    """Sizes of input and output of a `torch.nn.Linear`, or of a leaf that has a weight (in, out) and a bias (out,)."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    parameters = dict(module.named_parameters())
    if parameters.keys() != {"weight", "bias"} or parameters["weight"].ndim != 2:
        return None
    inputs, outputs = parameters["weight"].shape
    return (inputs, outputs) if parameters["bias"].shape == (outputs,) else None
