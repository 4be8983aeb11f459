"""Portable wheel of llama-cpp-python: one file for every processor of an architecture.

    <cache>/localrun/engine/<key>/src/          the locked sources, unpacked
                                  x86_64/       CMake's build folder, kept: backends are built in it

All processors' variants of ggml's CPU backend are modules of their own (`GGML_CPU_ALL_VARIANTS`);
ggml loads the best one that the processor can run. The wheel has every library once, by the name
by which the others refer to it. Pitfalls (measured with llama-cpp-python 0.3.36):

- CMake's install would put the variants into site-packages/bin and a second copy of everything
  into site-packages/lib, so the libraries are taken from the build folder.
- With git on the machine, `ggml_commit` would end in "-dirty"; without it, be "unknown".
- Files named in assertions would have this machine's paths: `-ffile-prefix-map`.
- The sources' CMakeLists.txt would have the variants search the build folder: `SEARCH_PATH`.
- llama_cpp opens libggml.so by its path, beside the libggml.so.0 that libllama needs: a copy would
  be a second ggml with an empty registry. So libggml.so is an empty library that needs the other.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import elf
import environment

from engines import compiling, converter, toolchain, wheel_file

if TYPE_CHECKING:
    from pathlib import Path

    from engines.toolchain import Toolchain

SWITCHES = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "GGML_BACKEND_DL": "ON",
    "GGML_CPU_ALL_VARIANTS": "ON",
    "GGML_NATIVE": "OFF",
    "GGML_OPENMP": "OFF",
    "GGML_RPC": "ON",  # for `localrun worker`; a module, loaded by whoever uses workers
    "GGML_RPC_RDMA": "OFF",
    "GIT_EXE": "OFF",  # it would take the commit of a repository around the folder
    "LLAMA_OPENSSL": "OFF",
    **{f"LLAMA_BUILD_{part}": "OFF" for part in ("APP", "TESTS", "TOOLS", "EXAMPLES", "SERVER")},
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
    "CMAKE_INSTALL_RPATH": "$ORIGIN",
    "CMAKE_SHARED_LINKER_FLAGS": "-s",
    "CMAKE_MODULE_LINKER_FLAGS": "-s",
}
TARGETS = ("llama", "mtmd", "ggml")  # ggml depends on the modules of its backends
LOADED = ("libllama.so", "libmtmd.so")  # opened by these names
LINKED = ("libggml.so.0", "libggml-base.so.0")  # needed by these names
# read by CMake after the sources' CMakeLists.txt has set the opposite
SEARCH_PATH = """set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH OFF)
"""
RPC = "libggml-rpc.so"
VARIANT = re.compile(r"libggml-cpu-.+\.so")
NUM_VARIANTS = {"x86_64": 14, "aarch64": 8}
NICENESS = "10"


def build_wheel(python: Path, architecture: str, output: Path) -> Path:
    """Build the wheel into the folder, with its digest and the converter beside it; return it.

    A second build continues in the kept folder (10 minutes with two cores the first time).

    Raises:
        SetupError: a download, the compilation or a check of its result failed.
    """
    tools = toolchain.ensure(python, architecture)
    sources = provide_sources(python)
    build = sources.parent.parent / architecture
    configure(tools, sources, build, SWITCHES)
    compile_targets(tools, build, TARGETS)
    libraries = _collect(tools, build)
    check(libraries, architecture)
    output.mkdir(parents=True, exist_ok=True)
    wheel = _assemble(sources, libraries, tools.platform_tag, output)
    converter.pack(sources, output)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    wheel.with_name(f"{wheel.name}.sha256").write_text(f"{digest}  {wheel.name}\n")
    return wheel


def provide_sources(python: Path) -> Path:
    """Return the folder of the locked sources, unpacked the first time."""
    lock = environment.LOCKS / "engine.txt"
    key = hashlib.sha256(lock.read_bytes() + toolchain.LOCK.read_bytes()).hexdigest()[:16]
    folder = environment.cache_folder() / "engine" / key
    target = folder / "src"
    if not target.is_dir():
        environment.say("downloading the sources of llama.cpp ...")
        partial = folder / f"src.{os.getpid()}"
        partial.mkdir(parents=True)
        archive = environment.download_engine(python, partial)
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        archive.unlink()
        partial.rename(target)
    return next(target.glob("llama_cpp_python-*"))


def commit(sources: Path) -> str:
    """Return llama.cpp's commit, abbreviated as in other builds of the sources."""
    head = sources / ".git" / "modules" / "vendor" / "llama.cpp" / "HEAD"
    return head.read_text().strip()[:7]


