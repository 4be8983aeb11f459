"""``serve --load``: a server is not ready before its model is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from localrun.errors import UsageError
from localrun.remote.model import RemoteModel, remote_address
from localrun.server.core.preload import Preload
from localrun.supervisor.pool import RunnerPool
from tests.e2e.conftest import make_home
from tests.fakes.starting import start_fake
from tests.server.serving import FakeCatalogue
from tests.waiting import wait_until

MODEL = FakeCatalogue().model


def test_a_loaded_model_is_ready_and_stays() -> None:
    pool = RunnerPool(keep_alive_s=0, start=start_fake)
    preload = Preload(MODEL)
    assert preload.status == "loading"

    preload.begin(lambda: pool)
    wait_until(lambda: preload.is_ready)

    (running,) = pool.running()
    assert running.is_pinned
    pool.close()


def test_a_load_that_fails_leaves_the_server_unready() -> None:
    pool = RunnerPool(keep_alive_s=0, start=start_fake)
    preload = Preload(replace(MODEL, shards=(Path("/nowhere/broken.gguf"),)))

    preload.begin(lambda: pool)
    wait_until(lambda: preload.status == "failed")

    assert not preload.is_ready
    pool.close()


def test_a_remote_model_is_ready_at_once() -> None:
    remote = RemoteModel(addresses=(remote_address("http://127.0.0.1:9", "m"),))

    assert Preload(replace(MODEL, remote=remote, shards=())).is_ready


def test_what_is_no_model_ends_the_start() -> None:
    with pytest.raises(UsageError):
        Preload(replace(MODEL, details=replace(MODEL.details, role="adapter")))


def test_a_program_that_loads_first_is_ready_then(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    process = home.start("serve", "--load", "guide")

    def status() -> int:
        try:
            return httpx.get(f"{home.url}/readyz").status_code
        except httpx.HTTPError:
            return 0

    try:
        wait_until(lambda: status() == 200)
        loaded = httpx.get(f"{home.url}/api/localrun/ps").json()["models"]
    finally:
        process.terminate()
        process.communicate(timeout=60)

    assert [(model["name"], model["pinned"]) for model in loaded] == [("guide:latest", True)]


def test_a_program_without_that_model_does_not_start(tmp_path: Path) -> None:
    done = make_home(tmp_path).run("serve", "--load", "nosuch")

    assert done.returncode == 3
    assert "'nosuch' is not on this machine" in done.stderr
