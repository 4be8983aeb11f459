"""Code on disk of the modules in memory: a process with old code must serve no new client."""

from __future__ import annotations

import os
import sys


class CodeOnDisk:
    """The files of the modules in memory, as they were when they had been imported."""

    def __init__(self) -> None:
        self._identities: dict[str, tuple[int, int, int] | None] = {}
        self.add_imported()

    def add_imported(self) -> None:
        """Add the modules that have been imported since."""
        modules = [module for name, module in sys.modules.items() if name.startswith("localrun.")]
        paths = {module.__file__ for module in modules if module.__file__}
        for path in paths - self._identities.keys():
            self._identities[path] = file_identity(path)

    def has_changed(self) -> bool:
        """Return whether one of the files has been replaced or written."""
        return any(file_identity(path) != known for path, known in self._identities.items())


def file_identity(path: str) -> tuple[int, int, int] | None:
    """Return what is another if a file is replaced or written, None if there is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - speed
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
