"""Commands that work on a store and ask a fake hub."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from localrun.store.store import Store
from tests.cli.fake_server import environment, unused_address
from tests.fakes.hub import FakeHub, fake_hub
from tests.program import PROGRAM
from tests.registry.conftest import keep_apart
from tests.services.making import FILES, REPO
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Done, Localrun


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    keep_apart(monkeypatch, tmp_path)
    with fake_hub() as running:
        running.add(REPO, FILES)
        yield running


@pytest.fixture
def env(hub: FakeHub, tmp_path: Path) -> dict[str, str]:
    """Return the environment of commands; a test may change it."""
    places = {
        "HOME": str(tmp_path / "home"),
        "LOCALRUN_MODELS": str(tmp_path / "store"),
        "HF_ENDPOINT": hub.url,
        "MODELSCOPE_ENDPOINT": hub.url,
    }
    return environment(unused_address(), tmp_path / "log") | places


@pytest.fixture
def localrun(env: dict[str, str], tmp_path: Path) -> Localrun:
    def run(*arguments: str, stdin: str = "") -> Done:
        return subprocess.run(
            [*PROGRAM, *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            env=env,
            cwd=tmp_path,
            timeout=HANG_S,
        )

    return run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return what the commands work on."""
    return Store(tmp_path / "store")
