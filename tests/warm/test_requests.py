"""Damaged requests, other users, and what a warm process does when its surroundings fail."""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.sockets import MAX_PATH
from localrun.warm.code import CodeOnDisk
from localrun.warm.protocol import (
    ACCEPTED,
    COMMAND,
    EXITED,
    GO,
    HEAD_BYTES,
    HELLO,
    MAGIC,
    REFUSED,
    REPLY_BYTES,
    Request,
    decode,
    locale_of_python,
    parse_reply,
)
from tests.waiting import HANG_S, wait_until
from tests.warm import probe
from tests.warm.test_signals import children, has_ended, readline
from tests.warm_process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.warm.conftest import Probe

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks so")
IS_ROOT = sys.platform == "linux" and os.getuid() == 0
NOBODY = 65534
MANY = 100
COMMANDS_OF_THE_LEAK_TEST = 200


def request_of(*words: str, kind: str = COMMAND, streams: int = 3) -> bytes:
    environ = {
        name: value for name, value in os.environb.items() if not name.startswith(b"PYTHONPATH")
    }
    return Request(
        kind=kind,
        arguments=[b"probe", *map(os.fsencode, words)],
        environ=environ,
        umask=0o22,
        streams=[locale_of_python(), *["utf-8:strict:0"] * streams],
        ignored=[],
    ).encode()


@contextlib.contextmanager
def connected(probed: Probe) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(HANG_S)
        connection.connect(str(probed.folder / "localrun" / "probe.warm"))
        yield connection


def send(connection: socket.socket, data: bytes, num_files: int = 4) -> None:
    with open(os.devnull, "r+b", buffering=0) as null, contextlib.ExitStack() as opened:  # noqa: PTH123
        folder = os.open("/", os.O_PATH)
        opened.callback(os.close, folder)
        files = [folder, *[null.fileno()] * (num_files - 1)][:num_files]
        if files:
            socket.send_fds(connection, [data[:HEAD_BYTES]], files)
        else:
            connection.sendall(data[:HEAD_BYTES])
        with contextlib.suppress(BrokenPipeError):  # refused by its head
            connection.sendall(data[HEAD_BYTES:])


def answer(connection: socket.socket) -> bytes:
    try:
        assert connection.recv(len(HELLO)) == HELLO
        return parse_reply(connection.recv(REPLY_BYTES))[0]
    except ConnectionResetError:  # it has read less than was sent
        return b""


WHOLE = request_of("end", "3")
BODY = WHOLE[HEAD_BYTES:]


def framed(body: bytes) -> bytes:
    return MAGIC + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0" * 64,
        b"x",
        MAGIC + b"\xff" * 4 + b"much",
        MAGIC + b"\0" * 4,
        framed(b"another build\0" + BODY.partition(b"\0")[2]),
        framed(BODY.replace(b"\x003\x00", b"\0x\0", 1)),
        framed(BODY.partition(b"\0")[0]),
        framed(BODY.partition(b"\0")[0] + b"\0command\0x\0\0\0x"),
        framed(BODY + b"\0no variable"),
        request_of("end", kind="nosuch"),
        request_of("end", streams=2),
        request_of("end", streams=9),
    ],
)
def test_damaged_requests_are_refused(probed: Probe, data: bytes) -> None:
    with connected(probed) as connection:
        send(connection, data)

        assert answer(connection) in {REFUSED, b""}

    wait_until(lambda: not children(probed.pid))
    assert probed.both("end", "3").returncode == 3


@pytest.mark.parametrize("num_files", [0, 1, 3, 5, 200])
def test_other_numbers_of_files_are_refused(probed: Probe, num_files: int) -> None:
    with connected(probed) as connection:
        send(connection, WHOLE, num_files)

        assert answer(connection) == REFUSED


@pytest.mark.parametrize("length", [0, 1, 8, 9, 100, len(WHOLE)])
def test_a_client_that_hangs_up_runs_nothing(probed: Probe, length: int) -> None:
    with connected(probed) as connection:
        if length:
            send(connection, WHOLE[:length])
        if length == len(WHOLE):
            assert answer(connection) == ACCEPTED

    wait_until(lambda: not children(probed.pid))
    assert probed.ways() == []


def test_clients_that_say_nothing_hold_up_nobody(probed: Probe) -> None:
    with connected(probed), connected(probed) as second, connected(probed) as third:
        send(second, WHOLE[:4])
        send(third, WHOLE[:100])

        probed.both("end", "3")


