"""The port of a runner: who is let in, and how long it waits."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.errors import BackendError, LoadError
from localrun.supervisor.runner import Runner
from localrun.supervisor.runner_port import MAX_STRANGERS, RunnerPort
from localrun.supervisor.runner_process import start_runner
from localrun.warm.transport import LOOPBACK, SECRET_BYTES, Invitation, connect, open_connection
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def port() -> Iterator[RunnerPort]:
    with contextlib.closing(RunnerPort()) as opened:
        yield opened


@contextlib.contextmanager
def accepting(port: RunnerPort) -> Iterator[list[socket.socket]]:
    """Accept in a thread; the list has the connection after the block."""
    accepted: list[socket.socket] = []
    thread = threading.Thread(target=lambda: accepted.append(port.accept(lambda: False, HANG_S)))
    thread.start()
    yield accepted
    thread.join(HANG_S)


def stranger(port: RunnerPort, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection((LOOPBACK, port.invitation.port), HANG_S)
    connection.sendall(sent)
    return connection


def test_a_runner_that_was_invited_is_connected(port: RunnerPort) -> None:
    with accepting(port) as accepted:
        theirs = connect(Invitation.parse(port.invitation.line()))

    with theirs, accepted[0] as ours:
        theirs.sendall(b"from the runner")
        ours.sendall(b"from the server")
        assert ours.recv(100) == b"from the runner"
        assert theirs.recv(100) == b"from the server"
        assert [each.gettimeout() for each in (ours, theirs)] == [None, None]
        assert [each.getsockname()[0] for each in (ours, theirs)] == [LOOPBACK, LOOPBACK]


def test_each_runner_gets_secrets_of_its_own() -> None:
    with contextlib.closing(RunnerPort()) as one, contextlib.closing(RunnerPort()) as other:
        secrets = {
            secret
            for each in (one.invitation, other.invitation)
            for secret in (each.secret, each.answer)
        }

    assert len(secrets) == 4


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n" * 2, b"x" * SECRET_BYTES])
def test_a_connection_without_the_secret_is_closed_and_learns_nothing(
    port: RunnerPort, sent: bytes
) -> None:
    with accepting(port) as accepted:
        with stranger(port, sent) as other:
            with contextlib.suppress(ConnectionResetError):
                assert other.recv(100) == b""
        theirs = connect(port.invitation)

    with theirs, accepted[0]:
        pass


def test_connections_that_say_nothing_hold_up_nobody(port: RunnerPort) -> None:
    with accepting(port) as accepted, contextlib.ExitStack() as silent:
        for _ in range(MAX_STRANGERS + 3):
            silent.enter_context(stranger(port, port.invitation.secret[:5]))
        theirs = connect(port.invitation)

    with theirs, accepted[0]:
        pass


def test_the_first_connection_with_the_secret_wins_and_the_port_is_closed(
    port: RunnerPort,
) -> None:
    with accepting(port) as accepted:
        theirs = connect(port.invitation)

    with theirs, accepted[0], pytest.raises(BackendError):
        connect(port.invitation)


def test_a_runner_does_not_talk_to_another_program(port: RunnerPort) -> None:
    with accepting(port) as accepted:
        with pytest.raises(BackendError, match="another program"):
            connect(replace(port.invitation, answer=bytes(SECRET_BYTES)))

    accepted[0].close()


def test_a_server_that_is_gone_is_an_error(port: RunnerPort) -> None:
    port.close()

    with pytest.raises(BackendError, match="cannot be reached"):
        connect(port.invitation)


def test_a_runner_that_ends_or_never_connects_is_not_waited_for() -> None:
    with pytest.raises(ConnectionError, match="ended before"):
        RunnerPort().accept(lambda: True)
    with pytest.raises(ConnectionError, match="within 0 s"):
        RunnerPort().accept(lambda: False, timeout_s=0)


@pytest.mark.parametrize("line", [b"", b"\n", b"12 ab\n", b"x ab cd\n", b"12 xy cd\n", b"\xff 1 2"])
def test_a_line_that_is_no_invitation_is_refused(line: bytes) -> None:
    with pytest.raises(BackendError) as caught:
        Invitation.parse(line)

    assert caught.value.hint is not None


def test_an_inherited_socket_needs_no_invitation() -> None:
    ours, theirs = socket.socketpair()

    with ours, open_connection(theirs.detach()) as inherited:
        inherited.sendall(b"x")
        assert ours.recv(1) == b"x"


class TestRunner:
    """A process of this program, over TCP."""

    @pytest.fixture(autouse=True)
    def _tcp(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOCALRUN_TRANSPORT", "tcp")

    def test_its_secrets_are_in_no_command_line_and_no_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[str] = []

        def spawn(command: list[str], **options: object) -> None:
            seen.append(f"{command} {options['environ']}")
            raise OSError(11, "no process")

        line = port_line(monkeypatch)
        monkeypatch.setattr("localrun.warm.child.spawn", spawn)
        with pytest.raises(LoadError, match="no process"):
            start_runner()

        assert len(line) == 1
        assert "runner" in seen[0]
        assert not any(word in seen[0] for word in line[0].split()[1:])

    def test_one_that_dies_before_it_connects_is_reported_with_its_log(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "localrun.warm.child.program_command",
            lambda: [sys.executable, "-c", "import sys; sys.exit('no memory at all')"],
        )

        with pytest.raises(LoadError, match="no memory at all"):
            Runner(start_runner)

    def test_it_ends_when_its_stdin_does(self) -> None:
        started = start_runner()
        assert started.process.stderr is not None
        with started.process.stderr, started.connect(lambda: started.process.poll() is not None):
            assert started.process.stdin is not None
            started.process.stdin.close()
            assert started.process.wait(HANG_S) == BackendError.exit_code


def port_line(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list to which each invitation adds its line."""
    lines: list[str] = []
    make = Invitation.line

    def noted(self: Invitation) -> bytes:
        lines.append(make(self).decode())
        return make(self)

    monkeypatch.setattr(Invitation, "line", noted)
    return lines
