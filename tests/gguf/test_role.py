"""What a GGUF file is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError
from localrun.gguf.role import gguf_role
from tests.gguf import builder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("architecture", "kind", "role"),
    [
        ("llama", "", "weights"),
        ("llama", "model", "weights"),
        ("clip", "", "projector"),
        ("llama", "mmproj", "projector"),
        ("llama", "adapter", "adapter"),
        ("", "", "weights"),
    ],
)
def test_the_header_tells_the_role(tmp_path: Path, architecture: str, kind: str, role: str) -> None:
    texts = {"general.architecture": architecture, "general.type": kind}
    pairs = [builder.pair(key, builder.STRING, text) for key, text in texts.items() if text]
    path = tmp_path / "model.gguf"
    path.write_bytes(builder.header(pairs))

    assert gguf_role(path) == role


def test_a_file_that_is_no_gguf_has_no_role(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"text")

    with pytest.raises(IntegrityError, match="does not begin with GGUF"):
        gguf_role(path)
