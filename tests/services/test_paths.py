from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError, ModelNotFoundError, UsageError
from localrun.services.models import Models
from localrun.store.store import Store, embedded_models

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["/etc/x.gguf", "./x.gguf", "~/x.gguf", "guide+/etc/x.gguf"])
def test_a_server_that_others_can_reach_opens_no_paths(tmp_path: Path, name: str) -> None:
    models = Models(Store(tmp_path), takes_paths=False)

    with pytest.raises(UsageError, match="is a path"):
        models.find_model(name)


def test_a_command_on_this_machine_says_what_is_wrong_with_a_path(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_bytes(b"text")
    models = Models(Store(tmp_path))

    with pytest.raises(ModelNotFoundError, match="no such file"):
        models.find_model(f"{tmp_path}/x.gguf")
    with pytest.raises(IntegrityError, match="not a readable GGUF file"):
        models.find_model(f"{tmp_path}/text.gguf")
    with pytest.raises(IntegrityError, match="is not an adapter"):
        models.find_model(f"guide+{embedded_models()['guide:latest']}")