def test_a_request_without_damage_is_read(probed: Probe) -> None:
    read = decode(BODY)
    assert read is not None
    assert read.arguments == [b"probe", b"end", b"3"]
    with connected(probed) as connection:
        send(connection, request_of("end", "3"))
        kind = answer(connection)
        assert kind == ACCEPTED
        connection.sendall(GO)

        assert parse_reply(connection.recv(REPLY_BYTES)) == (EXITED, 1)  # it has no PROBE_WAYS


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_can_open_is_passed_by(own_probe: Probe, mode: int) -> None:
    (own_probe.folder / "localrun").chmod(mode)

    own_probe.both("end", "3", way=probe.ORDINARY)


def test_folder_and_socket_are_private(probed: Probe) -> None:
    folder = probed.folder / "localrun"

    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "probe.warm").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
def test_a_folder_of_another_user_is_passed_by(own_probe: Probe) -> None:
    os.chown(own_probe.folder / "localrun", NOBODY, NOBODY)

    own_probe.both("end", "3", way=probe.ORDINARY)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_another_users_process_at_the_socket_gets_nothing(probed: Probe, tmp_path: Path) -> None:
    path = tmp_path / "s"
    script = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]);"
        f"os.setuid({NOBODY}); s.listen(); s.settimeout({HANG_S}); print('up', flush=True);"
        "c, _ = s.accept(); d = c.recv(100); print(len(d), flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as listener:
        readline(listener)
        folder = tmp_path / "run" / "localrun"
        folder.mkdir(mode=0o700, parents=True)
        (folder / "probe.warm").symlink_to(path)

        done = probed.run(
            "end", "3", is_warm=True, variables={"XDG_RUNTIME_DIR": str(tmp_path / "run")}
        )

        assert (done.returncode, probed.ways()) == (3, [probe.ORDINARY])
        assert readline(listener) == b"0\n"


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_another_users_client_is_turned_away(own_probe: Probe) -> None:
    path = own_probe.folder / "localrun" / "probe.warm"
    own_probe.folder.chmod(0o755)
    path.parent.chmod(0o755)
    path.chmod(0o777)
    script = (
        f"import os, socket, sys; os.setuid({NOBODY}); s = socket.socket(socket.AF_UNIX);"
        "s.connect(sys.argv[1]); s.settimeout(60); print(len(s.recv(1)))"
    )

    done = subprocess.run([sys.executable, "-c", script, path], check=True, capture_output=True)

    assert done.stdout == b"0\n"


@pytest.mark.parametrize("kind", ["nothing", "file", "dead", "long", "slash"])
def test_no_warm_process_at_the_socket(probed: Probe, tmp_path: Path, kind: str) -> None:
    runtime = tmp_path / ("x" * MAX_PATH if kind == "long" else "run")
    folder = runtime / "localrun"
    folder.mkdir(mode=0o700, parents=True)
    if kind == "file":
        (folder / "probe.warm").touch()
    if kind == "dead":
        with socket.socket(socket.AF_UNIX) as listener:
            here = Path.cwd()
            os.chdir(folder)  # the whole path is too long for a socket
            listener.bind("probe.warm")
            os.chdir(here)
    address = "../probe" if kind == "slash" else "probe"

    variables = {"XDG_RUNTIME_DIR": str(runtime), "LOCALRUN_HOST": address}
    probed.both("end", "3", way=probe.ORDINARY, variables=variables)


def test_many_commands_at_once(probed: Probe) -> None:
    processes = [
        probed.start("end", str(number % 7), is_warm=True, stdin=subprocess.DEVNULL)
        for number in range(MANY)
    ]
    codes = []
    for process in processes:
        with process:
            codes.append(process.wait(HANG_S))

    assert codes == [number % 7 for number in range(MANY)]
    assert probed.ways().count(probe.WARM) == len(codes)


def test_more_connections_than_files_wait_for_their_turn(own_probe: Probe) -> None:
    import resource

    resource.prlimit(own_probe.pid, resource.RLIMIT_NOFILE, (24, 24))
    with contextlib.ExitStack() as opened:
        for _ in range(20):
            opened.enter_context(connected(own_probe))
        wait_until(lambda: len(children(own_probe.pid).split()) >= 4)
        before_s = processor_s(own_probe.pid)
        time_passes()
        assert processor_s(own_probe.pid) - before_s < 0.2  # it waits and does not spin
    wait_until(lambda: not children(own_probe.pid))

    with connected(own_probe) as connection:
        assert connection.recv(len(HELLO)) == HELLO


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def time_passes() -> None:
    subprocess.run(["sleep", "0.5"], check=True)


def test_commands_leave_no_file_memory_or_zombie(probed: Probe) -> None:
    def state() -> tuple[int, int, str]:
        maps = Path(f"/proc/{probed.pid}/maps").read_text().count("\n")
        return len(os.listdir(f"/proc/{probed.pid}/fd")), maps, children(probed.pid)  # noqa: PTH208

    for _ in range(10):
        _run_by_hand(probed)
    wait_until(lambda: not children(probed.pid))
    before = state()
    for _ in range(COMMANDS_OF_THE_LEAK_TEST):
        _run_by_hand(probed)
    wait_until(lambda: not children(probed.pid))

    after = state()
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] <= before[1] + 5  # Python's own heap may take another piece


