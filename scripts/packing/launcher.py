"""Launcher of the binary, compiled from scripts/launcher and the decoder of zstd.

Zig's musl makes it static: it starts on every Linux with this processor.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import environment

from packing import sources

FOLDER = environment.ROOT / "scripts" / "launcher"
WARNINGS = ("-std=gnu17", "-Wall", "-Wextra", "-Wconversion", "-Werror")
OPTIONS = ("-O2", "-static", "-s", "-DZSTD_DISABLE_ASM", "-DZSTD_LEGACY_SUPPORT=0")
PARTS = ("common", "decompress")


def compile_launcher(zig: Path, architecture: str, target: Path) -> None:
    """Compile the launcher for a processor to a file.

    Raises:
        SetupError: the compiler failed.
    """
    with tempfile.TemporaryDirectory() as work:
        zstd = _unpacked_zstd(Path(work))
        command = [zig, "cc", "-target", f"{architecture}-linux-musl", *OPTIONS]
        ours = [*WARNINGS, "-isystem", zstd, "-c", *sorted(FOLDER.glob("*.c"))]
        theirs = [path for part in PARTS for path in sorted((zstd / part).glob("*.c"))]
        _run([*command, *ours], work)
        _run([*command, "-c", *theirs], work)
        _run([*command, "-o", target.absolute(), *sorted(Path(work).glob("*.o"))], work)


def _unpacked_zstd(work: Path) -> Path:
    with tarfile.open(sources.provide(sources.ZSTD)) as archive:
        archive.extractall(work, filter="data")
    (folder,) = work.glob("*/lib")
    return folder


def _run(command: list[str | Path], work: str) -> None:
    cache = str(environment.cache_folder() / "toolchain" / "cache")
    variables = {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    done = subprocess.run(
        command, check=False, cwd=work, capture_output=True, text=True, env=os.environ | variables
    )
    if done.returncode != 0:
        raise environment.SetupError(f"the launcher did not compile:\n{done.stderr}")
