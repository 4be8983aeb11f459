"""Signals, terminals and killed processes: the client and its worker live as one process."""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import contextlib
import importlib.util
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.warm import submission
from tests.waiting import HANG_S, wait_until
from tests.warm import probe
from tests.warm.shell import Shell

if TYPE_CHECKING:
    from tests.warm.conftest import Probe

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks so")
BOTH = pytest.mark.parametrize("is_warm", [True, False])


def has_ended(pid: int) -> bool:
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def is_stopped(pid: int) -> bool:
    return ") T" in Path(f"/proc/{pid}/stat").read_text()


def readline(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


@BOTH
def test_signals_reach_the_command_in_their_order(probed: Probe, *, is_warm: bool) -> None:
    with probed.start("report_signals", is_warm=is_warm) as process:
        assert readline(process) == b"ready\n"
        for name in ("HUP", "INT", "USR1", "QUIT", "WINCH", "USR2", "TERM"):
            process.send_signal(getattr(signal, f"SIG{name}"))
            assert readline(process) == f"SIG{name}\n".encode()

        assert process.wait(HANG_S) == 3


@BOTH
@pytest.mark.parametrize("name", ["TERM", "KILL", "QUIT", "HUP", "ABRT", "USR1", "ALRM"])
def test_a_signal_that_ends_the_client_ends_the_command(
    probed: Probe, name: str, *, is_warm: bool
) -> None:
    number = getattr(signal, f"SIG{name}")
    with probed.start("hold", is_warm=is_warm) as process:
        readline(process)
        process.send_signal(number)

        assert process.wait(HANG_S) == -number

    (pid,) = probed.pids()
    wait_until(lambda: has_ended(pid))


def test_an_interrupt_at_any_instant_ends_with_130_and_leaves_nothing(probed: Probe) -> None:
    codes = set()
    for step in range(30):
        with probed.start("interrupted", is_warm=True) as process:
            wait_until(lambda: has_handler(process.pid))
            _spin(step * 300)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=HANG_S)
            if b"init_import_site" not in errors:  # Python, before it knew its packages
                codes.add((process.returncode, errors if b"Traceback" in errors else b""))

    # without Python, which still imported the program
    assert {found for found in codes if found[0] != -signal.SIGINT} == {(130, b"")}
    wait_until(lambda: all(map(has_ended, probed.pids())))


