"""Projectors whose encode ended a runner, by their paths, in a file of the state folder.

libmtmd aborts the process if a projector's tensors do not fit its type, at the first image. Such a
projector is not loaded again as long as its file and the version of localrun are those that failed.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun import __version__
from localrun.failure_file import FailureFile
from localrun.folders import state_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE = "projector-failures.json"
ENGINE = "llama-cpp-python"
MAX_REASON = 300  # characters
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectorFailure:
    """How a projector ended a runner; ``file`` changes with the file's content."""

    file: str
    version: str
    reason: str


class ProjectorFailures:
    """The failures of this user; any thread may call."""

    def __init__(self, file: Path | None = None) -> None:
        """``file`` None: that of the state folder, which is looked up when it is needed."""
        self._given_file = file

    def reason(self, projector: Path) -> str | None:
        """Return how this file ended a runner of this version, or None."""
        failure = self._file.read().get(str(projector))
        if failure is None or failure.version != _version() or failure.file != _state_of(projector):
            return None
        return failure.reason

    def add(self, projector: Path, reason: str) -> None:
        """Remember a failure; on a disk that cannot be written it is forgotten."""
        _log.warning("the projector %s ended its runner: %s", projector, reason)
        failure = ProjectorFailure(
            file=_state_of(projector), version=_version(), reason=reason[:MAX_REASON]
        )
        self._file.write({**self._file.read(), str(projector): failure})

    def forget(self, projectors: Iterable[Path] | None = None) -> None:
        """Let projectors be tried again; None: all."""
        failures = self._file.read()
        forgotten = failures.keys() if projectors is None else set(map(str, projectors))
        kept = {path: failures[path] for path in failures.keys() - forgotten}
        if len(kept) < len(failures):
            self._file.write(kept)

    @property
    def _file(self) -> FailureFile[ProjectorFailure]:
        return FailureFile(self._given_file or state_folder() / FILE, ProjectorFailure)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # after a failure only

    with contextlib.suppress(PackageNotFoundError):  # a build without metadata
        return f"{__version__} {version(ENGINE)}"
    return __version__


def _state_of(projector: Path) -> str:
    try:
        status = projector.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"
