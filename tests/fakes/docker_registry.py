"""Debian's docker-registry (distribution 2.8), where this machine has it.

It is looked for on the PATH and in the folder ``LOCALRUN_TEST_REGISTRY``. To have it
without installing it: ``apt-get download docker-registry && dpkg -x *.deb folder``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def find_registry() -> Path | None:
    """Return the program, None where there is none."""
    named = os.environ.get("LOCALRUN_TEST_REGISTRY")
    folders = [named, f"{named}/usr/bin"] if named else []
    found = shutil.which("docker-registry", path=os.pathsep.join([*folders, os.environ["PATH"]]))
    return Path(found) if found else None


@contextlib.contextmanager
def running_registry(program: Path, folder: Path) -> Iterator[str]:
    """Run a registry on a free port and yield its host."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = folder / "config.yml"
    config.write_text(CONFIG.format(folder=folder, port=port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", config], stdout=log, stderr=log)
    try:
        _wait_until_it_listens(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(HANG_S)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    def listens() -> bool:
        assert process.poll() is None, "docker-registry does not start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    wait_until(listens)
