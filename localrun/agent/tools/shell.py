"""Tool that runs a command by ``/bin/sh -c`` below the folder, in a sandbox if there is one.

The working folder is kept between calls, as in a terminal; variables are not. Input is empty.
Invariants: time and output are bounded; when a call ends, in whatever way, none of the processes
that it started is left; the environment has no secrets.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.agent.environment import command_environment
from localrun.agent.process_tree import MARK, ProcessTree, new_mark
from localrun.agent.toolbox import AgentTool, Effect, ToolError, ToolResult
from localrun.agent.tools.arguments import check_known, number_of, read_number, read_text, schema
from localrun.agent.tools.arguments import text_of as text_schema
from localrun.agent.tools.command_output import BoundedOutput
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.agent.toolbox import Arguments, Cancellation
    from localrun.agent.tools.sandbox import Sandbox

SHELL = "/bin/sh"
DEFAULT_TIMEOUT_S, LONGEST_TIMEOUT_S = 120, 600
LONGEST_COMMAND = 20_000  # characters
LONGEST_FOLDER = 4096  # bytes
PIECE = 64 * 1024
MAX_LAST_READS = 100  # of what is in the pipes when the command has ended
POLL_S = 0.25  # until a cancelled call or a dead shell is noticed
# The trap writes the folder in which the command ends; a command that execs keeps the old one.
SCRIPT = 'trap \'pwd -P >"/dev/fd/$2"\' EXIT; eval "$1"'
COMMAND_SCHEMA = schema(
    ("command",),
    command=text_schema("Command for /bin/sh."),
    timeout_s=number_of(f"Time limit in seconds, {DEFAULT_TIMEOUT_S} by default."),
)


@dataclass(slots=True, kw_only=True)
class CommandRun:
    """One run of a command: what it wrote, and how it ended."""

    output: BoundedOutput = field(default_factory=BoundedOutput)
    exit_status: int | None = None  # None: it was killed
    folder: str = ""  # in which it ended


class CommandTool:
    """The tool ``run_command`` with its working folder."""

    def __init__(self, root: Path, sandbox: Sandbox, environ: Mapping[str, str]) -> None:
        if os.name != "posix":
            raise UsageError("--tools=shell needs /bin/sh", hint="--tools=write")
        self._root = root
        self._folder = root
        self._sandbox = sandbox
        self._environ = command_environment(environ)

    def tool(self) -> AgentTool:
        """Return the tool."""
        return AgentTool(
            name="run_command",
            description="Run a shell command. The working folder is kept between calls; "
            "processes end with their command.",
            parameters=COMMAND_SCHEMA,
            effect=Effect.COMMAND,
            execute=self.execute,
        )

    def execute(self, arguments: Arguments, cancel: Cancellation) -> ToolResult:
        """Run a command and return its output and exit status; blocks.

        Raises:
            ToolError: an argument is wrong, or the command cannot be started.
        """
        check_known(arguments, COMMAND_SCHEMA)
        command = read_text(arguments, "command")
        timeout_s = read_number(
            arguments, "timeout_s", DEFAULT_TIMEOUT_S, least=1, most=LONGEST_TIMEOUT_S
        )
        if "\0" in command or len(command) > LONGEST_COMMAND:
            raise ToolError(f"A command may have at most {LONGEST_COMMAND} characters, and no NUL.")
        run = self._run(command, timeout_s, cancel)
        note = self._take_folder(run.folder)
        return _result(run, timeout_s, note, is_cancelled=cancel.is_set())

    def _run(self, command: str, timeout_s: int, cancel: Cancellation) -> CommandRun:
        folder_out, folder_in = os.pipe()
        mark = new_mark()
        try:
            child = self._start(command, folder_in, mark)
        except OSError as error:
            os.close(folder_out)
            raise ToolError(f"The command cannot be started: {error.strerror}.") from error
        finally:
            os.close(folder_in)
        run = CommandRun()
        with contextlib.closing(_Pipes(child, folder_out, run)) as pipes:
            try:
                if pipes.wait(time.monotonic() + timeout_s, cancel):
                    run.exit_status = child.wait()
            finally:
                ProcessTree(child, mark).kill()
                child.wait()
            pipes.drain()
        return run

    def _start(self, command: str, folder_in: int, mark: str) -> subprocess.Popen[bytes]:
        words = [SHELL, "-c", SCRIPT, "sh", command, str(folder_in)]
        if self._sandbox.is_isolated:
            words = [*self._sandbox.prefix, "--chdir", str(self._folder), "--", *words]
        return subprocess.Popen(  # noqa: S603 - the user has allowed it
            words,
            cwd=self._folder if self._folder.is_dir() else self._root,
            env=self._environ | {MARK: mark, "PWD": str(self._folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(folder_in,),
            start_new_session=True,
        )

    def _take_folder(self, folder: str) -> str:
        """Take the folder in which a command ended; return a note for the model if it changed."""
        path = Path(folder) if folder else self._folder
        if not path.is_dir():
            path = self._root
        if not path.is_relative_to(self._root):
            self._folder = self._root
            return f"[working folder outside of {self._root}: back to it]"
        is_new, self._folder = path != self._folder, path
        return f"[working folder: {path.relative_to(self._root)}]" if is_new else ""


class _Pipes:
    """Output and final folder of a running command."""

    def __init__(self, child: subprocess.Popen[bytes], folder_out: int, run: CommandRun) -> None:
        if child.stdout is None:
            raise ValueError("the output of the command is no pipe")
        self._child, self._run = child, run
        self._stdout, self._folder_out = child.stdout, folder_out
        self._open = {self._stdout.fileno(), folder_out}
        self._folder = bytearray()

    def wait(self, deadline_s: float, cancel: Cancellation) -> bool:
        """Read until the shell ends; return False if its time is over or the call is cancelled."""
        while self._child.poll() is None:
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0 or cancel.is_set():
                return False
            timeout_s = min(POLL_S, remaining_s)
            if self._open:
                self._read_ready(timeout_s)
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._child.wait(timeout_s)
        return True

    def drain(self) -> None:
        """Read what is in the pipes, without waiting for more."""
        for _ in range(MAX_LAST_READS):
            if not self._open or not self._read_ready(0):
                break
        lines = self._folder.decode("utf-8", "surrogateescape").rstrip("\n")
        self._run.folder = lines if lines.startswith("/") else ""

    def close(self) -> None:
        self._stdout.close()
        os.close(self._folder_out)

    def _read_ready(self, timeout_s: float) -> bool:
        """Read from the pipes that have something; return whether one had."""
        ready = select.select(list(self._open), [], [], timeout_s)[0]
        for descriptor in ready:
            self._read(descriptor)
        return bool(ready)

    def _read(self, descriptor: int) -> None:
        data = os.read(descriptor, PIECE)
        if not data:
            self._open.discard(descriptor)
        elif descriptor == self._folder_out:
            self._folder += data[: LONGEST_FOLDER - len(self._folder)]
        else:
            self._run.output.add(data)


def _result(run: CommandRun, timeout_s: int, note: str, *, is_cancelled: bool) -> ToolResult:
    if is_cancelled:
        ending = "[stopped by the user]"
    elif run.exit_status is None:
        ending = f"[killed: its time of {timeout_s} s was over]"
    else:
        ending = f"[exit status {run.exit_status}]"
    output = run.output.text().rstrip("\n")
    summary = f"{ending[1:-1]}, {run.output.num_bytes} bytes"
    text = "\n".join(part for part in (output, note, ending) if part)
    return ToolResult(text=text, is_error=run.exit_status != 0, summary=summary)
