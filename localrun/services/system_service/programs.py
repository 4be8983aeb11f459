"""Programs of service managers, run to their end."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Protocol

from localrun.errors import BackendError
from localrun.services.system_service.service import no_manager

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 120.0  # a server finishes its answers before it stops
Done = subprocess.CompletedProcess[str]


class RunProgram(Protocol):
    """Runs a program and returns how it ended."""

    def __call__(self, command: Sequence[str]) -> Done:
        """Run the command.

        Raises:
            BackendError: there is no such program, or it does not end.
        """


def run_program(command: Sequence[str]) -> Done:
    """Run a program and return how it ended, with its output.

    Raises:
        BackendError: there is no such program, or it does not end.
    """
    try:
        return subprocess.run(  # noqa: S603 - no shell, and our own arguments
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
    except OSError as error:
        raise no_manager(f"{command[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{' '.join(command)} does not end") from error


def checked(done: Done) -> str:
    """Return the output of a program that succeeded.

    Raises:
        BackendError: it failed; the message is its own last line.
    """
    if done.returncode == 0:
        return done.stdout
    lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
    raise BackendError(f"{' '.join(done.args[:3])}: {lines[-1].strip()}")
