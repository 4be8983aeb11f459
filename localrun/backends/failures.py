"""Backends that crashed or hung in a probe, in a file of the state folder.

    {"format_version": 1, "failures": {
        "cuda": {"library": "3f2a...", "driver": "9b1c...", "reason": "was killed by SIGSEGV"}}}

A backend is skipped as long as its library and the drivers are those that failed. Losing the file
costs one more probe, so it is written without a lock, and an unreadable one counts as empty.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from localrun.backends.drivers import driver_state
from localrun.disk import remove_abandoned, temporary_beside
from localrun.folders import state_folder
from localrun.private import make_private_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT_VERSION = 1
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

    def reason(self, backend: str, library: Path) -> str | None:
        """Return how the backend failed with this library and these drivers, or None."""
        for line in self._environ.get(FAILED_LIBRARIES, "").splitlines():
            if line.startswith(f"{library}\t"):
                return line.partition("\t")[2]
        failure = self._read().get(backend)
        if failure is None or failure.driver != driver_state(backend, self._environ):
            return None
        return failure.reason if failure.library == _digest(library) else None

    def add(self, backend: str, library: Path, reason: str) -> None:
        """Remember a failure; on a disk that cannot be written it is forgotten."""
        failure = BackendFailure(
            library=_digest(library), driver=driver_state(backend, self._environ), reason=reason
        )
        self._write({**self._read(), backend: failure})

    def forget(self) -> None:
        """Let all backends be tried again."""
        with contextlib.suppress(OSError):
            self._file.unlink()

    def _read(self) -> dict[str, BackendFailure]:
        try:
            content = json.loads(self._file.read_bytes())
            if content["format_version"] != FORMAT_VERSION:
                return {}
            return {
                str(name): BackendFailure(**failure)
                for name, failure in content["failures"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _write(self, failures: Mapping[str, BackendFailure]) -> None:
        content = {
            "format_version": FORMAT_VERSION,
            "failures": {name: asdict(failure) for name, failure in failures.items()},
        }
        with contextlib.suppress(OSError):
            make_private_folder(self._file.parent)
            remove_abandoned(self._file)
            temporary = temporary_beside(self._file)
            temporary.write_text(json.dumps(content, indent=2, sort_keys=True))
            temporary.replace(self._file)


def _digest(library: Path) -> str:
    try:
        with library.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
