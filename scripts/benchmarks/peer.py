"""The peer of the benchmarks: llama-server, built from the wheel's sources and libraries.

    <cache>/localrun/llama-server/<key>/build/llama-server
    <cache>/localrun/llama-server/<key>/tools/llama-bench, llama-imatrix, ...
    <cache>/localrun/llama-server/<key>/src/llama_cpp_python-0.3.36/...    the sdist, unpacked

``key`` depends on the wheel (`environment`) and the folder of its libraries: the peer is linked
with the same libllama that localrun loads.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import environment

HERE = Path(__file__).resolve().parent
TOOLS = ("llama-bench", "llama-imatrix", "llama-perplexity", "llama-quantize")
JOBS = 2
NICENESS = 15


class PeerError(Exception):
    """The peer cannot be built; the text has a hint."""


def ensure_server() -> Path:
    """Return the program, compiled first (a few minutes) if it does not exist."""
    folder = _folder()
    program = folder / "build" / "llama-server"
    if not program.is_file():
        _build("llama_server", ensure_sources(), folder / "build")
    return program


def ensure_tools() -> None:
    """Compile the tools that quantize and measure, if they do not exist."""
    if any(find_tool(name) is None for name in TOOLS):
        _build("llama_tools", ensure_sources(), _folder() / "tools")


def find_tool(name: str) -> Path | None:
    """Return a tool if it is already compiled, or None."""
    program = _folder() / "tools" / name
    return program if program.is_file() else None


def find_server() -> Path | None:
    """Return the program if it is already compiled, or None."""
    program = _folder() / "build" / "llama-server"
    return program if program.is_file() else None


def ensure_sources() -> Path:
    """Return llama.cpp's folder in the sdist, which also has vocabularies and templates."""
    folder = _folder() / "src"
    sources = next(folder.glob("*/vendor/llama.cpp"), None)
    if sources is None:
        _fetch(folder)
        sources = next(folder.glob("*/vendor/llama.cpp"))
    return sources


def _folder() -> Path:
    key = hashlib.sha256(f"{environment.machine_key()} {_libraries()}".encode()).hexdigest()[:16]
    folder = environment.cache_folder() / "llama-server" / key
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _libraries() -> Path:
    """Return the wheel's folder with libllama-common and the libraries it needs."""
    return Path(sysconfig.get_path("platlib")) / "lib"


def _fetch(folder: Path) -> None:
    """Download the locked sdist and unpack it atomically."""
    print("fetching the sources of llama.cpp ...", file=sys.stderr)
    scratch = folder.with_name("src.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    archive = environment.download_engine(Path(sys.executable), scratch)
    with tarfile.open(archive) as tar:
        tar.extractall(scratch, filter="data")
    archive.unlink()
    scratch.rename(folder)


def _build(project: str, sources: Path, folder: Path) -> None:
    if shutil.which("cmake") is None:
        raise PeerError("cmake is needed for llama.cpp's programs\nhint: sudo apt install cmake")
    libraries = _libraries()
    if not any(libraries.glob("libllama-common.*")):
        raise PeerError(
            f"{libraries} has no libllama-common: the engine was not compiled here\n"
            "hint: rm .venv/.installed-run && CMAKE_ARGS=-DGGML_NATIVE=ON scripts/quickstart"
        )
    print(f"compiling {project}, once for this machine ...", file=sys.stderr)
    definitions = [f"-DSOURCE={sources}", f"-DLIBRARIES={libraries}"]
    _run(["cmake", "-S", str(HERE / project), "-B", str(folder), *definitions])
    gentle = ["nice", "-n", str(NICENESS)]
    _run([*gentle, "cmake", "--build", str(folder), "--parallel", str(JOBS)])


def _run(command: list[str], environ: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise PeerError(f"{' '.join(command)} failed:\n{tail}")
