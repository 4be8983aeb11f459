"""llama.cpp with Vulkan for machines without a GPU, on Mesa's software driver.

    <cache>/localrun/vulkan/<key>/site/llama_cpp/        the package: put it on PYTHONPATH
                                  site/llama_cpp/lib/    libllama, ggml, and two backends:
                                                         libggml-cpu.so, libggml-vulkan.so
                                  src/, build/, headers/ kept for the next build

The build uses `GGML_BACKEND_DL`, so it also tests wheels whose backends are separate files.
Pitfalls (measured with llama.cpp of llama-cpp-python 0.3.36 on Debian 12):

- `GGML_BACKEND_DL` requires `GGML_NATIVE` off.
- Debian 12's Vulkan headers (1.3.239) are too old for ggml-vulkan.cpp; those of Debian 13
  work, with the loader of Debian 12. Its glslc is new enough.
- llama.cpp ignores Vulkan devices that are CPUs unless `GGML_VK_VISIBLE_DEVICES`
  names them: "0" is one device, "0,0" are two, "" is none.
- The driver has no buffers over 128 MiB: keep the vocabularies of tests small.
- The first process compiles shaders for some 10 s; ~/.cache/mesa_shader_cache keeps them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

import environment

PACKAGES = (
    "mesa-vulkan-drivers",
    "libvulkan-dev",
    "glslc",
    "spirv-headers",
    "cmake",
    "ninja-build",
)
DRIVERS = Path("/usr/share/vulkan/icd.d")
SYSTEM_HEADERS = Path("/usr/include/vulkan/vulkan_core.h")
NEEDED_HEADERS = b"VK_EXT_layer_settings"
HEADERS_URL = (
    "https://deb.debian.org/debian/pool/main/v/vulkan-loader/libvulkan-dev_1.4.309.0-1_amd64.deb"
)
HEADERS_SHA256 = "8d329d465e16168afff58b1bd0dd6db46aac2cc3f56054a481b25a04e90b345a"
SWITCHES = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "GGML_BACKEND_DL": "ON",
    "GGML_NATIVE": "OFF",
    "GGML_VULKAN": "ON",
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
    "CMAKE_INSTALL_RPATH": "$ORIGIN",
    **{f"LLAMA_BUILD_{part}": "OFF" for part in ("TESTS", "TOOLS", "EXAMPLES", "SERVER", "COMMON")},
}
TARGETS = ("llama", "ggml-cpu", "ggml-vulkan")
LINKED = ("libllama.so", "libggml.so", "libggml-base.so")
JOBS = 2
NICENESS = 15
TIMEOUT_S = 60


class VulkanError(Exception):
    """Vulkan is not available here; the text has the reason and a hint."""


def ensure(python: Path) -> Path:
    """Return the folder for PYTHONPATH, which the first call builds (about 5 minutes)."""
    folder = environment.cache_folder() / "vulkan" / environment.machine_key()
    site = folder / "site"
    if not site.is_dir():
        _require_system()
        folder.mkdir(parents=True, exist_ok=True)
        _build(_sources(python, folder), folder)
        _collect(folder, site)
    return site


def _require_system() -> None:
    missing = [program for program in ("glslc", "cmake", "ninja") if not shutil.which(program)]
    if not any(DRIVERS.glob("lvp_icd*")):
        missing.append("Mesa's software driver")
    if not SYSTEM_HEADERS.is_file():
        missing.append("Vulkan's headers")
    if missing:
        packages = " ".join(PACKAGES)
        raise VulkanError(f"{', '.join(missing)} not found; hint: sudo apt install {packages}")


def _sources(python: Path, folder: Path) -> Path:
    """Return the unpacked locked sdist."""
    target = folder / "src"
    if not target.is_dir():
        environment.say("fetching the sources of llama.cpp ...")
        scratch = folder / "src.partial"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        archive = environment.download_engine(python, scratch)
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        archive.unlink()
        scratch.rename(target)
    return next(target.glob("llama_cpp_python-*"))


def _build(sources: Path, folder: Path) -> None:
    environment.say("compiling llama.cpp with Vulkan, once for this machine (5 minutes) ...")
    switches = dict(SWITCHES)
    if NEEDED_HEADERS not in SYSTEM_HEADERS.read_bytes():
        switches["Vulkan_INCLUDE_DIR"] = str(_newer_headers(folder / "headers"))
    configure = ["cmake", "-G", "Ninja", "-S", str(sources / "vendor" / "llama.cpp")]
    configure += ["-B", str(folder / "build"), *(f"-D{key}={switches[key]}" for key in switches)]
    _run(configure)
    gentle = ["nice", "-n", str(NICENESS), "cmake", "--build", str(folder / "build")]
    _run([*gentle, "--parallel", str(JOBS), "--target", *TARGETS])


def _newer_headers(folder: Path) -> Path:
    """Return the headers of Debian 13, unpacked beside the build and not installed."""
    headers = folder / "usr" / "include"
    if not headers.is_dir():
        with urllib.request.urlopen(HEADERS_URL, timeout=TIMEOUT_S) as answer:
            data = answer.read()
        if hashlib.sha256(data).hexdigest() != HEADERS_SHA256:
            raise VulkanError(f"{HEADERS_URL} does not have the expected digest")
        package = folder.with_suffix(".deb")
        package.write_bytes(data)
        _run(["dpkg", "-x", str(package), str(folder)])
    return headers


def _collect(folder: Path, site: Path) -> None:
    """Assemble the package as in a wheel, with copies instead of the build's links."""
    partial = folder / "site.partial"
    shutil.rmtree(partial, ignore_errors=True)
    (package,) = (folder / "src").glob("*/llama_cpp")
    shutil.copytree(package, partial / "llama_cpp")
    libraries = partial / "llama_cpp" / "lib"
    libraries.mkdir()
    built = folder / "build" / "bin"
    for name in (*LINKED, *(f"{name}.0" for name in LINKED)):
        shutil.copy(built / name, libraries / name)
    for name in ("libggml-cpu.so", "libggml-vulkan.so"):
        shutil.copy(built / name, libraries / name)
    partial.rename(site)


def _run(command: list[str], variables: dict[str, str] | None = None) -> None:
    environ = os.environ | (variables or {})
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise VulkanError(f"{' '.join(command)} failed:\n{tail}")


if __name__ == "__main__":
    print(ensure(Path(sys.executable)))
