"""The server as a service of this user: what is installed, and what a service manager must do.

The manager listens on the address and starts the server with the first request; the server leaves
when it is idle, as every background server does. Each manager owns the format of its files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from localrun.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

WITHOUT_SERVICE = "localrun serve --background   starts a server without it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service to install."""

    program: tuple[str, ...]  # the command that starts this program
    host: str  # numeric
    port: int
    address: str  # as in a URL
    variables: Mapping[str, str] = field(repr=False)  # may hold API keys
    log_dir: Path
    stop_timeout_s: float | None  # None: as long as answers take
    is_sandboxed: bool = False

    @property
    def command(self) -> tuple[str, ...]:
        """Return the command of the server."""
        return (*self.program, "serve", "--background")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFile:
    """A file of a service; with mode 0600 if it may hold API keys."""

    path: Path
    content: bytes
    is_private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerState:
    """What the service manager reports."""

    is_listening: bool
    is_running: bool
    process: int | None = None
    problem: str | None = None  # why it does not run


class ServiceManager(Protocol):
    """Program of the system that runs services."""

    name: str

    def check(self) -> None:
        """Raise a BackendError unless the manager answers for this user."""

    def paths(self) -> Sequence[Path]:
        """Return the paths of all files that an installed service may have."""

    def files(self, service: Service) -> Sequence[ServiceFile]:
        """Return the files of a service."""

    def start(self, *, has_changed: bool) -> None:
        """Listen from now on, and after each login; anew if the files have changed."""

    def stop(self) -> None:
        """Stop the server, and listen no more."""

    def forget(self) -> None:
        """Take note that the files are gone."""

    def state(self) -> ManagerState:
        """Return the state of the installed service."""

    def messages(self, num_lines: int) -> str:
        """Return what the manager and the server wrote before the server's log was open."""

    def notes(self) -> Sequence[str]:
        """Return what the user should know after installing."""


def no_manager(reason: str) -> BackendError:
    """Return the error for a machine whose service manager does not answer."""
    return BackendError(reason, hint=WITHOUT_SERVICE)
