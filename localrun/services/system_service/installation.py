"""Installing, examining and uninstalling the service of this user.

Installing twice changes nothing. Uninstalling removes the files that installing wrote, and no other
file: models, logs and caches stay.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.client.api import LocalrunClient
from localrun.client.launch import find_server
from localrun.client.service_address import has_service
from localrun.errors import AddressInUseError, LocalrunError, NotFoundError, StorageError
from localrun.private import make_private_folder, open_private
from localrun.services.system_service.service import ManagerState

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.system_service.service import Service, ServiceFile, ServiceManager
    from localrun.settings import Settings

PUBLIC_FILE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """What is installed, and what it does."""

    manager: str
    is_installed: bool
    files: tuple[Path, ...]
    state: ManagerState
    server_version: str | None = None


def service_manager() -> ServiceManager:
    """Return the service manager of this system."""
    system = str(sys.platform)  # mypy reads all branches
    if system == "darwin":
        from localrun.services.system_service.launchd import Launchd

        return Launchd()
    if system == "win32":
        from localrun.services.system_service.task import TaskScheduler

        return TaskScheduler()
    from localrun.services.system_service.systemd import Systemd

    return Systemd()


def install_service(manager: ServiceManager, service: Service, settings: Settings) -> bool:
    """Write the files of a service and start it; return whether a file has changed.

    Raises:
        AddressInUseError: another server or program listens on the address.
        BackendError: the manager does not answer, or refuses.
        StorageError: a file cannot be written.
    """
    manager.check()
    if not has_service(settings) and not is_installed(manager):
        _check_free(settings)
    files = manager.files(service)
    has_changed = any(_content(file.path) != file.content for file in files)
    try:
        make_private_folder(service.log_dir)
        for file in files:
            _write(file)
    except OSError as error:
        raise StorageError(f"cannot write the service: {error}") from error
    manager.start(has_changed=has_changed)
    return has_changed


def uninstall_service(manager: ServiceManager) -> list[Path]:
    """Stop the service, and return the files that were removed.

    Raises:
        NotFoundError: no service is installed.
        BackendError: the manager refuses.
        StorageError: a file cannot be removed.
    """
    paths = _existing(manager)
    if not paths:
        raise _not_installed()
    with contextlib.suppress(LocalrunError):  # without the manager, the files go nevertheless
        manager.stop()
    try:
        for path in paths:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot remove {error.filename}: {error.strerror}") from error
    with contextlib.suppress(LocalrunError):
        manager.forget()
    return paths


def examine_service(manager: ServiceManager, settings: Settings) -> ServiceStatus:
    """Return what is installed, whether it listens and runs, and the version of the server.

    Starts no server.
    """
    files = tuple(_existing(manager))
    status = ServiceStatus(
        manager=manager.name,
        is_installed=is_installed(manager),
        files=files,
        state=ManagerState(is_listening=False, is_running=False),
    )
    if not status.is_installed:
        return status
    manager.check()
    state = manager.state()
    version = _version(settings) if state.is_running else None
    return replace(status, state=state, server_version=version)


def is_installed(manager: ServiceManager) -> bool:
    """Return whether the file is there by which the manager knows the service."""
    return manager.paths()[0].is_file()


def check_installed(manager: ServiceManager) -> None:
    """Check that a service is installed.

    Raises:
        NotFoundError: none is installed.
    """
    if not is_installed(manager):
        raise _not_installed()


def _not_installed() -> NotFoundError:
    return NotFoundError("no service is installed", hint="localrun service install")


def _check_free(settings: Settings) -> None:
    """Check that nothing listens on the address."""
    if find_server(settings) is not None:
        raise AddressInUseError(
            f"a server that is no service listens on {settings.address}",
            hint="localrun stop --server   stops it",
        )


def _existing(manager: ServiceManager) -> list[Path]:
    return [path for path in manager.paths() if path.is_file()]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write(file: ServiceFile) -> None:
    """Write a file in one act: its reader sees the old or the new one."""
    file.path.parent.mkdir(parents=True, exist_ok=True)
    partial = file.path.with_name(f".{file.path.name}.{os.getpid()}")
    try:
        with open(partial, "wb", opener=open_private) as out:
            out.write(file.content)
        if not file.is_private:
            partial.chmod(PUBLIC_FILE)
        partial.replace(file.path)
    finally:
        partial.unlink(missing_ok=True)


def _version(settings: Settings) -> str | None:
    try:
        version = LocalrunClient(settings).version()
    except LocalrunError:  # it has another API key, or is about to leave
        return None
    return None if version is None else str(version.get("localrun"))
