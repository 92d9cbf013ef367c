"""Sets of labelled images: a new one is one row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.images.files import Remote
from benchmarks.images.loaders import Labelled, cifar, digits, idx


@dataclass(frozen=True)
class ImageSet:
    """A set as it is published.

    Args:
        name: as the command line has it.
        classes: how many.
        load: from a folder, or None for where the set comes from, to the images that may be trained on, and those of
            the official test part, None if there is no such part.
    """

    name: str
    classes: int
    load: Callable[[Path | None], tuple[Labelled, Labelled | None]]


CIFAR = "https://www.cs.toronto.edu/~kriz"

SETS: Mapping[str, ImageSet] = {
    each.name: each
    for each in (
        ImageSet("digits", 10, digits),
        ImageSet(
            "mnist",
            10,
            idx(
                "mnist",
                "https://ossci-datasets.s3.amazonaws.com/mnist",
                {
                    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
                    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
                    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
                },
            ),
        ),
        ImageSet(
            "fashion-mnist",
            10,
            idx(
                "fashion-mnist",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
                {
                    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
                    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
                    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
                },
            ),
        ),
        ImageSet(
            "cifar-10",
            10,
            cifar(
                Remote(f"{CIFAR}/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
                "cifar-10-batches-bin",
                tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
                "test_batch.bin",
                labels=1,
                classes=10,
            ),
        ),
        ImageSet(
            "cifar-100",
            100,
            cifar(
                Remote(f"{CIFAR}/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
                "cifar-100-binary",
                ("train.bin",),
                "test.bin",
                labels=2,
                classes=100,
            ),
        ),
    )
}
"""By name. Checksums are those their publishers give."""
