"""NVIDIA's CUDA runtime libraries from pip packages, opened before a CUDA backend is loaded.

The wheels of llama.cpp do not contain them (cuBLAS alone is half a gigabyte), and the dynamic
linker does not search pip's folders, but reuses open libraries by name. This module does not
import llama_cpp.

    site-packages/nvidia/cu13/lib/libcudart.so.13              CUDA 13
    site-packages/nvidia/cuda_runtime/lib/libcudart.so.12      CUDA 12, a folder for each
    site-packages/nvidia/cublas/lib/libcublas.so.12
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import BackendError
from localrun.hardware.unused import Surroundings, runtime_command

if TYPE_CHECKING:
    from collections.abc import Mapping

NEEDED = ("libcudart.so.*", "libcublasLt.so.*", "libcublas.so.*")  # in order of dependency
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
        open_cuda_runtime(folder)


def is_linked_with_cuda(folder: Path) -> bool:
    """Return whether llama.cpp's registry names the library of the CUDA backend."""
    registries = [*folder.glob("libggml.so*"), *folder.glob("ggml.dll")]
    return any(LINKED in file.read_bytes() for file in registries)


def explained(error: Exception, environ: Mapping[str, str]) -> BackendError:
    """Return the error for a failed import of llama_cpp, with the command that repairs it."""
    fix = runtime_command(str(error), "CUDA", Surroundings.of_this_process(environ))
    return BackendError(f"llama.cpp cannot be loaded: {error}; to fix this: {fix}")


def open_cuda_runtime(folder: Path, places: list[str] | None = None) -> list[str]:
    """Open NVIDIA's libraries if ``folder`` has a CUDA backend; return the opened file names.

    ``places`` are the folders of Python packages, by default ``sys.path``. A library that cannot
    be opened is skipped: the linker then reports it as missing.
    """
    opened: list[str] = []
    if not any(folder.glob("*ggml-cuda*")):
        return opened
    roots = [Path(place) / "nvidia" for place in (sys.path if places is None else places) if place]
    for pattern in NEEDED:
        for file in [path for root in roots for path in sorted(root.glob(f"*/lib/{pattern}"))]:
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
                opened.append(file.name)
                break
    return opened
