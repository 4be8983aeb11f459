"""Backend modules for tests: stubs in C with one device or with a fault, and their packages."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localrun.backends.manifest import LIBRARIES, ModuleManifest, host_platform
from localrun.backends.package import write_package

SOURCE = Path(__file__).with_name("stub_module.c")
ENGINE = {"llama_cpp_python": "0.3.36", "llama_cpp_commit": "0c1e57098", "ggml": "0.25.3"}
NAMES = {"vulkan": "Vulkan", "cuda": "CUDA", "rocm": "ROCm", "metal": "MTL"}  # of devices
CONTENT = b"a library of no use"


def compiled(folder: Path, backend: str, *linked: Path, **macros: str) -> Path:
    """Compile a stub with these macros, linked with libraries.

    The test is skipped without a C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"lib{LIBRARIES[backend]}.so"
    named = {"NAME": f'"{NAMES[backend]}"', **macros}
    options = [f"-D{name}={value}" for name, value in named.items()]
    subprocess.run(
        [compiler, "-shared", "-fPIC", *options, "-o", library, SOURCE, *linked], check=True
    )
    return library


def manifest_of(backend: str, content: bytes = CONTENT, **others: Any) -> ModuleManifest:
    """Return the manifest of a library of this machine and of the pinned llama.cpp."""
    return replace(
        ModuleManifest(
            backend=backend,
            library=f"lib{LIBRARIES[backend]}.so",
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            platform=host_platform(),
            glibc="2.27",
            licence="MIT",
            **ENGINE,
        ),
        **others,
    )


def packed(folder: Path, backend: str, library: Path | None = None, **others: Any) -> Path:
    """Write a package, of no use or with a library."""
    folder.mkdir(parents=True, exist_ok=True)
    source = library or folder / "library"
    if library is None:
        source.write_bytes(CONTENT)
    licence = folder / "licence"
    licence.write_text("MIT")
    path = folder / f"{backend}.zip"
    write_package(path, manifest_of(backend, source.read_bytes(), **others), source, licence)
    return path
