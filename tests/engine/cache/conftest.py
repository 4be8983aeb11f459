from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.cache.arena import opened
from tests.engine.tiny import full_attention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.engine.llama.model import Model


@pytest.fixture(scope="module")
def model(guide_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    found = opened(full_attention, tmp_path_factory.mktemp("tiny"), guide_path)
    yield found
    found.close()
