"""Loads that begin before the first request."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.errors import LoadError
from localrun.server.core import early_load
from localrun.server.core.early_load import EarlyLoad, begin_early_load
from localrun.services.runner_models import runner_model
from localrun.services.workspace import open_workspace
from localrun.supervisor.model import KeepAlive, RequestOptions
from localrun.supervisor.pool import RunnerPool
from tests.fakes.starting import start_fake
from tests.server.serving import FakeCatalogue
from tests.unix_calls import make_pipe
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAKE = EarlyLoad(name="fake")


@contextlib.contextmanager
def open_pool() -> Iterator[RunnerPool]:
    pool = RunnerPool(keep_alive_s=300, start=start_fake)
    try:
        yield pool
    finally:
        pool.close()


def num_loads(pool: RunnerPool) -> int:
    return sum(history.num_loads for history in pool.load_history().values())


def test_the_request_that_follows_joins_the_load() -> None:
    catalogue = FakeCatalogue()
    with open_pool() as pool:
        begin_early_load(FAKE, lambda: pool, catalogue.find_model)
        pool.load(runner_model(catalogue.model), RequestOptions(keep_alive=KeepAlive(77.0)))
        (model,) = pool.running()

        assert num_loads(pool) == 1
        assert model.keep_alive == KeepAlive(77.0)


def test_the_context_is_that_of_the_request() -> None:
    catalogue = FakeCatalogue()
    with open_pool() as pool:
        begin_early_load(replace(FAKE, num_ctx=512), lambda: pool, catalogue.find_model)
        pool.load(runner_model(catalogue.model), RequestOptions(num_ctx=512))

        assert num_loads(pool) == 1


@pytest.mark.parametrize("name", ["", "--help", "../../etc/passwd", "a\nb", "no such", "x" * 5000])
def test_a_name_may_be_any_text(name: str) -> None:
    workspace = open_workspace(os.environ)
    with open_pool() as pool:
        begin_early_load(EarlyLoad(name=name), lambda: pool, workspace.models.find_model)

        assert pool.states() == []


def test_the_request_reports_why_a_model_does_not_load() -> None:
    catalogue = FakeCatalogue("broken.gguf")
    with open_pool() as pool:
        begin_early_load(FAKE, lambda: pool, catalogue.find_model)

        with pytest.raises(LoadError, match="not a model"):
            pool.load(runner_model(catalogue.model))


def test_a_load_that_no_request_joins_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_load, "PATIENCE_S", 0.01)
    make_pipe(tmp_path / "waits.gguf")
    catalogue = FakeCatalogue(str(tmp_path / "waits.gguf"))
    with open_pool() as pool:
        begin_early_load(FAKE, lambda: pool, catalogue.find_model)

        wait_until(lambda: pool.states() == [])


def test_a_model_that_no_request_uses_is_unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_load, "PATIENCE_S", 0.5)
    with open_pool() as pool:
        begin_early_load(FAKE, lambda: pool, FakeCatalogue().find_model)

        wait_until(lambda: pool.states() == [])
        assert num_loads(pool) <= 1
