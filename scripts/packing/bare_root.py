"""A system with hardly anything, in which the tests start the binary: Debian 11, stripped.

<cache>/localrun/bare-root/    minbase: a C library, bash, coreutils; no Python, Perl, C++
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
    "lib/*/libgcc_s.so*", "usr/lib/*/libgcc_s.so*",
)  # fmt: skip


def ensure() -> Path:
    """Return the root's folder; the first call makes it (a minute).

    Raises:
        SetupError: this machine cannot make one.
    """
    root = environment.cache_folder() / "bare-root"
    if root.is_dir():
        return root
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
    for path in (path for pattern in REMOVED for path in partial.glob(pattern)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return partial.rename(root)
