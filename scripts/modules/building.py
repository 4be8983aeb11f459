"""Packages of backends, each a module of the engine's llama.cpp.

    <output>/localrun-backend-vulkan-0.3.36-linux-x86_64.zip    format: localrun/backends/package.py
                                                           .zip.sha256

The sources are those that the engine's wheel is built from, and the manifest names their commit:
`localrun backend add` refuses a module of another one.
"""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import elf
import environment
from engines import portable, toolchain

from modules import gpu_compilers, vulkan_tools

if TYPE_CHECKING:
    from engines.toolchain import Toolchain

BACKENDS = ("vulkan", "cuda", "rocm")
GGML_VERSION = re.compile(r"set\(GGML_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)\)")
VERSION_PARTS = 3
LLAMA_CPP = Path("vendor", "llama.cpp")


def build(python: Path, backend: str, architecture: str, output: Path) -> Path:
    """Build a package into the folder, with its digest in a file beside it; return the package.

    Raises:
        SetupError: a tool is missing, a download failed, or the compilation.
    """
    build_folder, sources = compile_backend(python, backend, architecture)
    library = build_folder / "bin" / f"lib{_target(backend)}.so"
    _check(library, architecture)
    output.mkdir(parents=True, exist_ok=True)
    package = _pack(backend, library, sources, output)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    package.with_name(f"{package.name}.sha256").write_text(f"{digest}  {package.name}\n")
    return package


def compile_backend(
    python: Path, backend: str, architecture: str, *targets: str
) -> tuple[Path, Path]:
    """Compile a backend, and other targets of llama.cpp; return the build folder and the sources.

    Raises:
        SetupError: a tool is missing, a download failed, or the compilation.
    """
    sources = portable.provide_sources(python)
    folder = sources.parent.parent
    tools, own = _tools(python, backend, architecture, folder)
    switches = {**portable.SWITCHES, "GGML_CPU_ALL_VARIANTS": "OFF", **own}
    build_folder = folder / f"{architecture}-{backend}"
    portable.configure(tools, sources, build_folder, switches)
    portable.compile_targets(tools, build_folder, (_target(backend), *targets))
    return build_folder, sources


def _tools(
    python: Path, backend: str, architecture: str, folder: Path
) -> tuple[Toolchain, dict[str, str]]:
    if backend == "vulkan":
        tools = toolchain.ensure(python, architecture)
        # for the program that runs glslc, which CMake compiles apart
        variables = {**tools.variables, "CC": str(tools.c), "CXX": str(tools.cxx)}
        tools = replace(tools, variables=variables)
        return tools, vulkan_tools.switches(tools, folder / "vulkan")
    tools = gpu_compilers.system_tools(python, architecture)
    return tools, gpu_compilers.switches(backend, folder / backend)


def _target(backend: str) -> str:
    return {"rocm": "ggml-hip"}.get(backend, f"ggml-{backend}")


def _check(library: Path, architecture: str) -> None:
    facts = elf.read(library)
    if facts.machine != architecture:
        raise environment.SetupError(f"{library} is not compiled for {architecture}")
    if "libggml-base.so.0" not in facts.needed:
        raise environment.SetupError(f"{library} does not need libggml-base.so.0, as it must")
    public = {*gpu_compilers.CUDA_FOLDERS, *gpu_compilers.ROCM_FOLDERS}
    foreign = [path for path in facts.search if path != "$ORIGIN" and path not in public]
    if foreign:
        raise environment.SetupError(f"{library} searches folders of this machine: {foreign}")


def _pack(backend: str, library: Path, sources: Path, output: Path) -> Path:
    sys.path.insert(0, str(environment.ROOT))
    from localrun.backends.manifest import ModuleManifest
    from localrun.backends.package import write_package

    content = library.read_bytes()
    manifest = ModuleManifest(
        backend=backend,
        library=library.name,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        platform=f"linux-{elf.read(library).machine}",
        glibc=".".join(map(str, elf.glibc_floor([library]))),
        llama_cpp_python=sources.name.rpartition("-")[2],
        llama_cpp_commit=portable.commit(sources),
        ggml=_ggml_version(sources),
        licence="MIT",
    )
    name = f"localrun-backend-{backend}-{manifest.llama_cpp_python}-{manifest.platform}.zip"
    write_package(output / name, manifest, library, sources / LLAMA_CPP / "LICENSE")
    return output / name


def _ggml_version(sources: Path) -> str:
    text = (sources / LLAMA_CPP / "ggml" / "CMakeLists.txt").read_text(encoding="utf-8")
    return ".".join(GGML_VERSION.findall(text)[:VERSION_PARTS])
