"""State of the drivers that a backend calls, as a text that changes with them.

The drivers are not called, since a broken one may hang: the kernel's files give their versions,
and the size and date of their libraries change with an update.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KERNEL_DRIVERS = ("nvidia", "amdgpu", "i915", "xe")
VERSIONS = Path("/sys/module")
LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/wsl/lib",
    "/opt/rocm/lib",
)
VULKAN_LIBRARIES = ("libvulkan.so.1", "libvulkan_*.so", "libGLX_nvidia.so.0")
LIBRARIES = {  # by backend, and by search for cards
    "cuda": ("libcuda.so.1",),
    "rocm": ("libamdhip64.so*",),
    "vulkan": VULKAN_LIBRARIES,
    "metal": (),
    "nvidia_cards": ("libnvidia-ml.so.1",),
    "vulkan_cards": VULKAN_LIBRARIES,
}
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
    "ROCR_VISIBLE_DEVICES",
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
)


def driver_state(backend: str, environ: Mapping[str, str]) -> str:
    """Return a short text that is equal as long as the drivers of a backend are."""
    parts = [platform.release(), *_versions(), *_libraries(backend, environ)]
    parts += [f"{name}={environ[name]}" for name in VARIABLES if name in environ]
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()[:16]


def _versions() -> Iterator[str]:
    for name in KERNEL_DRIVERS:
        try:
            yield f"{name} {(VERSIONS / name / 'version').read_text().strip()}"
        except OSError:
            continue


def _libraries(backend: str, environ: Mapping[str, str]) -> Iterator[str]:
    folders = [path for path in environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if path]
    for folder in (*folders, *LIBRARY_FOLDERS):
        for pattern in LIBRARIES.get(backend, ()):
            for path in sorted(Path(folder).glob(pattern)):
                try:
                    found = path.stat()
                except OSError:
                    continue
                yield f"{path} {found.st_size} {found.st_mtime_ns}"
