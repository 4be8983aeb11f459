"""A fake hub, and the clients of both hubs kept away from the files of whoever runs the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.hub import FakeHub, fake_hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOMES = ("HF_HOME", "MODELSCOPE_CACHE", "MODELSCOPE_HOME")
QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "MODELSCOPE_LOG_LEVEL": "ERROR",
    "MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "1",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    keep_apart(monkeypatch, tmp_path)
    with fake_hub() as running:
        yield running


@pytest.fixture
def hub_with_cdn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    keep_apart(monkeypatch, tmp_path)
    with fake_hub(cdn=True) as running:
        yield running


def keep_apart(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in HOMES:
        monkeypatch.setenv(name, str(folder / name))
    for name, value in QUIET.items():  # what the clients' own set, so that it is undone
        monkeypatch.setenv(name, value)