def configure(tools: Toolchain, sources: Path, build: Path, switches: dict[str, str]) -> None:
    """Run CMake's configuration for a target of the toolchain.

    Raises:
        SetupError: CMake failed.
    """
    prefix = f"-g0 -ffile-prefix-map={sources}=."
    ours = {**switches, **tools.switches(), "CMAKE_C_FLAGS": prefix, "CMAKE_CXX_FLAGS": prefix}
    ours["GGML_BUILD_COMMIT"] = commit(sources)
    # CMake's cache would go on with the program of another clone
    ours["CMAKE_MAKE_PROGRAM"] = shutil.which("ninja", path=tools.variables["PATH"]) or "ninja"
    included = build.with_name("search_path.cmake")
    included.parent.mkdir(parents=True, exist_ok=True)
    included.write_text(SEARCH_PATH)
    ours["CMAKE_PROJECT_ggml_INCLUDE"] = str(included)
    ours["SKBUILD_PLATLIB_DIR"] = str(build / "unused")  # named in the sources' CMakeLists.txt
    definitions = [f"-D{name}={value}" for name, value in ours.items()]
    command = ["cmake", "-G", "Ninja", "-S", str(sources), "-B", str(build), *definitions]
    compiling.run_logged(command, build.with_name(f"{build.name}.log"), tools.variables)


def compile_targets(tools: Toolchain, build: Path, targets: tuple[str, ...]) -> None:
    """Compile targets in a configured folder, with all cores, behind other programs.

    Raises:
        SetupError: the compilation failed.
    """
    environment.say(f"compiling {' '.join(targets)} for {tools.architecture} ...")
    jobs = str(os.cpu_count() or 1)
    command = ["nice", "-n", NICENESS, "cmake", "--build", str(build), "--parallel", jobs]
    log = build.with_name(f"{build.name}.log")
    compiling.run_logged([*command, "--target", *targets], log, tools.variables)


def check(libraries: dict[str, Path], architecture: str) -> None:
    """Check what the wheel promises: all variants, the C library's version, no other libraries.

    Raises:
        SetupError: the build has another result.
    """
    modules = [name for name in libraries if VARIANT.fullmatch(name)]
    if len(modules) < NUM_VARIANTS.get(architecture, 1):
        raise environment.SetupError(f"llama.cpp has fewer CPU variants than before: {modules}")
    floor = elf.glibc_floor(libraries.values())
    if floor > toolchain.GLIBC:
        raise environment.SetupError(f"the libraries need glibc {floor[0]}.{floor[1]}")
    for name, file in libraries.items():
        facts = elf.read(file)
        if facts.machine != architecture:
            raise environment.SetupError(f"{name} is not compiled for {architecture}")
        if set(facts.search) - {"$ORIGIN"}:
            raise environment.SetupError(f"{name} searches {', '.join(facts.search)}")
        foreign = [n for n in facts.needed if n.startswith(("libstdc", "libgomp"))]
        if foreign:
            raise environment.SetupError(f"{name} needs {', '.join(foreign)} of the machine")


def _collect(tools: Toolchain, build: Path) -> dict[str, Path]:
    """Return the built libraries by the names that they have in the wheel."""
    built = build / "bin"
    modules = {file.name: file for file in sorted(built.glob("libggml-cpu-*.so"))}
    modules[RPC] = _built(build, RPC)
    libraries = {name: _built(build, name) for name in (*LOADED, *LINKED)}
    registry, source = build / "libggml.so", build / "empty.c"
    source.write_text("")
    command = [str(tools.c), "-shared", "-s", "-Wl,-soname,libggml.so", "-Wl,-rpath,$ORIGIN"]
    command += ["-Wl,--no-as-needed", str(source), str(built / "libggml.so.0"), "-o", str(registry)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise environment.SetupError(f"{registry} was not linked:\n{done.stderr}")
    return {**libraries, "libggml.so": registry, **modules}


def _built(build: Path, name: str) -> Path:
    """Return the library that a name links to; that of mtmd is not in the folder of the others.

    Raises:
        SetupError: it was not built.
    """
    file = next(build.rglob(name), None)
    if file is None:
        raise environment.SetupError(f"the build has no {name}\nhint: rm -r {build}")
    return file.resolve()


def _assemble(sources: Path, libraries: dict[str, Path], platform: str, output: Path) -> Path:
    metadata = (sources / "PKG-INFO").read_bytes()
    package = sources / "llama_cpp"
    files = {
        f"llama_cpp/{file.relative_to(package).as_posix()}": file.read_bytes()
        for file in sorted(package.rglob("*"))
        if file.is_file() and "lib" not in file.relative_to(package).parts[:1]
    }
    files |= {f"llama_cpp/lib/{name}": file.read_bytes() for name, file in libraries.items()}
    name, tag = sources.name, f"py3-none-{platform}"
    llama_cpp = sources / "vendor" / "llama.cpp"
    for file in (sources / "LICENSE.md", llama_cpp / "LICENSE", *llama_cpp.glob("licenses/*")):
        inside = file.relative_to(sources).as_posix()
        files[f"{name}.dist-info/licenses/{inside}"] = file.read_bytes()
    target = output / f"{name}-{tag}.whl"
    wheel_file.write_wheel(target, files, metadata=metadata, tag=tag)
    return target
