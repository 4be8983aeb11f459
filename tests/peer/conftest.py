from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from benchmarks.models import bench_model
from benchmarks.peer import find_server

from localrun.store.store import embedded_models
from tests.engine.tiny import KINDS
from tests.peer.pair import Ours, Theirs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_PEER = "there is no llama-server to compare with: scripts/test --peer builds it"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Pair:
    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.ours = Ours(path)
        self.theirs = Theirs(path, free_port())

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture(scope="session", autouse=True)
def _peer() -> None:
    if find_server() is None:
        pytest.skip(NO_PEER)


@pytest.fixture(scope="session")
def guide_path() -> Path:
    return embedded_models()["guide:latest"]


@pytest.fixture(scope="session")
def guide(_peer: None, guide_path: Path) -> Iterator[Pair]:
    found = Pair("guide", guide_path)
    yield found
    found.close()


@pytest.fixture(scope="session", params=KINDS)
def tiny(
    _peer: None,
    guide_path: Path,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    path = tmp_path_factory.mktemp("peer") / f"{request.param}.gguf"
    KINDS[request.param](path, guide_path)
    found = Pair(request.param, path)
    yield found
    found.close()


@pytest.fixture(scope="session", params=["guide", "0.1b"])
def quantized(request: pytest.FixtureRequest) -> Iterator[Pair]:
    if request.param == "guide":
        yield request.getfixturevalue("guide")
        return
    path = bench_model(request.param)
    if not path.is_file():
        pytest.skip("there is no model of 0.1B parameters: scripts/bench serve 0.1b makes it")
    found = Pair(request.param, path)
    yield found
    found.close()
