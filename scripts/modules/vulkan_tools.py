"""What the Vulkan backend is compiled with, besides the engine's toolchain.

    <cache>/localrun/engine/<key>/vulkan/debian/    headers of Vulkan and SPIR-V, shader compiler
                                         include/   the headers alone
                                         glslc      starts the shader compiler
                                         libvulkan.so    stands in for the loader when linking

All of it is Debian 13's, by digest, and runs on any Linux machine with an x86-64 processor: the
glslc of Debian 12 knows neither cooperative matrices (tensor cores) nor integer dot products, and
its Vulkan headers are too old for ggml-vulkan.cpp. The loader of Vulkan is the machine's own, at
run time.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import environment

from modules.debian import DebianPackage, unpack

if TYPE_CHECKING:
    from pathlib import Path

    from engines.toolchain import Toolchain

PACKAGES = (
    DebianPackage(
        "v/vulkan-loader/libvulkan-dev_1.4.309.0-1_amd64.deb",
        "8d329d465e16168afff58b1bd0dd6db46aac2cc3f56054a481b25a04e90b345a",
    ),
    DebianPackage(
        "s/spirv-headers/spirv-headers_1.6.1+1.4.309.0-1_all.deb",
        "dc18db866d63680351c40ac6b6bece34cb52da64a7799ce1cc4f16f6bff4d064",
    ),
    DebianPackage(
        "s/shaderc/glslc_2025.2-1_amd64.deb",
        "e05374965709159303041b104d4a26022d6ac5eb8296450364d66ae864a20367",
    ),
    DebianPackage(
        "s/shaderc/libshaderc1_2025.2-1_amd64.deb",
        "2a67c8f784c65e1aa0d251819c020917405b490fbb543c6a73a52a631e476463",
    ),
    DebianPackage(
        "g/glibc/libc6_2.41-12+deb13u1_amd64.deb",
        "0a51c7ba7c59b3c664b836fe33c5184e6f5a869f57e86613381e954d74282b66",
    ),
    DebianPackage(
        "g/gcc-14/libstdc++6_14.2.0-19_amd64.deb",
        "ab1fa05837aa7a92aae748fd07a18a35f7d18bb4a71c4724fe2bbf0e32089de0",
    ),
    DebianPackage(
        "g/gcc-14/libgcc-s1_14.2.0-19_amd64.deb",
        "3c71917b490d1a17aed43196a2787a256ecf060526cdb20216a74bedc061b150",
    ),
)
LIBRARIES = "usr/lib/x86_64-linux-gnu"
PROGRAM = """#!/bin/sh
exec '{lib}/ld-linux-x86-64.so.2' --library-path '{lib}' '{root}/usr/bin/glslc' "$@"
"""
# functions of the loader that ggml-vulkan calls by name; it asks for all others
LOADER = (
    "vkCmdCopyBuffer",
    "vkGetDeviceProcAddr",
    "vkGetInstanceProcAddr",
    "vkGetPhysicalDeviceFeatures2",
)


def switches(tools: Toolchain, folder: Path) -> dict[str, str]:
    """Return CMake's variables for the Vulkan backend, with what they name in the folder.

    Raises:
        SetupError: a download failed, or the shader compiler does not run here.
    """
    root = unpack(PACKAGES, folder / "debian")
    include, glslc = folder / "include", folder / "glslc"
    if not include.is_dir():
        shutil.copytree(root / "usr" / "include", include, symlinks=True)
    glslc.write_text(PROGRAM.format(lib=root / LIBRARIES, root=root))
    glslc.chmod(0o755)
    _run([glslc, "--version"])
    spirv = root / "usr" / "share" / "cmake" / "SPIRV-Headers"
    return {
        "GGML_VULKAN": "ON",
        "Vulkan_INCLUDE_DIR": str(include),
        "Vulkan_LIBRARY": str(_loader(tools, folder)),
        "Vulkan_GLSLC_EXECUTABLE": str(glslc),
        "SPIRV-Headers_DIR": str(spirv),
    }


def _loader(tools: Toolchain, folder: Path) -> Path:
    """Return a library to link with in place of libvulkan.so.1."""
    library, source = folder / "libvulkan.so", folder / "libvulkan.c"
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in LOADER))
    _run([tools.c, "-shared", "-s", "-Wl,-soname,libvulkan.so.1", source, "-o", library])
    return library


def _run(command: list[object]) -> None:
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise environment.SetupError(f"{command[0]} failed: {(done.stderr or done.stdout)[:500]}")
