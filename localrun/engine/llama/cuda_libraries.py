"""The libraries of NVIDIA that pip installs, opened before a CUDA backend asks for them.

The wheels of llama.cpp do not hold them (cuBLAS alone is half a gigabyte), and the linker
does not look where pip puts them. What is open already, it takes by its name. Nothing here
imports llama_cpp.

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

NEEDED = ("libcudart.so.*", "libcublasLt.so.*", "libcublas.so.*")  # each needs those before it


def prepare() -> None:
    """Open what llama_cpp needs, before it is imported: a CUDA build may be linked with it."""
    found = importlib.util.find_spec("llama_cpp")
    if found is not None and found.origin is not None:
        open_cuda_runtime(Path(found.origin).parent / "lib")


def explained(error: Exception, environ: Mapping[str, str]) -> BackendError:
    """Return the error that tells why llama_cpp cannot be imported, and what to type."""
    fix = runtime_command(str(error), "CUDA", Surroundings.of_this_process(environ))
    return BackendError(f"llama.cpp cannot be loaded: {error}; to change that: {fix}")


def open_cuda_runtime(folder: Path, places: list[str] | None = None) -> list[str]:
    """Open NVIDIA's libraries if ``folder`` has a CUDA backend; return the names of the open ones.

    ``places`` are the folders of Python's packages. What cannot be opened is left to the
    linker, which then tells what it misses.
    """
    opened: list[str] = []
    if not any(folder.glob("*ggml-cuda*")):
        return opened
    roots = [Path(place) / "nvidia" for place in (sys.path if places is None else places) if place]
    for pattern in NEEDED:
        for file in [one for root in roots for one in sorted(root.glob(f"*/lib/{pattern}"))]:
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
                opened.append(file.name)
                break
    return opened
