"""The models that come with the package."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from localrun.names.parse import parse_name
from localrun.store.embedded import CHUNK_BYTES, embedded_models, file_digest

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_PACKAGED = 10 * 1000 * 1000


def test_every_embedded_model_has_a_full_name_and_a_small_file() -> None:
    models = embedded_models()

    assert "guide:latest" in models
    for name, path in models.items():
        assert str(parse_name(name)) == name
        assert 0 < path.stat().st_size <= LARGEST_PACKAGED


def test_the_digest_is_the_sha256_of_all_bytes(tmp_path: Path) -> None:
    data = b"x" * (CHUNK_BYTES + 1)
    path = tmp_path / "blob"
    path.write_bytes(data)

    assert file_digest(path) == f"sha256:{hashlib.sha256(data).hexdigest()}"
