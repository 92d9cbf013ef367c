"""From files to labelled images, set by set: from a folder, or from where a set is published."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.images.files import DataError, Remote, fetch, read
from benchmarks.images.formats import members, read_cifar, read_idx

DOWNLOADS = Path("runs/data")


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images and what they show.

    Args:
        x: `(n, channels, height, width)`, bytes.
        y: `(n,)`, numbers of classes.
    """

    x: np.ndarray
    y: np.ndarray


def digits(folder: Path | None) -> tuple[Labelled, None]:
    """1,797 digits of 8x8 pixels from 0 to 16, from `digits.csv.gz` in the folder, or as scikit-learn ships them.

    Reference: E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits, UCI Machine Learning Repository
    (1998).
    """
    if folder is not None and (file := folder / "digits.csv.gz").exists():
        try:
            table = np.loadtxt(BytesIO(read(file)), delimiter=",", ndmin=2)
        except ValueError as error:
            raise DataError(f"{file} must be a whole table of numbers ({error}): get it anew.") from None
        numbers = range(17)
        if table.shape[1] != 65 or not np.isin(table, numbers).all() or not np.isin(table[:, -1], numbers[:10]).all():
            raise DataError(
                f"{file} must have 64 pixels from 0 to 16 and a digit in each row, whole numbers: get it anew."
            )
        images, labels = table[:, :-1], table[:, -1]
    else:
        try:
            shipped: Any = import_module("sklearn.datasets")
        except ModuleNotFoundError:
            raise DataError(
                "The digits come with scikit-learn, which is not installed: pip install scikit-learn, or say by "
                "--data-dir where its file digits.csv.gz is."
            ) from None
        images, labels = shipped.load_digits(return_X_y=True)
    return Labelled(images.reshape(-1, 1, 8, 8).astype(np.uint8), labels.astype(np.int64)), None


def idx(name: str, base: str, checksums: Mapping[str, str]) -> Callable[[Path | None], tuple[Labelled, Labelled]]:
    """How to load a set of four IDX files `{train,t10k}-{images-idx3,labels-idx1}-ubyte`, packed or not.

    Args:
        name: of the folder for downloads.
        base: address of the files.
        checksums: MD5 by file name.
    """

    def load(folder: Path | None) -> tuple[Labelled, Labelled]:
        if folder is None:
            files = {
                remote.removesuffix(".gz"): fetch(Remote(f"{base}/{remote}", md5), DOWNLOADS / name)
                for remote, md5 in checksums.items()
            }
        else:
            files = {
                remote.removesuffix(".gz"): _present(folder, remote, remote.removesuffix(".gz")) for remote in checksums
            }
        return part(files, "train"), part(files, "t10k")

    def part(files: Mapping[str, Path], prefix: str) -> Labelled:
        image_file, label_file = files[f"{prefix}-images-idx3-ubyte"], files[f"{prefix}-labels-idx1-ubyte"]
        x, y = read_idx(image_file, 3), read_idx(label_file, 1)
        if len(x) != len(y):
            raise DataError(f"{label_file} has {len(y):,} labels for {len(x):,} images of {image_file}: get both anew.")
        if not len(y):
            raise DataError(f"{image_file} must have images, but has none: get it anew.")
        if y.max() >= 10:
            raise DataError(f"{label_file} must have labels below 10, but has {y.max()}: get it anew.")
        return Labelled(x[:, None], y.astype(np.int64))

    return load


def cifar(
    archive: Remote, inside: str, train: tuple[str, ...], test: str, labels: int, classes: int
) -> Callable[[Path | None], tuple[Labelled, Labelled]]:
    """How to load a CIFAR set in its binary version, from the archive or from its unpacked files.

    Args:
        archive: as published.
        inside: the folder in it.
        train: names of the training files.
        test: name of the test file.
        labels: of a record.
        classes: of the last label.
    """

    def load(folder: Path | None) -> tuple[Labelled, Labelled]:
        unpacked = [each / name for each in (folder, folder / inside) for name in (*train, test)] if folder else []
        present = {path.name: path for path in unpacked if path.exists()}
        if folder is not None and present.keys() == {*train, test}:
            contents = {name: path.read_bytes() for name, path in present.items()}
            named = {name: str(path) for name, path in present.items()}
        else:
            file = fetch(archive, DOWNLOADS / inside) if folder is None else _present(folder, archive.name)
            packed = members(file, [f"{inside}/{name}" for name in (*train, test)])
            contents = {name.rpartition("/")[2]: content for name, content in packed.items()}
            named = {name: f"{file}: {inside}/{name}" for name in contents}
        parts = {name: read_cifar(content, named[name], labels, classes) for name, content in contents.items()}
        return _together([parts[name] for name in train]), _together([parts[test]])

    return load


def _together(parts: list[tuple[np.ndarray, np.ndarray]]) -> Labelled:
    images, labels = zip(*parts, strict=True)
    return Labelled(np.concatenate(images), np.concatenate(labels).astype(np.int64))


def _present(folder: Path, *names: str) -> Path:
    """The first of the files that is there."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise DataError(f"There is no {' and no '.join(names)} in {folder}: put it there, or leave out --data-dir.")
