"""Files of data: fetched whole or not at all, read whole or with one error that names the file."""

import gzip
import hashlib
import shutil
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

TIMEOUT = 60.0
"""Seconds of silence after which a download is given up."""


class DataError(Exception):
    """A file is missing, cannot be downloaded, or is not what it should be; the message says which, and what to do."""


@dataclass(frozen=True)
class Remote:
    """A published file.

    Args:
        url: where it is.
        md5: its checksum, as published, in hexadecimal digits.
    """

    url: str
    md5: str

    @property
    def name(self) -> str:
        """Of the file alone."""
        return self.url.rpartition("/")[2]


def fetch(remote: Remote, folder: Path) -> Path:
    """The file in `folder`, downloaded unless it is there already with the right checksum.

    What arrives is another file until its checksum is right, so that half a file is never taken for a whole one.

    Raises:
        DataError: if the download fails, or is not the file it should be; `folder` is then as it was.
    """
    path = folder / remote.name
    if path.exists() and _md5(path) == remote.md5:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        _download(remote.url, part)
        if (found := _md5(part)) != remote.md5:
            raise DataError(
                f"{remote.url} must have the MD5 checksum {remote.md5}, but what arrived has {found} and "
                f"{part.stat().st_size:,} bytes: try again, or get it in another way and say where by --data-dir."
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _download(url: str, path: Path) -> None:
    try:
        with urlopen(url, timeout=TIMEOUT) as response, path.open("wb") as file:
            shutil.copyfileobj(response, file)
    except (OSError, HTTPException) as error:
        raise DataError(
            f"{url} could not be downloaded ({error}): try again, or get it in another way and say where by --data-dir."
        ) from None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def read(path: Path) -> bytes:
    """The content of a file, unpacked if it is packed by gzip."""
    content = path.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} must be a whole gzip file, but is not ({error}): get it anew.") from None
