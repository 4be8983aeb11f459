"""The Unix socket of a server: its file, and the checks of its requests."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun import __version__
from localrun.access import Access
from localrun.server.core import client as clients
from localrun.server.listening.unix_socket import bind_unix, unix_listener
from localrun.server.middleware.keys import Keys
from localrun.settings import Settings
from localrun.sockets import HTTP, socket_folder, socket_path
from tests.server.serving import serving

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Scope

    from tests.server.serving import Served

SETTINGS = Settings(port=1, log_dir=Path("/nowhere"))
OWN = {"X-Localrun": "1"}


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for sockets that does not exist yet."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    return Path(socket_folder())


@contextlib.contextmanager
def local_client(served: Served) -> Iterator[httpx.Client]:
    path = socket_path(served.url.removeprefix("http://"), HTTP)
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=path), base_url="http://localhost"
    ) as client:
        yield client


@pytest.mark.parametrize("umask", [0, 0o777])
def test_only_its_user_can_reach_the_socket(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        listener = bind_unix(SETTINGS)
    finally:
        os.umask(before)
    assert listener is not None
    file = folder / "127.0.0.1:1.http"

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)]
    listener.close()

    assert modes == [0o700, 0o600]
    assert not file.exists()


def test_a_folder_that_others_can_enter_is_not_used(folder: Path) -> None:
    folder.mkdir(mode=0o755)

    assert bind_unix(SETTINGS) is None
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_a_link_is_not_used(folder: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    folder.symlink_to(tmp_path)

    assert bind_unix(SETTINGS) is None
    assert list(tmp_path.iterdir()) == []


def test_the_socket_of_a_dead_server_is_replaced(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "127.0.0.1:1.http"))

    listener = bind_unix(SETTINGS)

    assert listener is not None
    listener.close()


def test_the_socket_of_a_live_server_is_left_alone(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(folder / "127.0.0.1:1.http"))
        live.listen()

        assert bind_unix(SETTINGS) is None
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / "127.0.0.1:1.http"))


def test_the_socket_of_the_next_server_survives_the_end_of_this_one(folder: Path) -> None:
    this = bind_unix(SETTINGS)
    assert this is not None
    this.remove()
    following = bind_unix(SETTINGS)
    assert following is not None

    this.close()

    assert (folder / "127.0.0.1:1.http").exists()
    following.close()


@pytest.mark.parametrize(
    "settings",
    [
        Settings(host="0.0.0.0", port=1, log_dir=Path("/nowhere")),  # noqa: S104 - bound by nobody
        Settings(port=1, log_dir=Path("/nowhere"), is_tls=True, access=Access()),
    ],
)
def test_servers_for_other_machines_or_with_tls_have_none(settings: Settings) -> None:
    assert bind_unix(settings) is None


def test_a_path_that_is_too_long_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder.parent / ("x" * 100)))

    assert bind_unix(SETTINGS) is None


def test_a_system_without_the_folder_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/dev/null")

    assert bind_unix(SETTINGS) is None


def test_a_free_port_is_named_by_its_number(folder: Path) -> None:
    settings = Settings(port=0, log_dir=Path("/nowhere"))
    with socket.create_server(("127.0.0.1", 0)) as address:
        with unix_listener(settings, address):
            files = [file.name for file in folder.iterdir()]

            assert files == [f"127.0.0.1:{address.getsockname()[1]}.http"]


def test_a_response_names_the_version_of_the_server(served: Served) -> None:
    with local_client(served) as client:
        local = client.get("/api/version")
    remote = httpx.get(f"{served.url}/api/version")

    assert local.json() == remote.json()
    assert local.headers["x-localrun-version"] == __version__
    assert "x-localrun-version" not in remote.headers


def test_an_answer_is_streamed(served: Served) -> None:
    with local_client(served) as client:
        answer = client.post("/api/generate", json={"model": "fake", "prompt": "say hi"})

    assert json.loads(answer.text.splitlines()[-1])["done"]


def test_keys_hold_on_the_socket_too() -> None:
    with serving(keys=Keys({"me": "s3cret"})) as served, local_client(served) as client:
        refused = client.get("/api/tags")
        accepted = client.get("/api/tags", headers={"Authorization": "Bearer s3cret"})

    assert (refused.status_code, accepted.status_code) == (401, 200)


def test_pages_and_other_hosts_are_refused_on_the_socket_too(served: Served) -> None:
    with local_client(served) as client:
        page = client.get("/api/tags", headers={"Origin": "https://evil.example"})
        rebound = client.get("/api/tags", headers={"Host": "evil.example"})

    assert (page.status_code, rebound.status_code) == (403, 403)


def test_the_server_can_be_shut_down_by_the_socket() -> None:
    with serving() as served, local_client(served) as client:
        from_a_page = client.post(
            "/api/localrun/shutdown", headers=OWN | {"Origin": "http://localhost"}
        )
        from_us = client.post("/api/localrun/shutdown", headers=OWN)

        assert (from_a_page.status_code, from_us.status_code) == (403, 200)
        assert served.shutdowns == [True]


def test_commands_share_their_turns_whichever_way_they_come(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def client_of(scope: Scope) -> str:
        seen.append(scope["client"][0])
        return ""

    monkeypatch.setattr(clients, "client_of", client_of)

    with local_client(served) as client:
        client.get("/healthz")
    httpx.get(f"{served.url}/healthz")

    assert seen == ["127.0.0.1", "127.0.0.1"]


def test_a_process_of_another_user_is_hung_up_on(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.geteuid()
    monkeypatch.setattr("localrun.server.listening.unix_socket.os.geteuid", lambda: own + 1)

    with local_client(served) as client, pytest.raises(httpx.TransportError):
        client.get("/healthz")
