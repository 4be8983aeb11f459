from __future__ import annotations

from pathlib import Path

import pytest

from localrun.store.embedded import embedded_models


@pytest.fixture(scope="session")
def guide_path() -> Path:
    return embedded_models()["guide:latest"]


@pytest.fixture(scope="session")
def pirate_path() -> Path:
    return Path(__file__).parents[2] / "modelfiles" / "adapters" / "pirate.gguf"
