"""A system with hardly anything, in which the tests start the binary: Debian 11, stripped.

<cache>/localrun/bare-root/    minbase: a C library, bash, coreutils; no Python, Perl, C++, zlib
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import environment

from packing import interpreter

if TYPE_CHECKING:
    from pathlib import Path

REMOVED = (
    "usr/bin/perl*", "usr/lib/*/perl-base", "usr/share/perl*", "usr/lib/*/libstdc++.so*",
    "lib/*/libgcc_s.so*", "usr/lib/*/libgcc_s.so*", "lib/*/libz.so*", "usr/lib/*/libz.so*",
)  # fmt: skip


def ensure() -> Path:
    """Return the root's folder; the first call makes it (a minute).

    Raises:
        SetupError: this machine cannot make one.
    """
    root = environment.cache_folder() / "bare-root"
    if not root.is_dir():
        _make(root)
    _strip(root)  # also one that was made when less was removed
    return root


def _make(root: Path) -> None:
    reason = interpreter.why_no_root()
    if reason is not None:
        raise environment.SetupError(reason)
    environment.say("making a bare root of Debian 11, once ...")
    partial = root.with_name("bare-root.partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", interpreter.SUITE, partial, interpreter.MIRROR]
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
