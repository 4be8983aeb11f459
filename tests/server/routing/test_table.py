from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.server.core.deferred_pool import DeferredPool
from localrun.server.core.metrics import Metrics
from localrun.server.routing.parts import Parts
from localrun.server.routing.table import TABLE
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from localrun.supervisor.pool import RunnerPool
from tests.fakes.starting import start_fake
from tests.server.serving import FakeCatalogue

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def parts() -> Iterator[Parts]:
    pool = DeferredPool(lambda: RunnerPool(keep_alive_s=300, start=start_fake))
    settings = Settings(port=0, log_dir=Path("/nowhere"), models_dir=Path("/nowhere"))
    yield Parts(pool, Workspace(settings, os.environ), Metrics(), FakeCatalogue())
    pool.close()


def is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")


def test_the_routes_of_a_module_are_at_and_below_the_paths_by_which_it_is_imported(
    parts: Parts,
) -> None:
    for load, tops in TABLE.items():
        paths = {route.path for route in load(parts).declared}

        assert {top for top in tops for path in paths if is_below(path, top)} == set(tops)
        assert all(any(is_below(path, top) for top in tops) for path in paths)


def test_no_path_leads_to_two_modules() -> None:
    tops = [top for tops in TABLE.values() for top in tops]

    assert [(a, b) for a in tops for b in tops if a is not b and is_below(a, b)] == []
