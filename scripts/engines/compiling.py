"""Compilation of llama.cpp: for the local processor with the machine's compiler, and its progress.

The compiled wheel is kept in the cache folder, under the key of the machine.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

AMX_FIXED_IN = {11: (11, 5), 12: (12, 4), 13: (13, 3)}  # by GCC's major version
# Layers of a model on other machines need RPC (`localrun worker`). Its transport by RDMA is not
# used, and would make the wheel depend on a library of the machine that compiled it.
SWITCHES = "-DGGML_RPC=on -DGGML_RPC_RDMA=off"
PROGRESS = re.compile(r"\[\s*(\d+)/(\d+)\]")
TAIL_LINES = 15


def compile_wheel(python: Path, folder: Path) -> Path:
    """Compile the locked llama-cpp-python for this processor; return the wheel in the folder.

    Raises:
        SetupError: there is no compiler, or it failed.
    """
    _require_compiler()
    environment.say("compiling llama.cpp, once for this machine (about 3 minutes on 4 cores) ...")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [python, "-m", "pip", "wheel", "--verbose", "--no-cache-dir", "--require-hashes"]
        command += [*environment.WITH_OUR_TOOLS, "--no-binary", ":all:", "-w", scratch]
        command += ["-r", environment.LOCKS / "engine.txt"]
        variables = {**compiler_flags(), **environment.build_tools(python)}
        variables["CMAKE_ARGS"] = cmake_arguments()
        run_logged(command, folder / "build.log", variables)
        (built,) = Path(scratch).glob("*.whl")
        return built.replace(folder / built.name)


def run_logged(command: list[object], log: Path, variables: Mapping[str, str]) -> None:
    """Run a build, with its progress on one line; the whole output goes to a log file.

    Raises:
        SetupError: the build failed; the text has the end of the log.
    """
    ours = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment.pip_environment(), **variables, **ours},
            errors="replace",
        )
        _show_progress(line for line in process.stdout or () if out.write(line))
        code = process.wait()
    if code != 0:
        tail = "".join(log.read_text().splitlines(keepends=True)[-TAIL_LINES:])
        raise environment.SetupError(
            f"llama.cpp did not compile:\n{tail}\nhint: the whole log is {log}"
        )


def cmake_arguments() -> str:
    """Return the arguments for CMake: ours, and those of the user, which override ours."""
    return f"{SWITCHES} {os.environ.get('CMAKE_ARGS', '')}".strip()


def compiler_flags() -> dict[str, str]:
    """Return CFLAGS and CXXFLAGS that disable AMX if the compiler generates wrong code for it.

    GCC before 11.5, 12.4, 13.3 and 14 passes 8 of the 64 bytes of a tile configuration
    (https://gcc.gnu.org/PR114098): the first matrix product ends in SIGSEGV.
    """
    macros = _native_macros()
    if "__AMX_INT8__" not in macros or "__clang__" in macros:
        return {}
    version = tuple(int(macros.get(name, "0")) for name in ("__GNUC__", "__GNUC_MINOR__"))
    if version >= AMX_FIXED_IN.get(version[0], (14, 0)):
        return {}
    return {
        name: f"{os.environ.get(name, '')} -U__AMX_INT8__".strip()
        for name in ("CFLAGS", "CXXFLAGS")
    }


def _require_compiler() -> None:
    if not (
        shutil.which("c++")
        or shutil.which("g++")
        or shutil.which("clang++")
        or os.environ.get("CXX")
    ):
        raise environment.SetupError(
            "no C++ compiler was found, and llama.cpp has to be compiled.\n"
            "hint: sudo apt install build-essential   (Debian, Ubuntu; others: gcc with g++)"
        )


def _native_macros() -> dict[str, str]:
    """Return the compiler's macros for this processor; empty without a compiler."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or "clang++"
    command = [*shlex.split(compiler), "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError:
        return {}
    lines = (line.split(maxsplit=2) for line in done.stdout.splitlines())
    return {words[1]: words[2] if len(words) > 2 else "" for words in lines if len(words) > 1}


def _show_progress(lines: Iterable[str]) -> None:
    terminal, last_percent = sys.stderr.isatty(), -1
    for line in lines:
        match = PROGRESS.search(line)
        percent = 100 * int(match[1]) // int(match[2]) if match else last_percent
        if percent > last_percent and (terminal or percent // 10 > last_percent // 10):
            last_percent = percent
            sys.stderr.write(f"\r  {percent:3d}%" if terminal else f"  {percent:3d}%\n")
            sys.stderr.flush()
    if terminal:
        sys.stderr.write("\n")
