"""A fake hub with a model, and a workspace that pulls from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.hub import FakeHub, fake_hub
from tests.registry.conftest import keep_apart
from tests.services.making import FILES, REPO, workspace_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.services.workspace import Workspace


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    keep_apart(monkeypatch, tmp_path)
    with fake_hub() as running:
        running.add(REPO, FILES)
        yield running


@pytest.fixture
def workspace(hub: FakeHub, tmp_path: Path) -> Workspace:
    return workspace_at(tmp_path, hub.url)
