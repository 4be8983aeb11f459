"""What commands say when there is something else than a localrun server at the address."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from localrun.client import api, launch
from localrun.names.parse import parse_name
from localrun.services.naming import copy_model
from localrun.services.workspace import open_workspace
from tests.cli.fake_server import unused_address
from tests.cli.inside import run_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Talk = Callable[[socket.socket], None]

ASKING = (["ps"], ["ps", "--json"], ["stop", "guide"], ["stop", "--all"], ["stop", "--server"],
          ["why", "guide"], ["load", "guide"], ["run", "guide", "hi"])  # fmt: skip


def silent(client: socket.socket) -> None:
    client.settimeout(None)
    while client.recv(1000):  # until it closes the connection
        pass


def hangs_up(_client: socket.socket) -> None:
    """Say nothing."""


def speaks_otherwise(client: socket.socket) -> None:
    client.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


def page(client: socket.socket, status: str = "404 Not Found", body: bytes = b"<html>") -> None:
    client.recv(10_000)
    head = f"HTTP/1.1 {status}\r\nServer: nginx/1.24\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)


def ollama(client: socket.socket) -> None:
    page(client, "200 OK", b'{"version": "0.13.5"}')


def html(client: socket.socket) -> None:
    page(client, "200 OK")


PROGRAMS = [
    (silent, "a program listens on {} and does not answer"),
    (hangs_up, "another program than localrun listens on {}: it closes the connection"),
    (speaks_otherwise, "another program than localrun listens on {}: it does not speak HTTP"),
    (page, "another program than localrun listens on {}: it says HTTP 404 Not Found (nginx/1.24)"),
    (html, "another program than localrun listens on {}: it answers without JSON"),
    (ollama, "another program than localrun listens on {}: Ollama 0.13.5"),
]


@contextlib.contextmanager
def listening(talk: Talk) -> Iterator[str]:
    """Let a program listen that speaks to each client as ``talk`` does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client = listener.accept()[0]
                    with client, contextlib.suppress(OSError):
                        talk(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "CONNECT_TIMEOUT_S", 0.1)
    monkeypatch.setattr(api, "SHUTDOWN_S", 0.01)


@pytest.mark.parametrize(("talk", "told"), PROGRAMS, ids=[talk.__name__ for talk, _ in PROGRAMS])
def test_each_command_says_what_is_there(
    talk: Talk, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(talk) as address:
        monkeypatch.setenv("LOCALRUN_HOST", address)
        found = {" ".join(words): run_inside(*words) for words in ASKING}

    for command, done in found.items():
        assert (done.code, done.stdout) == (5, ""), (command, done)
        first, hint = done.stderr.splitlines()
        assert first == f"error: {told.format(address)}"
        assert hint.startswith("hint: LOCALRUN_HOST=")


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_a_host_that_cannot_be_found_is_named(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("LOCALRUN_HOST", "nosuch.example:11435")

    done = run_inside(*words)

    assert (done.code, done.stdout) == (5, "")
    assert "the host of LOCALRUN_HOST cannot be found: nosuch.example" in done.stderr


def test_a_host_that_is_no_name_at_all_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALRUN_HOST", f"{'a' * 70}.example")

    assert run_inside("ps").code == 5


def test_a_host_out_of_reach_is_told_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError(113, "No route to host")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    monkeypatch.setenv("LOCALRUN_HOST", "192.0.2.1:11435")

    done = run_inside("ps")

    assert done.code == 5
    assert "192.0.2.1:11435 cannot be reached: No route to host" in done.stderr


@pytest.mark.parametrize("command", ["rm", "mv"])
def test_what_needs_no_server_is_done_all_the_same(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(page) as address:
        monkeypatch.setenv("LOCALRUN_HOST", address)
        workspace = open_workspace(os.environ)
        copy_model(workspace, parse_name("guide"), parse_name("mine"))

        done = run_inside(command, "mine", *(["yours"] if command == "mv" else []))

    assert done.code == 5
    assert "another program than localrun" in done.stderr
    assert done.stdout.startswith("removed mine" if command == "rm" else "renamed mine to yours")
    assert workspace.store.find(parse_name("mine")) is None


def test_an_empty_table_says_that_no_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    address = unused_address()
    monkeypatch.setenv("LOCALRUN_HOST", address)

    table, as_json, stopped = (
        run_inside("ps"),
        run_inside("ps", "--json"),
        run_inside("stop", "--all"),
    )

    assert (table.code, table.stderr) == (0, f"no server is running at {address}\n")
    assert (as_json.stdout, as_json.stderr) == ("[]\n", "")
    assert stopped.stderr == f"no server is running at {address}: nothing is loaded\n"


def test_a_server_that_answers_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may have started it just now."""
    num_asked = 0

    def talk(client: socket.socket) -> None:
        nonlocal num_asked
        num_asked += 1
        if num_asked == 1:
            silent(client)
        page(client, "200 OK", b'{"version": "0.13.5", "localrun": "1"}')

    with listening(talk) as address:
        monkeypatch.setenv("LOCALRUN_HOST", address)
        workspace = open_workspace({"LOCALRUN_HOST": address})

        assert launch.ensure_server(workspace.settings) is not None
