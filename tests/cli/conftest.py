"""A fake server, and commands that talk to it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.cli.fake_server import FakeServer, environment, fake_server, unused_address
from tests.program import PROGRAM
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Done = subprocess.CompletedProcess[str]


class Localrun(Protocol):
    def __call__(self, *arguments: str, stdin: str = "") -> Done:
        """Run a command to its end."""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as running:
        yield running


@pytest.fixture
def localrun(server: FakeServer, tmp_path: Path) -> Localrun:
    """Run commands that find the fake server."""
    return _command(server.environment(tmp_path))


@pytest.fixture
def localrun_alone(tmp_path: Path) -> Localrun:
    """Run commands that find no server."""
    return _command(environment(unused_address(), tmp_path))


def _command(env: dict[str, str]) -> Localrun:
    def run(*arguments: str, stdin: str = "") -> Done:
        return subprocess.run(
            [*PROGRAM, *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            env=env,
            timeout=HANG_S,
        )

    return run
