"""C and C++ compiler of Zig, which builds for an old C library on any Linux machine.

    <cache>/localrun/toolchain/<key>/ziglang/zig    the package ziglang, installed by its hash
                                     x86_64/cc      programs for CMake: compile for the target
                                     x86_64/c++
                                     cache/         what Zig keeps: libc++, stubs of glibc

Zig links its own libc++ and unwinder into each library. So libraries built with it must not pass
C++ types to each other, and need no C++ library on the machine. It has no OpenMP.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GLIBC = (2, 28)  # of RHEL 8 and Debian 10; numpy and llguidance need a newer one
ARCHITECTURES = ("x86_64", "aarch64")
LOCK = environment.LOCKS / "toolchain.txt"
WRAPPER = """#!/bin/sh
{rename}ZIG_GLOBAL_CACHE_DIR='{cache}' ZIG_LOCAL_CACHE_DIR='{cache}' \\
exec '{zig}' {mode} -target {target} -fno-sanitize=undefined "$@"
"""
# Zig knows processors by other names: -march=armv8.2-a+fp16 is -mcpu=generic+v8_2a+fullfp16
RENAME = {
    "aarch64": r"""for word do
    shift
    case $word in
    -march=armv*) word=$(echo "$word" | sed 's/-march=armv\([0-9.]*\)-a/-mcpu=generic+v\1a/
        s/\(+v[0-9]*\)[.]/\1_/; s/+fp16/+fullfp16/') ;;
    esac
    set -- "$@" "$word"
done
"""
}


@dataclass(frozen=True)
class Toolchain:
    """Compilers for one architecture, and the environment variables that CMake runs with."""

    architecture: str
    c: Path
    cxx: Path
    variables: Mapping[str, str]

    @property
    def platform_tag(self) -> str:
        """Return the tag of wheels that are compiled with this."""
        return f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{self.architecture}"

    def switches(self) -> dict[str, str]:
        """Return CMake's variables for the compilers."""
        ours = {"CMAKE_C_COMPILER": str(self.c), "CMAKE_CXX_COMPILER": str(self.cxx)}
        if self.architecture != platform.machine():
            ours |= {"CMAKE_SYSTEM_NAME": "Linux", "CMAKE_SYSTEM_PROCESSOR": self.architecture}
        return ours


def ensure(python: Path, architecture: str) -> Toolchain:
    """Return the compilers, downloaded by pip the first time (100 MB).

    Raises:
        SetupError: this is no Linux, or pip failed.
    """
    if sys.platform != "linux":
        raise environment.SetupError(
            "the portable engine is built on Linux\nhint: scripts/quickstart compiles one here"
        )
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    folder = environment.cache_folder() / "toolchain" / key
    if not (folder / "ziglang" / "zig").is_file():
        _install(python, folder)
    compilers = folder / architecture
    compilers.mkdir(exist_ok=True)
    target = f"{architecture}-linux-gnu.{GLIBC[0]}.{GLIBC[1]}"
    for name, mode in (("cc", "cc"), ("c++", "c++")):
        _write_program(
            compilers / name,
            WRAPPER.format(
                rename=RENAME.get(architecture, ""),
                cache=folder / "cache",
                zig=folder / "ziglang" / "zig",
                mode=mode,
                target=target,
            ),
        )
    return Toolchain(
        architecture, compilers / "cc", compilers / "c++", environment.build_tools(python)
    )


def _install(python: Path, folder: Path) -> None:
    environment.say("downloading a C++ compiler (ziglang, 100 MB), once ...")
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")  # two builds may start at once
    folder.parent.mkdir(parents=True, exist_ok=True)
    environment.install_into(python, partial, LOCK)
    try:
        partial.rename(folder)
    except OSError:  # another build was faster
        shutil.rmtree(partial)


def _write_program(file: Path, text: str) -> None:
    if not file.is_file() or file.read_text() != text:
        file.write_text(text)
        file.chmod(0o755)
