"""Sandbox of commands: bubblewrap, where the system has it and it works.

In the sandbox a command sees the whole system read-only, can write only below the folder and to an
empty /tmp, and has no network, no other processes, no sockets of the user's session and none of the
usual folders of keys. Invariant: `find_sandbox` has run a command in the sandbox that it returns.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "bwrap"
PROBE_TIMEOUT_S = 10.0
KEY_FOLDERS = (".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config/gcloud", ".netrc")
ISOLATION = (
    "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
    "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",  # noqa: S108 - an empty one
    "--tmpfs", "/run",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Way of starting commands: ``prefix`` stands before the command; () is no sandbox."""

    prefix: tuple[str, ...] = ()
    about: str

    @property
    def is_isolated(self) -> bool:
        """Return whether commands are isolated."""
        return bool(self.prefix)


def find_sandbox(folder: Path, environ: Mapping[str, str]) -> Sandbox:
    """Return the sandbox of this system; runs one short command to see that it works."""
    program = shutil.which(PROGRAM, path=environ.get("PATH"))
    if program is None:
        return _none("bubblewrap is not installed")
    prefix = (program, *ISOLATION, *_hidden_keys(environ), "--bind", str(folder), str(folder))
    if not _works(prefix, folder):
        return _none("bubblewrap does not work here")
    return Sandbox(prefix=prefix, about=f"sandbox: no network, writes only below {folder}")


def _none(reason: str) -> Sandbox:
    return Sandbox(about=f"no sandbox ({reason}): commands have your rights and the network")


def _hidden_keys(environ: Mapping[str, str]) -> list[str]:
    """Return the arguments that put empty folders over the folders of keys."""
    home = Path(environ.get("HOME") or os.devnull)
    folders = [home / name for name in KEY_FOLDERS]
    hidden = [argument for folder in folders if folder.is_dir() for argument in ("--tmpfs", folder)]
    files = [file for file in folders if file.is_file()]
    masked = [argument for file in files for argument in ("--ro-bind", os.devnull, file)]
    return [str(argument) for argument in (*hidden, *masked)]


def _works(prefix: tuple[str, ...], folder: Path) -> bool:
    command = (*prefix, "--chdir", str(folder), "--", "/bin/sh", "-c", "true")
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command, check=False, capture_output=True, timeout=PROBE_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
