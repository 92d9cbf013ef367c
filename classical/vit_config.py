"""The sizes of vision transformers."""

from __future__ import annotations

from dataclasses import dataclass

from classical.checks import checked_probability, checked_size


@dataclass(frozen=True)
class ViTConfig:
    """The sizes of a `ViT` or `KAT`. `dataclasses.replace(ViTConfig.tiny(), classes=10)` changes some of them.

    Args:
        image_size: Height and width of the images, a multiple of the patch size.
        patch_size: Height and width of the patches.
        channels: Of the images.
        classes: Number of outputs.
        width: Of the residual stream, a multiple of the heads.
        layers: Number of blocks.
        heads: Of every attention.
        ratio: Hidden units of a feed-forward for each channel of the stream.
        dropout: Probability in [0, 1), for the embedded patches and all within a feed-forward and after an attention.
        drop_path: Probability in [0, 1) with which the last block leaves out a branch for a sample in training; it
            grows from 0 in proportion to the depth.

    Raises:
        TypeError: If a size is not an integer or a probability not a number.
        ValueError: If a size is not positive or not the multiple it should be, or a probability is not in [0, 1).
    """

    image_size: int = 224
    patch_size: int = 16
    channels: int = 3
    classes: int = 1000
    width: int = 192
    layers: int = 12
    heads: int = 3
    ratio: int = 4
    dropout: float = 0.0
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        for name in ("image_size", "patch_size", "channels", "classes", "width", "layers", "heads", "ratio"):
            checked_size(name, getattr(self, name), at_least=1)
        for name, divisor in (("image_size", "patch_size"), ("width", "heads")):
            if getattr(self, name) % getattr(self, divisor):
                raise ValueError(
                    f"Argument `{name}` must be a multiple of {divisor}={getattr(self, divisor)}, but is "
                    f"{getattr(self, name)}."
                )
        for name in ("dropout", "drop_path"):
            checked_probability(name, getattr(self, name))

    @classmethod
    def tiny(cls) -> ViTConfig:
        """Of ViT-Ti/16 and KAT-T."""
        return cls(drop_path=0.1)

    @classmethod
    def small(cls) -> ViTConfig:
        """Of ViT-S/16 and KAT-S."""
        return cls(width=384, heads=6, drop_path=0.1)

    @classmethod
    def base(cls) -> ViTConfig:
        """Of ViT-B/16 and KAT-B."""
        return cls(width=768, heads=12, drop_path=0.4)

    @property
    def hidden(self) -> int:
        """Units of a feed-forward."""
        return self.ratio * self.width

    @property
    def tokens(self) -> int:
        """Patches, and the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1
