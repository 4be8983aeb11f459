"""A server of its own, with a model loaded and no network."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.conftest import make_home, wait_for
from tests.hostile.growth import Growth
from tests.hostile.meter import Meter
from tests.program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def growth(pytestconfig: pytest.Config) -> Growth:
    """Return what holds the growth of readers: to 1 MB with ``--hostile``, else to 100 KB."""
    return Growth(is_full=bool(pytestconfig.getoption("--hostile")))


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meter]:
    """Return a meter of a server that nobody else uses."""
    folder = tmp_path_factory.mktemp("home")
    home = make_home(folder)
    home.environ["LOCALRUN_OFFLINE"] = "1"
    home.environ["LOCALRUN_MODELS"] = str(folder / "models")
    home.environ["LOCALRUN_IDLE_EXIT"] = "-1"
    with (folder / "server.log").open("wb") as log:
        command = [*PROGRAM, "serve"]
        server = subprocess.Popen(command, stdout=log, stderr=log, env=home.environ)
        try:
            wait_for(lambda: server.poll() is not None or _answers(home.url))
            with Meter(home.url, server.pid) as found:
                found.warm_up()
                yield found
        finally:
            server.terminate()
            server.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=1).is_success
    except httpx.HTTPError:
        return False
