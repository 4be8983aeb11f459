"""NVIDIA's CUDA runtime libraries from pip packages, opened before a CUDA backend is loaded.

The wheels of llama.cpp do not contain them (cuBLAS alone is half a gigabyte), and the dynamic
linker does not search pip's folders, but reuses open libraries by name. This module does not
import llama_cpp.

    site-packages/nvidia/cu13/lib/libcudart.so.13              CUDA 13
    site-packages/nvidia/cuda_runtime/lib/libcudart.so.12      CUDA 12, a folder for each
    site-packages/nvidia/cublas/lib/libcublas.so.12
    ~/.local/share/localrun/backends/nvidia/cu13/lib/...       by pip install --target

An environment may have the packages of several versions; only the backend's own is opened.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import mmap
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import BackendError
from localrun.hardware.unused import Surroundings, runtime_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NEEDED = ("libcudart", "libcublasLt", "libcublas")  # in order of dependency
RUNTIME = re.compile(rb"\0lib(?:cudart|cublas)\.so\.(\d+)\0")  # in a library's table of names
LINKED = b"ggml-cuda."  # in the list of libraries that a library needs


def prepare() -> None:
    """Open the libraries before llama_cpp is imported, if it is linked with them.

    A backend that is a file of its own is loaded later, never before a process forks.
    """
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "lib"
    if is_linked_with_cuda(folder):
        for backend in [*folder.glob("*ggml-cuda*")][:1]:  # the others are its copies
            open_cuda_runtime(backend)


def is_linked_with_cuda(folder: Path) -> bool:
    """Return whether llama.cpp's registry names the library of the CUDA backend."""
    registries = [*folder.glob("libggml.so*"), *folder.glob("ggml.dll")]
    return any(LINKED in file.read_bytes() for file in registries)


def explained(error: Exception, environ: Mapping[str, str]) -> BackendError:
    """Return the error for a failed import of llama_cpp, with the command that repairs it."""
    fix = runtime_command(str(error), "CUDA", Surroundings.of_this_process(environ))
    return BackendError(f"llama.cpp cannot be loaded: {error}; to fix this: {fix}")


def open_cuda_runtime(backend: Path, places: list[str] | None = None) -> list[str]:
    """Open the libraries of NVIDIA that a backend needs; return the opened file names.

    ``places`` are the folders of Python packages, by default ``sys.path``; packages beside the
    backend come first. A library that cannot be opened is skipped: the linker then reports it as
    missing.
    """
    opened: list[str] = []
    if not backend.is_file():
        return opened
    others = sys.path if places is None else places
    packages = [backend.parent, *(Path(place) for place in others if place)]
    version = _version(backend)
    for name in NEEDED:
        for place in packages:
            if (file := _open_first(place.glob(f"nvidia/*/lib/{name}.so.{version}"))) is not None:
                opened.append(file)
                break
    return opened


def _version(backend: Path) -> str:
    """Return the version of CUDA in the names of the libraries that a backend needs, or ``*``."""
    with (
        contextlib.suppress(OSError, ValueError),  # an empty file
        backend.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        if (match := RUNTIME.search(content)) is not None:
            return match[1].decode()
    return "*"


def _open_first(files: Iterable[Path]) -> str | None:
    """Open the first file that can be opened, and return its name."""
    for file in sorted(files):
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
            return file.name
    return None
