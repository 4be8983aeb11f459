"""A system with hardly anything, in which the tests start the binary: Debian 11, stripped.

<cache>/localrun/bare-root/            minbase: a C library, bash, coreutils; no Python, Perl,
                                       C++, zlib
                 bare-root-aarch64/    the same of another processor, whose programs Linux gives
                                       to qemu (binfmt_misc)
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import elf
import environment

from packing import interpreter

if TYPE_CHECKING:
    from pathlib import Path

REMOVED = (
    "usr/bin/perl*", "usr/lib/*/perl-base", "usr/share/perl*", "usr/lib/*/libstdc++.so*",
    "lib/*/libgcc_s.so*", "usr/lib/*/libgcc_s.so*", "lib/*/libz.so*", "usr/lib/*/libz.so*",
)  # fmt: skip


def ensure(binary: Path) -> Path:
    """Return the folder of a root for a binary; the first call makes it (a minute).

    Raises:
        SetupError: this machine cannot make one, or cannot run the binary.
    """
    architecture = elf.read(binary).machine
    is_other = interpreter.is_other(architecture)
    name = f"bare-root-{architecture}" if is_other else "bare-root"
    root = environment.cache_folder() / name
    _check(binary, architecture)
    if not root.is_dir():
        _make(root, ["--arch", interpreter.OTHERS[architecture][0]] if is_other else [])
    _strip(root)  # also one that was made when less was removed
    return root


def _check(binary: Path, architecture: str) -> None:
    """Check that the launcher runs, which needs no library."""
    try:
        subprocess.run([binary, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise environment.SetupError(
            f"this machine does not run programs for {architecture}: {error}\n"
            "hint: sudo apt install qemu-user-static binfmt-support"
        ) from error


def _make(root: Path, options: list[str]) -> None:
    reason = interpreter.why_no_root()
    if reason is not None:
        raise environment.SetupError(reason)
    environment.say("making a bare root of Debian 11, once ...")
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", *options, interpreter.SUITE, partial]
    command += [interpreter.MIRROR]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise environment.SetupError(f"debootstrap failed: {done.stdout.splitlines()[-1:]}")
    partial.rename(root)


def _strip(root: Path) -> None:
    for path in [path for pattern in REMOVED for path in root.glob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
