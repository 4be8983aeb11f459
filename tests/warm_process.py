"""A warm process without a server, for tests of commands that would find none.

`lead_commands` puts a link to its socket where a command that a test starts looks for the warm
process of its server, so that the same tests run in workers. A server of a test replaces the link.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.sockets import DEFAULT_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = [sys.executable, "-m", "localrun"]
READY = b"up\n"


@contextlib.contextmanager
def warm_process(path: Path, module: str = "tests.warm_process") -> Iterator[int]:
    """Yield the process id of a warm process at ``path`` that a module, a program, has forked."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    holder = subprocess.Popen(
        [sys.executable, "-m", module, path],
        cwd=ROOT,
        env=dict(os.environ),  # without what ggml adds to the environment of this process
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == READY
        yield _only_child(holder.pid)
        holder.stdin.close()  # it ends, and with it the warm process


def _only_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def lead_commands(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let programs that are started from now on find a warm process."""
    start = subprocess.Popen.__init__

    def link_and_start(self: Any, *arguments: Any, **options: Any) -> None:
        environ = options.get("env")
        _link(socket, os.environ if environ is None else environ)
        start(self, *arguments, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", link_and_start)


def _link(socket: Path, environ: Mapping[str, str]) -> None:
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime is None:  # an environment without anything
        return
    folder = Path(runtime, "localrun")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # a server's, or ours
        (folder / f"{environ.get('LOCALRUN_HOST') or DEFAULT_ADDRESS}.warm").symlink_to(socket)


def _main() -> None:
    from localrun.cli.internal.warm import start

    warm = start(sys.argv[1])
    assert warm is not None
    os.write(1, READY)
    os.read(0, 1)
    warm.close()


if __name__ == "__main__":
    _main()
