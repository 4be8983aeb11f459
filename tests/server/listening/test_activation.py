"""Sockets that a service manager passes. This test is the manager: it listens for the server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.server.listening.activation import Activation, take_activation
from localrun.settings import load_settings
from tests.waiting import HANG_S, wait_until

assert sys.platform != "win32"

if TYPE_CHECKING:
    from pathlib import Path

# becomes the server as systemd starts it: the files from 3 on, the variables for this process
START = """
import os, sys
for target, fd in enumerate(map(int, sys.argv[1].split(",")), 3):
    os.dup2(fd, target)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(target - 2)}
os.execv(sys.executable, [sys.executable, "-m", "localrun", *sys.argv[2:]])
"""
BACKGROUND = ("serve", "--background")


def started(files: list[socket.socket], folder: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START, ",".join(str(each.fileno()) for each in files), *BACKGROUND],
        env=os.environ | {"LOCALRUN_LOG_DIR": str(folder), "LOCALRUN_WARM": "0"} | variables,
        pass_fds=[each.fileno() for each in files],
        stderr=subprocess.PIPE,
        text=True,
    )


def high_listener() -> socket.socket:
    """Return a listening socket with a number that the files from 3 on do not reach."""
    import fcntl

    with socket.create_server(("127.0.0.1", 0)) as low:
        return socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD_CLOEXEC, 50))


def test_requests_start_servers_one_after_another(tmp_path: Path) -> None:
    with high_listener() as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        pids = []
        for _ in range(2):
            with httpx.Client(base_url=f"http://{address}", timeout=HANG_S) as client:
                # the setting names another address: the socket is the truth
                server = started(
                    [listener], tmp_path, LOCALRUN_IDLE_EXIT="0", LOCALRUN_HOST="127.0.0.1:1"
                )
                pids.append(client.get("/api/version").json()["pid"])
            assert server.communicate(timeout=HANG_S)[1] == ""
            assert server.returncode == 0

    assert len(set(pids)) == 2
    assert f"listening on http://{address}" in (tmp_path / "server.log").read_text()


def test_the_server_notifies_that_it_is_ready_and_that_it_stops(tmp_path: Path) -> None:
    path = os.path.join(os.environ["XDG_RUNTIME_DIR"], "notify")  # noqa: PTH118 - a short path
    with high_listener() as listener, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(HANG_S)
        server = started([listener], tmp_path, LOCALRUN_IDLE_EXIT="0", NOTIFY_SOCKET=path)

        assert [notify.recv(64), notify.recv(64)] == [b"READY=1", b"STOPPING=1"]
        server.communicate(timeout=HANG_S)


@pytest.mark.parametrize("kind", ["two", "unix", "not listening", "a file"])
def test_anything_else_than_one_listening_tcp_socket_is_refused(kind: str, tmp_path: Path) -> None:
    with high_listener() as listener, socket.socket(socket.AF_UNIX) as unix, socket.socket() as tcp:
        with (tmp_path / "file").open("wb") as file:
            files = {
                "two": [listener, unix],
                "unix": [unix],
                "not listening": [tcp],
                "a file": [file],
            }[kind]
            server = started(files, tmp_path)  # type: ignore[arg-type] # one is a file
            _, stderr = server.communicate(timeout=HANG_S)

    assert server.returncode == 2
    assert stderr.startswith("error: the service passes ")
    assert "hint: localrun service install" in stderr


def test_sockets_of_a_parent_are_left_alone_and_its_variables_removed() -> None:
    environ = {"LISTEN_PID": str(os.getppid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "A": "b"}

    assert take_activation(environ) == Activation()
    assert environ == {"A": "b"}


def test_a_manager_that_does_not_listen_any_more_is_no_problem(tmp_path: Path) -> None:
    Activation(notify_path=str(tmp_path / "gone")).notify("READY=1")
    Activation(notify_path="@gone").notify("READY=1")


def test_commands_that_ask_a_running_server_start_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from localrun.client.launch import ensure_server, find_server, stop_server

    units = tmp_path / "systemd" / "user"
    units.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with high_listener() as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        (units / "localrun.socket").write_text(f"[Socket]\nListenStream={address}\n")
        settings = load_settings({"LOCALRUN_HOST": address, "LOCALRUN_LOG_DIR": str(tmp_path)})
        assert find_server(settings) is None  # and has not waited for a server that does not come

        server = started([listener], tmp_path, LOCALRUN_WARM="1")
        client = ensure_server(settings)  # the service's, and none of its own
        wait_until(client.is_local)
        assert (client.version() or {})["pid"] == server.pid
        assert find_server(settings) is not None
        stop_server(client)

        assert server.communicate(timeout=HANG_S)[1] == ""
        assert find_server(settings) is None
