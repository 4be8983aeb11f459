from __future__ import annotations

import os
import shutil
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from localrun.agent.tools.command_output import BoundedOutput
from localrun.agent.tools.sandbox import Sandbox, find_sandbox
from localrun.agent.tools.shell import CommandTool
from localrun.system.processes import is_running
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

NO_SANDBOX = Sandbox(about="none")
BWRAP = shutil.which("bwrap")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "work" / "sub").mkdir(parents=True)
    return tmp_path / "work"


def run(tool: CommandTool, command: str, timeout_s: int = 60) -> str:
    arguments = {"command": command, "timeout_s": timeout_s}
    return tool.execute(arguments, threading.Event()).text


@pytest.fixture
def tool(root: Path) -> CommandTool:
    return CommandTool(root, NO_SANDBOX, os.environ)


def test_output_and_exit_status_are_returned(tool: CommandTool) -> None:
    assert run(tool, "echo out; echo err >&2; exit 3") == "out\nerr\n[exit status 3]"
    assert run(tool, "cat") == "[exit status 0]"


def test_the_folder_is_kept_between_calls(tool: CommandTool, root: Path) -> None:
    assert run(tool, "cd sub; exit 1") == "[working folder: sub]\n[exit status 1]"
    assert run(tool, "pwd") == f"{root / 'sub'}\n[exit status 0]"


def test_a_command_that_leaves_the_folder_starts_in_it_again(tool: CommandTool, root: Path) -> None:
    assert "back to it" in run(tool, "cd /")
    assert run(tool, "pwd").startswith(f"{root}\n")


def test_a_removed_working_folder_is_left(tool: CommandTool, root: Path) -> None:
    run(tool, "cd sub")
    (root / "sub").rmdir()

    assert run(tool, "pwd").startswith(f"{root}\n")


def test_secrets_and_agents_are_not_in_the_environment(root: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "LOCALRUN_API_KEY": "k1",
        "GITHUB_TOKEN": "k2",
        "PGPASSWORD": "k3",
        "SSH_AUTH_SOCK": "k4",
        "http_proxy": "http://user:k5@proxy",
        "LANG": "C",
    }

    output = run(CommandTool(root, NO_SANDBOX, environ), "env")

    assert not any(f"k{number}" in output for number in range(1, 6))
    assert "LANG=C" in output


def test_long_output_keeps_head_and_tail(tool: CommandTool) -> None:
    output = run(tool, "echo first; yes x | head -c 5000000; echo last")

    assert output.startswith("first\n")
    assert "bytes left out" in output
    assert output.endswith("last\n[exit status 0]")
    assert len(output) < 40_000


def test_bounded_output_keeps_every_byte_of_a_short_output() -> None:
    for size in (0, 9, 10, 19, 20, 21, 1000):
        output = BoundedOutput(head_bytes=10, tail_bytes=10)
        data = bytes(ord("a") + number % 26 for number in range(size))
        for start in range(0, size, 3):
            output.add(data[start : start + 3])

        text = output.text()

        assert text.startswith(data[:10].decode())
        assert text.endswith(data[-10:].decode())
        assert ("left out" in text) == (size > 20)


def started(root: Path, name: str) -> int:
    path = root / name
    wait_until(lambda: path.exists() and path.read_text().strip(), f"the process of {name}")
    return int(path.read_text())


ESCAPING = (
    "sleep 10000 & echo $! > child; "
    "setsid sh -c 'echo $$ > session; sleep 10000' & "
    "(setsid sh -c 'echo $$ > orphan; exec sleep 10000' &) ; "
    "while [ ! -s orphan ] || [ ! -s session ]; do :; done; "
)


def test_processes_end_with_their_command(tool: CommandTool, root: Path) -> None:
    assert "[exit status 0]" in run(tool, ESCAPING)

    for name in ("child", "session", "orphan"):
        process_id = started(root, name)
        wait_until(lambda: not is_running(process_id), name)  # noqa: B023 - called at once


def test_processes_end_when_the_time_is_over(tool: CommandTool, root: Path) -> None:
    assert "time of 1 s was over" in run(tool, ESCAPING + "sleep 10000", timeout_s=1)

    for name in ("child", "session", "orphan"):
        process_id = started(root, name)
        wait_until(lambda: not is_running(process_id), name)  # noqa: B023 - called at once


def test_processes_end_at_ctrl_c(tool: CommandTool, root: Path) -> None:
    def interrupt() -> None:
        started(root, "ready")
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tool, ESCAPING + "echo 1 > ready; sleep 10000")
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)

    process_id = started(root, "orphan")
    wait_until(lambda: not is_running(process_id), "the end of the orphan")


def test_a_cancelled_command_ends(tool: CommandTool, root: Path) -> None:
    cancel = threading.Event()

    def cancel_it() -> None:
        started(root, "ready")
        cancel.set()

    thread = threading.Thread(target=cancel_it)
    thread.start()
    result = tool.execute({"command": "echo 1 > ready; sleep 10000"}, cancel)
    thread.join()

    assert result.is_error
    assert "stopped by the user" in result.text


def test_no_sandbox_is_stated(root: Path, tmp_path: Path) -> None:
    sandbox = find_sandbox(root, {"PATH": str(tmp_path)})

    assert not sandbox.is_isolated
    assert sandbox.about.startswith("no sandbox (bubblewrap is not installed)")


def test_a_sandbox_that_does_not_work_is_not_used(root: Path, tmp_path: Path) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)

    assert "does not work here" in find_sandbox(root, {"PATH": str(tmp_path)}).about


@pytest.mark.skipif(BWRAP is None, reason="bubblewrap is not installed")
def test_a_sandbox_writes_only_below_the_folder_and_has_no_network(
    root: Path, tmp_path: Path
) -> None:
    sandbox = find_sandbox(root, os.environ)
    if not sandbox.is_isolated:
        pytest.skip("bubblewrap does not work here")
    tool = CommandTool(root, sandbox, os.environ)

    assert run(tool, "cd sub; echo x > a && pwd").startswith(f"{root / 'sub'}\n")
    assert (root / "sub" / "a").exists()
    assert run(tool, "pwd").startswith(f"{root / 'sub'}\n")
    run(tool, f"echo x > {tmp_path}/outside; echo x > ../../outside")
    assert not (tmp_path / "outside").exists()
    assert run(tool, "grep -c : /proc/net/dev").startswith("1\n")  # loopback
    assert "time of 1 s" in run(tool, "setsid sleep 10000 & sleep 10000", timeout_s=1)
