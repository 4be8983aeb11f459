"""Folder of installed backend modules, in the user's data folder.

    ~/.local/share/localrun/backends/
        vulkan.json                        manifest, renamed into place last
        ggml-vulkan-3f2a8c….so             library, named by its digest
        ggml-vulkan-3f2a8c….LICENSE

A manifest with a complete name implies a complete and verified library, so that readers need no
lock. A library that another process has open stays mapped there when it is replaced or removed.
The libraries run as this user, so a folder that others may write is refused.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.backends.manifest import LIBRARIES, ModuleManifest
from localrun.disk import remove_abandoned, storage_errors, temporary_beside
from localrun.errors import IntegrityError, NotFoundError, StorageError
from localrun.folders import data_folder
from localrun.private import make_private_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from localrun.backends.package import ModulePackage

BACKENDS = "backends"
DIGEST_CHARACTERS = 16
STICKY = stat.S_ISVTX
LICENCE_SUFFIX = ".LICENSE"
OLD_S = 600.0


@dataclass(frozen=True, slots=True)
class InstalledModule:
    """A module in the folder."""

    manifest: ModuleManifest
    library: Path


@dataclass(frozen=True, slots=True)
class ModuleFolder:
    """Content of the folder: modules, and the reasons why others cannot be used."""

    modules: tuple[InstalledModule, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()  # backend, reason


def modules_folder() -> Path:
    """Return the folder of installed modules."""
    return data_folder() / BACKENDS


def read_modules(folder: Path | None = None) -> ModuleFolder:
    """Return the modules in the folder; a missing folder has none."""
    folder = folder or modules_folder()
    modules, broken = [], []
    for backend in LIBRARIES:
        path = folder / f"{backend}.json"
        try:
            manifest = ModuleManifest.from_json(path.read_bytes())
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            break
        except (OSError, IntegrityError) as error:
            broken.append((backend, f"{path} cannot be read: {error}"))
            continue
        module = InstalledModule(manifest, _library(folder, manifest))
        reason = unsafe(folder) or unsafe(module.library)
        if manifest.backend != backend:
            reason = f"{path} is the manifest of {manifest.backend}"
        if reason is None:
            modules.append(module)
        else:
            broken.append((backend, reason))
    return ModuleFolder(tuple(modules), tuple(broken))


def install(package: ModulePackage, folder: Path | None = None) -> InstalledModule:
    """Install a module in place of another one of its backend.

    Raises:
        IntegrityError: the package is damaged.
        StorageError: the folder cannot be written, or others may write it.
    """
    folder, manifest = folder or modules_folder(), package.manifest
    with storage_errors(folder):
        make_private_folder(folder, own=folder)
        if reason := unsafe(folder):
            raise StorageError(reason, hint=f"chmod go-w {folder}")
        library = _library(folder, manifest)
        _write(library, package.write_library)
        _write(library.with_suffix(LICENCE_SUFFIX), lambda file: _put(file, package.licence))
        text = manifest.to_json().encode()
        _write(folder / f"{manifest.backend}.json", lambda file: _put(file, text))
        _remove_old(folder, manifest.backend, but=library.stem)
    return InstalledModule(manifest, library)


def remove(backend: str, folder: Path | None = None) -> None:
    """Remove an installed module.

    Raises:
        NotFoundError: none of that name is installed.
    """
    folder = folder or modules_folder()
    path = folder / f"{backend}.json"
    if not path.is_file():
        raise NotFoundError(
            f"no backend {backend} is installed",
            hint="localrun backend list   lists what is installed",
        )
    named = [
        module for module in read_modules(folder).modules if module.manifest.backend == backend
    ]
    with storage_errors(folder):
        path.unlink(missing_ok=True)
        for module in named:
            for file in (module.library, module.library.with_suffix(LICENCE_SUFFIX)):
                file.unlink(missing_ok=True)
        _remove_old(folder, backend)


def unsafe(path: Path) -> str | None:
    """Return why a file or folder is not safe to load libraries from, or None if it is."""
    if not hasattr(os, "geteuid"):  # Windows: the user's profile is private by its own rules
        return None if path.exists() else f"{path} is missing"
    try:
        found = [path.stat(), *(parent.stat() for parent in path.absolute().parents)]
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    own = found[0]
    if own.st_uid not in {0, os.geteuid()}:
        return f"{path} belongs to another user"
    if own.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"other users may write {path}"
    if any(part.st_mode & stat.S_IWOTH and not part.st_mode & STICKY for part in found[1:]):
        return f"other users may write a folder above {path}"
    return None


def _library(folder: Path, manifest: ModuleManifest) -> Path:
    """Return the path of a library: llama.cpp finds no such name by itself."""
    name = f"{LIBRARIES[manifest.backend]}-{manifest.sha256[:DIGEST_CHARACTERS]}"
    return folder / f"{name}{Path(manifest.library).suffix}"


def _write(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a private file under another name, and rename it when it is complete."""
    remove_abandoned(path)
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o600)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _put(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def _remove_old(folder: Path, backend: str, but: str = "") -> None:
    """Remove libraries that no manifest names; a recent one may belong to another installation."""
    for path in folder.glob(f"{LIBRARIES[backend]}-*"):
        with contextlib.suppress(FileNotFoundError):  # another process removes it, too
            if path.stem != but and time.time() - path.stat().st_mtime > OLD_S:
                path.unlink()
