"""llama.cpp and its Vulkan backend for tests on machines without a GPU, on Mesa's software driver.

    <cache>/localrun/vulkan/<key>/site/llama_cpp/        the package: put it on PYTHONPATH
                                  site/llama_cpp/lib/    libllama, ggml and libggml-cpu.so
                                  localrun-backend-vulkan-*.zip

The backend is the package of scripts/build-backend, which the tests install by `localrun backend
add`. llama.cpp is compiled in the same build folder with `GGML_BACKEND_DL`, so the tests also cover
wheels whose backends are separate files. Pitfalls (measured with llama-cpp-python 0.3.36):

- llama.cpp ignores Vulkan devices that are CPUs unless `GGML_VK_VISIBLE_DEVICES`
  names them: "0" is one device, "0,0" are two, "" is none.
- The driver has no buffers over 128 MiB: keep the vocabularies of tests small.
- The first process compiles shaders for some 10 s; ~/.cache/mesa_shader_cache keeps them.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import environment

DRIVERS = Path("/usr/share/vulkan/icd.d")
LOADER = "libvulkan.so.1"
HINT = "hint: sudo apt install mesa-vulkan-drivers libvulkan1"
TARGETS = ("llama", "ggml-cpu")
LINKED = ("libllama.so", "libggml.so", "libggml-base.so")
ARCHITECTURE = "x86_64"


class VulkanError(Exception):
    """Vulkan is not available here; the text has the reason and a hint."""


@dataclass(frozen=True)
class VulkanForTests:
    """What the tests need."""

    site: Path
    package: Path


def ensure(python: Path) -> VulkanForTests:
    """Return llama.cpp and the package of the backend, which the first call builds (8 minutes).

    Raises:
        VulkanError: this machine has no software driver.
        SetupError: the build failed.
    """
    if not any(DRIVERS.glob("lvp_icd*")):
        raise VulkanError(f"Mesa's software driver was not found\n{HINT}")
    folder = environment.cache_folder() / "vulkan" / _key()
    found = next(folder.glob("*.zip"), None)
    if found is None or not (folder / "site").is_dir():
        found = _build(python, folder)
    return VulkanForTests(folder / "site", found)


def _build(python: Path, folder: Path) -> Path:
    from modules import building

    environment.say("compiling llama.cpp and its Vulkan backend, once (8 minutes) ...")
    folder.mkdir(parents=True, exist_ok=True)
    built, sources = building.compile_backend(python, "vulkan", ARCHITECTURE, *TARGETS)
    _collect(sources, built / "bin", folder / "site")
    return building.build(python, "vulkan", ARCHITECTURE, folder)


def _key() -> str:
    """Return a hash of the sources and of what they are compiled with."""
    scripts = environment.ROOT / "scripts"
    named = [environment.LOCKS / "engine.txt", environment.LOCKS / "toolchain.txt"]
    named += [scripts / "modules" / "building.py", scripts / "modules" / "vulkan_tools.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in named)).hexdigest()[:16]


def _collect(sources: Path, built: Path, site: Path) -> None:
    """Assemble the package as in a wheel, with copies instead of the build's links."""
    partial = site.with_name("site.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(sources / "llama_cpp", partial / "llama_cpp")
    libraries = partial / "llama_cpp" / "lib"
    libraries.mkdir(exist_ok=True)
    for name in (*LINKED, *(f"{name}.0" for name in LINKED), "libggml-cpu.so"):
        shutil.copy(built / name, libraries / name)
    partial.rename(site)


if __name__ == "__main__":
    print(ensure(Path(sys.executable)))
