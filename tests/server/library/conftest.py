"""A server on a store of its own, which pulls from a fake hub, and the real Ollama client."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import ollama
import pytest

from localrun.services.workspace import Workspace
from localrun.settings import Settings
from tests.fakes.hub import FakeHub, fake_hub
from tests.registry.conftest import keep_apart
from tests.server.serving import Served, serving
from tests.services.making import FILES, REPO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    keep_apart(monkeypatch, tmp_path)
    with fake_hub() as running:
        running.add(REPO, FILES)
        yield running


@pytest.fixture
def workspace(hub: FakeHub, tmp_path: Path) -> Workspace:
    settings = Settings(log_dir=tmp_path / "log", models_dir=tmp_path / "store")
    places = {"HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url}
    environ = {**os.environ, **places, "MODELSCOPE_ENDPOINT": hub.url}
    environ["LOCALRUN_PULL_PRIVATE"] = "1"  # for registries of tests, which are on this machine
    return Workspace(settings, environ, home=tmp_path / "home")


@pytest.fixture
def library(workspace: Workspace) -> Iterator[Served]:
    with serving(workspace=workspace) as found:
        yield found


@pytest.fixture
def client(library: Served) -> Iterator[ollama.Client]:
    with contextlib.closing(ollama.Client(host=library.url)) as found:
        yield found
