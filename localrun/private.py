"""Private files and folders: only their owner can read them, whatever the umask.

New folders get mode 0700, new files 0600. Existing ones are tightened if they are ours: the
program's platform folders, and those that the caller names. A folder that a user chose, such as
/tmp, keeps its mode.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from localrun.folders import cache_folder, log_folder, state_folder
from localrun.system.files import set_mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
OTHERS = 0o077


def make_private_folder(folder: Path, *, own: Path | None = None) -> None:
    """Create a folder and its missing parents; those from ``own`` down are ours.

    Raises:
        OSError: a folder cannot be created, or one from ``own`` down is another user's.
    """
    for part in [*reversed(folder.parents), folder]:
        if not part.exists():
            part.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            part.chmod(PRIVATE_FOLDER)
    for part in (folder, *folder.parents):
        if own is not None and part.is_relative_to(own):
            tighten(part)
        elif any(part.is_relative_to(root) for root in _own_folders()):
            with contextlib.suppress(OSError):  # another user made it
                tighten(part)


def open_private(path: str, flags: int) -> int:
    """Open a file as the ``opener`` of ``open``; an existing file is tightened.

    Raises:
        OSError: the file cannot be opened.
    """
    descriptor = os.open(path, flags, PRIVATE_FILE)
    with contextlib.suppress(OSError):  # another user's
        set_mode(descriptor, PRIVATE_FILE)
    return descriptor


def tighten(path: Path) -> None:
    """Remove the permissions of other users from a file or folder.

    Raises:
        OSError: it belongs to another user.
    """
    mode = path.stat().st_mode & 0o777
    if mode & OTHERS:
        path.chmod(mode & ~OTHERS)


def _own_folders() -> Iterator[Path]:
    """Yield the platform folders that only this program writes."""
    yield from (cache_folder(), log_folder(), state_folder())
