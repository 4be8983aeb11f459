"""Backends that crashed or hung in a probe, in a file of the state folder.

A backend is skipped as long as its library and the drivers are those that failed.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.backends.drivers import driver_state
from localrun.failure_file import FailureFile
from localrun.folders import state_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "backend-failures.json"
# libraries that failed in the probe that runs: a line each, with the reason after a tab
FAILED_LIBRARIES = "LOCALRUN_FAILED_LIBRARIES"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendFailure:
    """One failed probe of a backend."""

    library: str  # digest
    driver: str
    reason: str


class RememberedFailures:
    """The failures of this user."""

    def __init__(self, environ: Mapping[str, str], file: Path | None = None) -> None:
        self._environ = environ
        self._file = file or state_folder() / FILE
        self._failures = FailureFile(self._file, BackendFailure)

    def reason(self, backend: str, library: Path) -> str | None:
        """Return how the backend failed with this library and these drivers, or None."""
        for line in self._environ.get(FAILED_LIBRARIES, "").splitlines():
            if line.startswith(f"{library}\t"):
                return line.partition("\t")[2]
        failure = self._failures.read().get(backend)
        if failure is None or failure.driver != driver_state(backend, self._environ):
            return None
        return failure.reason if failure.library == _digest(library) else None

    def add(self, backend: str, library: Path, reason: str) -> None:
        """Remember a failure; on a disk that cannot be written it is forgotten."""
        failure = BackendFailure(
            library=_digest(library), driver=driver_state(backend, self._environ), reason=reason
        )
        self._failures.write({**self._failures.read(), backend: failure})

    def forget(self) -> None:
        """Let all backends be tried again."""
        with contextlib.suppress(OSError):
            self._file.unlink()


def _digest(library: Path) -> str:
    try:
        with library.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
