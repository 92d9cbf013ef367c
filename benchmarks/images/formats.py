"""The formats that images are published in."""

import tarfile
import zlib
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np

from benchmarks.images.files import DataError, read

CIFAR_SHAPE = (3, 32, 32)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """An array of bytes from an IDX file, packed or not.

    Two zeros, 8 for bytes, the number of dimensions, each of them as a big-endian integer of 4 bytes, then the data.

    Args:
        path: of the file.
        dimensions: that it must have: 3 for images, 1 for labels.
    """
    content = read(path)
    magic = bytes([0, 0, 8, dimensions])
    if not content.startswith(magic):
        raise DataError(
            f"{path} must begin with {magic.hex(' ')}, as IDX files of bytes in {dimensions} dimensions do, but begins "
            f"with {content[:4].hex(' ') or 'nothing'}: get it anew."
        )
    start = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    if len(content) != start + prod(shape):
        raise DataError(
            f"{path} must have {start + prod(shape):,} bytes for shape {shape}, but has {len(content):,}: get it anew."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_cifar(content: bytes, name: str, labels: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images `(n, 3, 32, 32)` and labels `(n,)`, both bytes, from the binary format of CIFAR.

    A record is one byte a label, the finest last, then red, green and blue, row by row.

    Args:
        content: of a file.
        name: of the file, for errors.
        labels: of a record: 1 in CIFAR-10, 2 in CIFAR-100.
        classes: of the last label.
    """
    size = labels + prod(CIFAR_SHAPE)
    if not content or len(content) % size:
        raise DataError(f"{name} must be records of {size:,} bytes, but has {len(content):,} bytes: get it anew.")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    if (most := records[:, labels - 1].max()) >= classes:
        raise DataError(f"{name} must have labels below {classes}, but has {most}: it is another file, or damaged.")
    return records[:, labels:].reshape(-1, *CIFAR_SHAPE), records[:, labels - 1]


def members(archive: Path, names: Sequence[str]) -> Mapping[str, bytes]:
    """The contents of files of a packed archive."""
    try:
        with tarfile.open(archive) as files:
            contents = {}
            for name in names:
                member = files.getmember(name)
                file = files.extractfile(member) if member.isreg() else None  # a link may lead nowhere, or in circles
                if file is None:
                    raise KeyError(f"{name} is no file")
                contents[name] = file.read()
            return contents
    except (tarfile.TarError, EOFError, OSError, zlib.error, KeyError) as error:
        raise DataError(f"{archive} must be a whole archive with {', '.join(names)} ({error}): get it anew.") from None
