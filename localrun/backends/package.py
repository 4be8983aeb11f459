"""Package of a backend module: a zip archive with a manifest, the library and its licence.

    localrun-backend-vulkan-0.3.36-linux-x86_64.zip
        manifest.json
        libggml-vulkan.so
        LICENSE

The archive is not trusted: sizes are bounded, only members of these names are read, and the
library's digest is the manifest's before a complete name has its bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO

from localrun.backends.manifest import ModuleManifest
from localrun.errors import IntegrityError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST, LICENCE = "manifest.json", "LICENSE"
MAX_TEXT_BYTES = 1 << 18
PIECE_BYTES = 1 << 20
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


class ModulePackage:
    """An open package."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        self._name = name
        self.manifest = ModuleManifest.from_json(self._text(MANIFEST))

    @property
    def licence(self) -> bytes:
        """Return the text of the licence, or no bytes if the package has none."""
        if LICENCE not in self._archive.namelist():
            return b""
        return self._text(LICENCE)

    def write_library(self, target: BinaryIO) -> None:
        """Write the library to a file.

        Raises:
            IntegrityError: its bytes are not those that the manifest states.
        """
        digest, left = hashlib.sha256(), self.manifest.size_bytes
        with self._reading(), self._archive.open(self.manifest.library) as library:
            while piece := library.read(PIECE_BYTES):
                left -= len(piece)
                if left < 0:
                    break
                digest.update(piece)
                target.write(piece)
        if left or digest.hexdigest() != self.manifest.sha256:
            raise IntegrityError(
                f"{self._name} is damaged: {self.manifest.library} has not the digest of its "
                "manifest",
                hint="download it again",
            )

    def _text(self, member: str) -> bytes:
        with self._reading(), self._archive.open(member) as file:
            content = file.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise IntegrityError(f"{self._name} is no backend: its {member} is too large")
        return content

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            raise IntegrityError(f"{self._name} is no backend: {error.args[0]}") from error
        except DAMAGED as error:
            raise IntegrityError(f"{self._name} is damaged: {error}") from error


@contextlib.contextmanager
def open_package(path: Path) -> Iterator[ModulePackage]:
    """Open a package and read its manifest.

    Raises:
        NotFoundError: there is no such file.
        IntegrityError: it is not a package, or damaged.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"there is no file {path}", hint="localrun backend list   lists what is installed"
        ) from error
    except (zipfile.BadZipFile, IsADirectoryError) as error:
        raise IntegrityError(
            f"{path.name} is not a backend of localrun",
            hint="scripts/build-backend vulkan   builds one",
        ) from error
    with archive:
        yield ModulePackage(archive, path.name)


def write_package(path: Path, manifest: ModuleManifest, library: Path, licence: Path) -> None:
    """Write a package; the same content gives the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in (
            (MANIFEST, manifest.to_json().encode()),
            (manifest.library, library.read_bytes()),
            (LICENCE, licence.read_bytes()),
        ):
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(member, content)
