"""Files and folders that only their owner can read, whatever the umask.

What a folder is made with is 0700, a file 0600. What is there already is tightened where it
is ours: the program's folders of the platform, and what a caller says. A folder that a user
has named, such as /tmp, keeps its rights.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
OTHERS = 0o077


def make_private_folder(folder: Path, *, own: Path | None = None) -> None:
    """Make a folder and its missing parents; from ``own`` down they are ours.

    Raises:
        OSError: one cannot be made, or one from ``own`` down is another user's.
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
    """Open a file, as the opener of ``open``; one that is there is tightened.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags, PRIVATE_FILE)
    with contextlib.suppress(OSError):  # another user's
        os.fchmod(descriptor, PRIVATE_FILE)
    return descriptor


def tighten(path: Path) -> None:
    """Take away the rights of others to a file or folder.

    Raises:
        OSError: it is another user's.
    """
    mode = path.stat().st_mode & 0o777
    if mode & OTHERS:
        path.chmod(mode & ~OTHERS)


def _own_folders() -> Iterator[Path]:
    """Yield the folders of the platform that hold nothing but what this program writes."""
    from platformdirs import user_cache_path, user_log_path, user_state_path

    yield from (user_cache_path("localrun"), user_log_path("localrun"), user_state_path("localrun"))
