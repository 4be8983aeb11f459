"""The way to a server: its Unix socket if that is surely its own, else its address."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.client import connecting
from localrun.client.connecting import connect, connect_local
from localrun.settings import Settings
from localrun.sockets import HTTP, socket_folder, socket_path
from tests.waiting import HANG_S

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a private folder for sockets."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    folder = Path(socket_folder())
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Return settings of an address where a program listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Settings(port=listener.getsockname()[1], log_dir=Path("unused"))


@contextlib.contextmanager
def unix_server(settings: Settings) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(socket_path(settings.address, HTTP) or "")
        listener.listen()
        yield


def family(settings: Settings) -> int:
    with connect(settings, HANG_S) as connection:
        return connection.family


@pytest.mark.usefixtures("folder")
def test_the_unix_socket_of_an_address_is_taken_first(settings: Settings) -> None:
    with unix_server(settings):
        with_socket = family(settings)

    assert with_socket == socket.AF_UNIX
    assert family(settings) == socket.AF_INET  # the file is there, and nobody listens


def test_a_socket_that_others_could_have_made_is_passed_by(
    settings: Settings, folder: Path
) -> None:
    with unix_server(settings):
        folder.chmod(0o770)

        assert family(settings) == socket.AF_INET


@pytest.mark.usefixtures("folder")
def test_a_socket_of_another_user_is_passed_by(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unix_server(settings):
        monkeypatch.setattr(connecting, "peer_of", lambda _: (os.getpid(), os.geteuid() + 1))

        assert family(settings) == socket.AF_INET


@pytest.mark.usefixtures("folder")
def test_a_socket_of_a_container_is_passed_by(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseen = 0  # the process id of a listener that this container cannot see
    with unix_server(settings):
        monkeypatch.setattr(connecting, "peer_of", lambda _: (unseen, os.geteuid()))

        assert family(settings) == socket.AF_INET


@pytest.mark.parametrize("changed", [{"host": "192.0.2.1"}, {"is_tls": True}])
@pytest.mark.usefixtures("folder")
def test_servers_of_other_machines_or_with_tls_have_no_socket(changed: dict[str, str]) -> None:
    settings = Settings(port=1, log_dir=Path("unused"), **changed)  # type: ignore[arg-type] # of two types
    with unix_server(settings):
        assert connect_local(settings, HANG_S) is None
