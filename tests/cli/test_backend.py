from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.backends.modules import packed

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Localrun


def test_a_backend_of_another_commit_is_refused_in_one_line(
    localrun: Localrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    package = packed(tmp_path, "cuda", None, llama_cpp_commit="4df29be4f", ggml="0.24.0")

    refused = localrun("backend", "add", str(package))
    listed = localrun("backend", "list", "--json")
    removed = localrun("backend", "remove", "cuda")

    assert refused.returncode == 6
    assert refused.stderr.startswith("error: this cuda backend does not fit: it was built")
    assert "hint: localrun backend add localrun-backend-cuda-0.3.36-" in refused.stderr
    assert json.loads(listed.stdout).keys() == {"engine", "computes", "rows", "chosen", "notes"}
    assert removed.returncode == 3
    assert "error: no backend cuda is installed" in removed.stderr
