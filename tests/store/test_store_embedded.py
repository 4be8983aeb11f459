"""The models that come with the package."""

from __future__ import annotations

from localrun.names.parse import parse_name
from localrun.store.store import embedded_models

LARGEST_PACKAGED = 10 * 1000 * 1000


def test_every_embedded_model_has_a_full_name_and_a_small_file() -> None:
    models = embedded_models()

    assert "guide:latest" in models
    for name, path in models.items():
        assert str(parse_name(name)) == name
        assert 0 < path.stat().st_size <= LARGEST_PACKAGED
