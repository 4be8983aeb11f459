from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from engines.wheel_file import Host

from tests.engines.wheels import HOST, Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return a server without files; the machine has an x86-64 processor and glibc 2.36."""
    for served in (running.files, running.truncated, running.hanging, running.redirects):
        served.clear()
    running.requests.clear()
    monkeypatch.setattr(Host, "of_this_process", lambda: HOST)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return running
