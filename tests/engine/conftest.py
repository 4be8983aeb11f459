from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.store.embedded import embedded_models

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def guide_path() -> Path:
    return embedded_models()["guide:latest"]