def test_an_interrupt_in_the_import_system_waits_until_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python would print what is raised there, and go on."""
    ended: list[bool] = []
    text = "raise_signal(SIGINT)\nended.append(True)"
    code = compile(text, importlib.util.spec_from_loader.__code__.co_filename, "exec")
    names = {"raise_signal": signal.raise_signal, "SIGINT": signal.SIGINT, "ended": ended}
    monkeypatch.setattr(submission, "_is_eligible", lambda: True)
    monkeypatch.setattr(submission, "_run", lambda _interrupts: exec(code, names))  # noqa: S102

    with pytest.raises(KeyboardInterrupt):
        submission.run_warm()

    assert ended


def has_handler(pid: int) -> bool:
    """Return whether Python has taken SIGINT, and the entry point is running."""
    caught = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigCgt" in x]
    has_python = bool(int(caught[0].split()[1], 16) & 1 << (signal.SIGINT - 1))
    files = f"/proc/{pid}/fd"
    with contextlib.suppress(FileNotFoundError):  # closed meanwhile
        sockets = [f for f in os.listdir(files) if "socket" in os.readlink(f"{files}/{f}")]  # noqa: PTH115, PTH208
        return has_python and bool(sockets)
    return False


def _spin(rounds: int) -> None:
    for _ in range(rounds):
        pass


def test_a_killed_client_takes_its_worker_with_it(probed: Probe) -> None:
    for _ in range(3):
        with probed.start("hold", is_warm=True) as process:
            readline(process)
            process.kill()
            process.wait(HANG_S)

    assert len(probed.pids()) == 3
    wait_until(lambda: all(map(has_ended, probed.pids())))


def test_a_worker_has_the_name_of_its_command_so_that_a_signal_by_name_reaches_it(
    probed: Probe,
) -> None:
    with probed.start("hold", is_warm=True) as process:
        readline(process)
        (worker,) = probed.pids()

        assert Path(f"/proc/{worker}/cmdline").read_bytes().startswith(b"localrun\0hold\0")
        process.kill()

    wait_until(lambda: has_ended(worker))


def test_clients_that_are_killed_at_any_instant_leave_no_worker(probed: Probe) -> None:
    before = children(probed.pid)
    for step in range(30):
        with probed.start("hold", is_warm=True) as process:
            wait_until(lambda: has_handler(process.pid))
            _spin(step * 300)
            process.kill()

    wait_until(lambda: children(probed.pid) == before)


def children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def test_a_killed_worker_ends_its_client_alike(probed: Probe) -> None:
    with probed.start("hold", is_warm=True) as process:
        readline(process)
        os.kill(probed.pids()[0], signal.SIGKILL)

        assert process.wait(HANG_S) == -signal.SIGKILL


@BOTH
def test_signals_reach_the_children_of_a_command(probed: Probe, *, is_warm: bool) -> None:
    with probed.start("parent", is_warm=is_warm, start_new_session=True) as process:
        child = int(readline(process))
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(HANG_S)

    wait_until(lambda: has_ended(child))


@BOTH
def test_ctrl_z_stops_and_fg_goes_on(probed: Probe, *, is_warm: bool) -> None:
    with Shell(probed.environ(is_warm=is_warm)) as shell:
        shell.type("$PROBE report_signals\n")
        shell.read_until("ready")
        shell.type("\x1a")
        shell.read_until("Stopped")
        (pid,) = probed.pids()
        wait_until(lambda: is_stopped(pid))

        shell.type("fg\n")
        wait_until(lambda: not is_stopped(pid))
        shell.type("\x03")
        shell.read_until("SIGINT")
        shell.type("\x1a")
        shell.read_until("Stopped")
        shell.type("bg\n")
        wait_until(lambda: not is_stopped(pid))
        shell.type("kill %1; wait %1; echo code-$?\n")
        shell.read_until("SIGTERM")
        shell.read_until("code-3")


@BOTH
@pytest.mark.parametrize(
    ("act", "key", "code"),
    [("hold", "\x1c", 131), ("interrupted", "\x03", 130), ("report_signals", "", 143)],
)
def test_the_shell_prints_how_a_command_ended(
    probed: Probe, act: str, key: str, code: int, *, is_warm: bool
) -> None:
    with Shell(probed.environ(is_warm=is_warm)) as shell:
        shell.type(f"ulimit -c 0; $PROBE {act}; echo code-$?\n")
        shell.read_until("ready")
        if key:
            shell.type(key)
        else:
            os.kill(probed.pids()[0], signal.SIGKILL)
            code = 137
        shell.read_until(f"code-{code}")


@BOTH
def test_lines_are_edited_and_the_window_has_its_size(probed: Probe, *, is_warm: bool) -> None:
    with Shell(probed.environ(is_warm=is_warm)) as shell:
        shell.type("$PROBE chat; echo code-$?\n")
        shell.read_until("> ")
        shell.type("helo\x1b[Dl\n")
        shell.read_until("<hello> 80 24")
        shell.read_until("> ")
        shell.resize(rows=30, columns=100)
        shell.type("\x01two \x05\x7f\x7f\n")  # Ctrl-A, Ctrl-E, two backspaces
        shell.read_until("<tw> 100 30")
        shell.read_until("> ")
        shell.type("never")
        shell.read_until("never")
        shell.press_until("\x03", "interrupted")
        shell.press_until("\x04", "code-7")


def num_switches(pid: int) -> int:
    """Return how often a process has waited or stopped."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


@BOTH
def test_a_chat_in_the_background_leaves_the_keys_to_the_shell(
    probed: Probe, *, is_warm: bool
) -> None:
    with Shell(probed.environ(is_warm=is_warm)) as shell:
        shell.type("$PROBE chat; echo code-$?\n")
        shell.read_until("> ")
        shell.type("h")
        shell.read_until("h")
        (program,) = probed.pids()
        shell.type("\x1a")
        shell.read_until("Stopped")
        wait_until(lambda: is_stopped(program))
        shell.type("bg\n")
        shell.read_until("&")
        for number in range(5):
            shell.type(f"echo typed-$(({number} + 10))\n")
            shell.read_until(f"typed-{number + 10}")
        shell.type("fg\n")
        shell.read_until("chat")
        shell.type("again\n")
        shell.read_until("again>")
        shell.read_until("> ")
        shell.type("\x04")
        shell.read_until("$ ")


