"""Files of Debian's packages, downloaded by digest and unpacked; no package is installed.

    <folder>/usr/include/vulkan/...
    <folder>/usr/bin/glslc

A package is an ``ar`` archive that has a tar archive with the files.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import environment

if TYPE_CHECKING:
    from pathlib import Path

POOL = "https://deb.debian.org/debian/pool/main/"
TIMEOUT_S = 60
MAGIC = b"!<arch>\n"
HEADER_BYTES = 60


@dataclass(frozen=True)
class DebianPackage:
    """A file in Debian's pool."""

    path: str
    sha256: str


def unpack(packages: tuple[DebianPackage, ...], folder: Path) -> Path:
    """Return the folder with the files of all packages, downloaded the first time.

    Raises:
        SetupError: a download failed, or has not the expected digest.
    """
    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}")
        partial.mkdir(parents=True)
        try:
            for package in packages:
                _extract(_download(package), partial)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _download(package: DebianPackage) -> bytes:
    url = POOL + package.path
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            data: bytes = answer.read()
    except OSError as error:
        raise environment.SetupError(f"{url} cannot be downloaded: {error}") from error
    if hashlib.sha256(data).hexdigest() != package.sha256:
        raise environment.SetupError(f"{url} does not have the expected digest")
    return data


def _extract(package: bytes, folder: Path) -> None:
    """Unpack the member ``data.tar.*``; each member has a header of text and an even size."""
    if not package.startswith(MAGIC):
        raise environment.SetupError("a package of Debian is not an ar archive")
    position = len(MAGIC)
    while position < len(package):
        header = package[position : position + HEADER_BYTES]
        name, size = header[:16].decode().strip(" /"), int(header[48:58])
        position += HEADER_BYTES
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(package[position : position + size])) as tar:
                tar.extractall(folder, filter="tar")
            return
        position += size + size % 2
    raise environment.SetupError("a package of Debian has no files")
