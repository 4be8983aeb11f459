from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import UsageError
from localrun.services.models import Models
from localrun.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["/etc/x.gguf", "./x.gguf", "~/x.gguf", "guide+/etc/x.gguf"])
def test_a_server_that_others_can_reach_opens_no_paths(tmp_path: Path, name: str) -> None:
    models = Models(Store(tmp_path), takes_paths=False)

    with pytest.raises(UsageError, match="is a path"):
        models.find_model(name)