def test_a_worker_that_reads_the_terminal_never_runs_in_the_background(probed: Probe) -> None:
    with Shell(probed.environ(is_warm=True)) as shell:
        shell.type("$PROBE chat\n")
        shell.read_until("> ")
        client, (worker,) = shell.child(), probed.pids()
        shell.type("h" * 50)
        shell.read_until("h" * 50)
        shell.type("\x1a")
        shell.read_until("Stopped")
        wait_until(lambda: is_stopped(worker))
        before = num_switches(worker)
        for _ in range(3):
            so_far = num_switches(client)
            shell.type("bg\n")
            shell.read_until("&")
            wait_until(lambda: num_switches(client) > so_far and is_stopped(client))  # noqa: B023 - it is called at once
        shell.type("echo typed-$((8 + 9))\n")
        shell.read_until("typed-17")

        assert num_switches(worker) == before
        shell.type("fg\n")
        shell.read_until("chat")
        wait_until(lambda: not is_stopped(worker))
        shell.type("new\n")
        shell.read_until("new>")
        shell.read_until("> ")  # before it, the mode of the terminal changes, and a key may be lost
        shell.type("\x04")
        shell.read_until("$ ")


def test_a_command_in_the_background_of_a_terminal_takes_the_ordinary_way(probed: Probe) -> None:
    with Shell(probed.environ(is_warm=True)) as shell:
        shell.type("$PROBE end 3 & wait $!; echo code-$?\n")
        shell.read_until("code-3")

    assert probed.ways() == [probe.ORDINARY]


@pytest.mark.parametrize("victim", ["client", "worker"])
def test_a_raw_terminal_is_restored_after_a_kill(probed: Probe, victim: str) -> None:
    with Shell(probed.environ(is_warm=True), words=("sh", "-c", "$PROBE raw; read x")) as shell:
        before = shell.modes()
        shell.read_until("ready")
        assert shell.modes() != before
        (worker,) = probed.pids()
        os.kill(worker if victim == "worker" else shell.child(), signal.SIGKILL)

        wait_until(lambda: shell.modes() == before)
        wait_until(lambda: has_ended(worker))


def test_a_shell_that_edits_lines_keeps_its_modes_after_a_kill(probed: Probe) -> None:
    with Shell(probed.environ(is_warm=True)) as shell:
        before = shell.modes()
        for _ in range(5):
            probed.forget()
            shell.type("$PROBE raw\n")
            shell.read_until("ready")
            (worker,) = probed.pids()
            os.kill(shell.child(), signal.SIGKILL)
            shell.read_until("Killed")
            shell.read_until("$ ")
            wait_until(lambda: has_ended(worker))  # noqa: B023 - it is called at once
            wait_until(lambda: shell.modes() == before)  # a restoration in vain would stay


def test_hang_up_of_the_terminal_ends_the_command(probed: Probe) -> None:
    with Shell(probed.environ(is_warm=True)) as shell:
        shell.type("$PROBE hold\n")
        shell.read_until("ready")
        (worker,) = probed.pids()

    wait_until(lambda: has_ended(worker))


@BOTH
def test_timeout(probed: Probe, *, is_warm: bool) -> None:
    command = ["timeout", "0.5", sys.executable, "-m", "tests.warm.probe", "hold"]
    done = subprocess.run(command, check=False, env=probed.environ(is_warm=is_warm), stdin=-3)

    assert done.returncode == 124
    wait_until(lambda: all(has_ended(pid) for pid in probed.pids()))


def test_a_command_that_needs_the_terminal_is_a_job_of_the_shell(probed: Probe) -> None:
    with Shell(probed.environ(is_warm=True)) as shell:
        shell.type("$PROBE edit; echo code-$?\n")
        shell.read_until("> ")
        shell.type("one\n")
        shell.read_until("<one> 80 24")
        shell.read_until("> ")
        worker, program = probed.pids()
        wait_until(lambda: has_ended(worker))
        shell.type("\x1a")
        shell.read_until("Stopped")
        wait_until(lambda: is_stopped(program))
        shell.type("fg\n")
        shell.read_until("edit")
        shell.type("two\n")
        shell.read_until("<two>")
        shell.read_until("> ")
        shell.press_until("\x03", "interrupted")
        shell.read_until("> ")
        shell.type("\x04")
        shell.read_until("$ ")

    assert probed.ways() == [probe.WARM, probe.ORDINARY]