def _run_by_hand(probed: Probe) -> None:
    with connected(probed) as connection:
        send(connection, WHOLE)
        if answer(connection) == ACCEPTED:
            connection.sendall(GO)
            connection.recv(REPLY_BYTES)


def test_a_killed_warm_process_lets_its_commands_go_on(own_probe: Probe) -> None:
    with own_probe.start("report_signals", is_warm=True) as process:
        readline(process)
        os.kill(own_probe.pid, signal.SIGKILL)
        process.send_signal(signal.SIGUSR1)
        assert readline(process) == b"SIGUSR1\n"
        process.terminate()
        assert readline(process) == b"SIGTERM\n"

        assert process.wait(HANG_S) == 3

    own_probe.both("end", "3", way=probe.ORDINARY)


def test_a_stopped_warm_process_does_not_hold_the_end_of_a_command(own_probe: Probe) -> None:
    with own_probe.start("report_signals", is_warm=True) as process:
        readline(process)
        os.kill(own_probe.pid, signal.SIGSTOP)
        process.terminate()

        assert process.wait(HANG_S) == 3

    os.kill(own_probe.pid, signal.SIGCONT)


def test_a_stopped_warm_process_is_passed_by(own_probe: Probe) -> None:
    os.kill(own_probe.pid, signal.SIGSTOP)

    done = own_probe.run("end", "3", is_warm=True)

    os.kill(own_probe.pid, signal.SIGCONT)
    assert (done.returncode, own_probe.ways()) == (3, [probe.ORDINARY])
    wait_until(lambda: not children(own_probe.pid))
    assert own_probe.ways() == [probe.ORDINARY]  # the worker that came later has not run


def test_the_end_of_the_server_lets_commands_go_on(own_probe: Probe) -> None:
    holder = int(Path(f"/proc/{own_probe.pid}/stat").read_text().rpartition(")")[2].split()[1])
    path = own_probe.folder / "localrun" / "probe.warm"
    with own_probe.start("report_signals", is_warm=True) as process:
        readline(process)
        os.kill(holder, signal.SIGKILL)
        wait_until(lambda: not path.exists())
        own_probe.forget()
        own_probe.both("end", "3", way=probe.ORDINARY)
        process.terminate()
        readline(process)

        assert process.wait(HANG_S) == 3

    wait_until(lambda: has_ended(own_probe.pid))


def test_changed_code_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "localrun_copy"
    package.mkdir()
    module = package / "some.py"
    module.write_text("VALUE = 1\n")
    loaded = type(sys)("localrun.some")
    loaded.__file__ = str(module)
    monkeypatch.setitem(sys.modules, "localrun.some", loaded)
    code = CodeOnDisk()

    assert not code.has_changed()

    module.write_text("VALUE = 22\n")
    assert code.has_changed()
    module.unlink()
    assert code.has_changed()


def test_a_warm_process_of_changed_code_retires(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "localrun", copy / "localrun", ignore=_not_modules)
    runtime = tmp_path / "r"
    (runtime / "localrun").mkdir(mode=0o700, parents=True)
    address = "a"
    path = runtime / "localrun" / f"{address}.warm"
    hold = (
        f"import os, sys; sys.path[0] = {str(copy)!r};"
        "from localrun.warm.process import start_warm;"
        "from localrun.cli.internal.warm import _run;"
        f"w = start_warm({str(path)!r}, _run, lambda: iter(()), {{}});"
        "os.write(1, b'up\\n'); os.read(0, 1)"
    )
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "LOCALRUN_HOST": address}
    command = [sys.executable, "-m", "localrun", "stop", "--nosuch"]
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", hold], stdin=pipe, stdout=pipe) as holder:
        readline(holder)
        for _ in range(2):
            done = subprocess.run(command, check=False, capture_output=True, env=environ, cwd=copy)
            assert (done.returncode, path.exists()) == (2, True)

        with (copy / "localrun" / "sockets.py").open("a") as module:
            module.write("# changed\n")
        done = subprocess.run(command, check=False, capture_output=True, env=environ, cwd=copy)

        assert done.returncode == 2
        wait_until(lambda: not path.exists())
        assert holder.stdin is not None
        holder.stdin.close()


def _not_modules(folder: str, names: list[str]) -> list[str]:
    """Return what a copy of the package does without."""
    is_kept = [name for name in names if name.endswith(".py") or Path(folder, name).is_dir()]
    return [name for name in names if name not in is_kept or name in {"docs", "__pycache__"}]
