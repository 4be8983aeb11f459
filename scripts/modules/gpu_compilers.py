"""Compilers of NVIDIA and AMD for their backends, as this machine has them.

They compile for the host with its own C++ compiler, so a module needs a glibc as new as that
machine's symbols (2.34 with Debian 12); its manifest states the version. NVIDIA's and AMD's
libraries are not in a module: the machine that uses it has them, or installs them from PyPI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import environment
from engines.toolchain import Toolchain

# ggml compiles 120 as 120a, which no later card runs: these compile the code of 90 at run time
CUDA_ARCHITECTURES = "75-real;80-real;86-real;89-real;90;120-real"
AMD_TARGETS = "gfx900;gfx906;gfx908;gfx90a;gfx942;gfx1030;gfx1100;gfx1101;gfx1102;gfx1200;gfx1201"
ARCHITECTURES_VARIABLE = "LOCALRUN_GPU_ARCHITECTURES"
ROCM_PLACE = Path("/opt/rocm/bin")
CUDA_PLACES = (Path("/usr/local/cuda"), Path("/opt/cuda"))
# functions of the driver that ggml-cuda calls by name
DRIVER = (
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuInit",
    "cuMemAddressFree",
    "cuMemAddressReserve",
    "cuMemCreate",
    "cuMemGetAllocationGranularity",
    "cuMemMap",
    "cuMemRelease",
    "cuMemSetAccess",
    "cuMemUnmap",
)
# where pip puts cuBLAS, and where installers put libraries that the linker does not search
CUDA_FOLDERS = (
    *(f"$ORIGIN/../../nvidia/{name}/lib" for name in ("cu13", "cuda_runtime", "cublas")),
    "/usr/local/cuda/lib64",
)
ROCM_FOLDERS = ("/opt/rocm/lib",)
# glibc 2.36 has it, and a static libstdc++ of a machine with that glibc calls it
ARC4RANDOM = """#include <stdlib.h>
#include <sys/random.h>
__attribute__((visibility("hidden"))) unsigned arc4random(void) {
    unsigned value;
    if (getrandom(&value, sizeof value, 0) != sizeof value) abort();
    return value;
}
"""


def system_tools(python: Path, architecture: str) -> Toolchain:
    """Return the machine's own C and C++ compiler.

    Raises:
        SetupError: there is none.
    """
    found = {name: shutil.which(name) for name in ("gcc", "g++")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise environment.SetupError(
            f"{', '.join(missing)} not found\nhint: sudo apt install build-essential"
        )
    variables = environment.build_tools(python)
    return Toolchain(architecture, Path(str(found["gcc"])), Path(str(found["g++"])), variables)


def switches(backend: str, folder: Path) -> dict[str, str]:
    """Return CMake's variables for CUDA or ROCm.

    Raises:
        SetupError: its compiler or a library is missing; the text has the command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ours = _cuda(folder) if backend == "cuda" else _rocm()
    searched = ":".join(CUDA_FOLDERS if backend == "cuda" else ROCM_FOLDERS)
    flags = f"-s -static-libstdc++ '{_arc4random(folder)}' '-Wl,-rpath,{searched}'"
    return {**ours, "CMAKE_MODULE_LINKER_FLAGS": flags}


def _cuda(folder: Path) -> dict[str, str]:
    places = [place / "bin" / "nvcc" for place in CUDA_PLACES]
    nvcc = next((str(path) for path in places if path.exists()), None) or shutil.which("nvcc")
    if nvcc is None:
        raise environment.SetupError(
            "nvcc not found, which compiles CUDA\n"
            "hint: install NVIDIA's CUDA toolkit (https://developer.nvidia.com/cuda-downloads)"
        )
    ours = {
        "GGML_CUDA": "ON",
        "GGML_CUDA_NCCL": "OFF",
        "CMAKE_CUDA_COMPILER": nvcc,
        "CMAKE_CUDA_ARCHITECTURES": os.environ.get(ARCHITECTURES_VARIABLE) or CUDA_ARCHITECTURES,
        "CUDA_cuda_driver_LIBRARY": str(_driver(folder)),
    }
    cublas = _pip_cublas()
    if cublas is not None:
        library = next((cublas / "lib").glob("libcublas.so.*"))
        ours["CUDA_cublas_LIBRARY"] = str(library)
        ours["CMAKE_CUDA_FLAGS"] = f"-I{cublas / 'include'}"
    elif not _toolkit_has_cublas(Path(nvcc)):
        raise environment.SetupError(
            "cuBLAS's headers not found, which are a part of CUDA\n"
            "hint: python3 -m pip install nvidia-cublas, or install the whole CUDA toolkit"
        )
    return ours


def _rocm() -> dict[str, str]:
    hipconfig = shutil.which("hipconfig") or str(ROCM_PLACE / "hipconfig")
    if not Path(hipconfig).exists():
        raise environment.SetupError(
            "hipconfig and hipcc not found, which compile for ROCm\n"
            "hint: sudo apt install hipcc libhipblas-dev librocblas-dev   (Debian), or AMD's "
            "installer (https://rocm.docs.amd.com)"
        )
    clang = _output([hipconfig, "-l"]) + "/clang"
    return {
        "GGML_HIP": "ON",
        "CMAKE_HIP_COMPILER": clang,
        "AMDGPU_TARGETS": os.environ.get(ARCHITECTURES_VARIABLE) or AMD_TARGETS,
        "CMAKE_PREFIX_PATH": _output([hipconfig, "-R"]),
    }


def _driver(folder: Path) -> Path:
    """Return a library to link with in place of the driver's, which this machine may lack."""
    library, source = folder / "libcuda.so", folder / "libcuda.c"
    source.write_text("".join(f"int {name}(void) {{ return 999; }}\n" for name in DRIVER))
    _output(["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", source, "-o", library])
    return library


def _arc4random(folder: Path) -> Path:
    """Return an object file that keeps a module from needing glibc 2.36."""
    target, source = folder / "arc4random.o", folder / "arc4random.c"
    source.write_text(ARC4RANDOM)
    _output(["gcc", "-O2", "-fPIC", "-c", source, "-o", target])
    return target


def _pip_cublas() -> Path | None:
    """Return the folder of the package nvidia-cublas, or None if it is not installed."""
    places = (
        Path(sysconfig.get_paths()["platlib"]),
        *environment.VENV.glob("lib/python3*/site-packages"),
    )
    for place in places:
        for name in ("cu13", "cublas"):
            folder = place / "nvidia" / name
            if (folder / "include" / "cublas_v2.h").is_file():
                return folder
    return None


def _toolkit_has_cublas(nvcc: Path) -> bool:
    toolkit = nvcc.resolve().parent.parent
    return any(toolkit.glob("**/include/cublas_v2.h"))


def _output(command: list[object]) -> str:
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise environment.SetupError(f"{command[0]} failed: {(done.stderr or done.stdout)[:500]}")
    return done.stdout.strip()
