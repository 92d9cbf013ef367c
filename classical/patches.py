"""Where the patches of a convolution lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Pair = int | tuple[int, int]
Padding = Pair | Literal["same", "valid"]


@dataclass(frozen=True)
class Patches:
    """The patches of an image, in rows and columns.

    Args:
        kernel_size: height and width of a patch.
        stride: steps from patch to patch.
        dilation: steps between the entries of a patch.
        margins: zeros to the left, to the right, above and below the image, as `functional.pad` wants them.
    """

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    margins: tuple[int, int, int, int]

    @property
    def positions(self) -> int:
        """Entries of a patch."""
        return self.kernel_size[0] * self.kernel_size[1]

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """The size of an image with its margins."""
        left, right, above, below = self.margins
        return height + above + below, width + left + right

    def counts(self, height: int, width: int) -> tuple[int, int]:
        """Numbers of patches of an image.

        Raises:
            ValueError: If there is none.
        """
        padded, spans = self.padded(height, width), _spans(self.kernel_size, self.dilation)
        if padded[0] < spans[0] or padded[1] < spans[1]:
            raise ValueError(
                f"Argument `x` must be no smaller than a patch, {spans[0]} x {spans[1]}, but is {padded[0]} x "
                f"{padded[1]} with its padding: enlarge it, or add padding."
            )
        return (padded[0] - spans[0]) // self.stride[0] + 1, (padded[1] - spans[1]) // self.stride[1] + 1


def checked_patches(kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Patches:
    """The patches that `torch.nn.Conv2d` takes with these arguments.

    Raises:
        ValueError: If an argument is out of its range.
    """
    kernel, strides = _pair("kernel_size", kernel_size), _pair("stride", stride)
    dilations = _pair("dilation", dilation)
    if padding == "valid":
        return Patches(kernel, strides, dilations, (0, 0, 0, 0))
    if padding == "same":
        if strides != (1, 1):
            raise ValueError(f"Argument `stride` must be 1 with padding='same', but is {stride}.")
        rows, columns = (span - 1 for span in _spans(kernel, dilations))
        return Patches(kernel, strides, dilations, (columns // 2, -(-columns // 2), rows // 2, -(-rows // 2)))
    if isinstance(padding, str):
        raise ValueError(f"Argument `padding` must be an int, a pair of ints, 'same' or 'valid', but is {padding!r}.")
    rows, columns = _pair("padding", padding, at_least=0)
    return Patches(kernel, strides, dilations, (columns, columns, rows, rows))


def _spans(kernel_size: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a patch in the image."""
    return dilation[0] * (kernel_size[0] - 1) + 1, dilation[1] * (kernel_size[1] - 1) + 1


def _pair(argument: str, value: Any, *, at_least: int = 1) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else value
    whole = isinstance(pair, tuple | list) and all(isinstance(n, int) and not isinstance(n, bool) for n in pair)
    if not whole or len(pair) != 2 or min(pair) < at_least:
        raise ValueError(
            f"Argument `{argument}` must be an int of at least {at_least} or a pair of them, but is {value!r}."
        )
    return pair[0], pair[1]
