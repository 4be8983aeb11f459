"""Projectors whose encode ended a runner, in a file of the state folder.

    {"format_version": 1, "failures": {
        "/models/mmproj.gguf": {"file": "199860736 1764028800", "version": "...", "reason": "..."}}}

libmtmd aborts the process if a projector's tensors do not fit its type, at the first image. Such a
projector is not loaded again as long as its file and the version of localrun are those that failed.
Losing the file costs one more crash, so it is written without a lock, and an unreadable one counts
as empty.
"""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from localrun import __version__
from localrun.disk import remove_abandoned, temporary_beside
from localrun.folders import state_folder
from localrun.private import make_private_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FORMAT_VERSION = 1
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
        failure = self._read().get(str(projector))
        if failure is None or failure.version != _version() or failure.file != _state_of(projector):
            return None
        return failure.reason

    def add(self, projector: Path, reason: str) -> None:
        """Remember a failure; on a disk that cannot be written it is forgotten."""
        _log.warning("the projector %s ended its runner: %s", projector, reason)
        failure = ProjectorFailure(
            file=_state_of(projector), version=_version(), reason=reason[:MAX_REASON]
        )
        self._write({**self._read(), str(projector): failure})

    def forget(self, projectors: Iterable[Path] | None = None) -> None:
        """Let projectors be tried again; None: all."""
        failures = self._read()
        forgotten = failures.keys() if projectors is None else set(map(str, projectors))
        kept = {path: failures[path] for path in failures.keys() - forgotten}
        if len(kept) < len(failures):
            self._write(kept)

    @property
    def _file(self) -> Path:
        return self._given_file or state_folder() / FILE

    def _read(self) -> dict[str, ProjectorFailure]:
        try:
            content = json.loads(self._file.read_bytes())
            if content["format_version"] != FORMAT_VERSION:
                return {}
            return {
                str(path): ProjectorFailure(**failure)
                for path, failure in content["failures"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _write(self, failures: dict[str, ProjectorFailure]) -> None:
        content = {
            "format_version": FORMAT_VERSION,
            "failures": {path: asdict(failure) for path, failure in failures.items()},
        }
        with contextlib.suppress(OSError):
            make_private_folder(self._file.parent)
            remove_abandoned(self._file)
            temporary = temporary_beside(self._file)
            temporary.write_text(json.dumps(content, indent=2, sort_keys=True))
            temporary.replace(self._file)


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
