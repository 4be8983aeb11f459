"""A registry on this machine, and a workspace that pulls from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.services.workspace import Workspace
from localrun.settings import Settings
from tests.fakes.registry import FakeRegistry
from tests.fakes.web import Web, serving
from tests.registry.conftest import keep_apart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def web(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Web]:
    keep_apart(monkeypatch, tmp_path)
    with serving(registry) as web:
        yield web


@pytest.fixture
def online(tmp_path: Path) -> Workspace:
    folder = tmp_path / "here"
    known = Settings(log_dir=folder / "log", models_dir=folder / "store")
    return Workspace(known, {}, home=folder / "home")
