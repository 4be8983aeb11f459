"""The memory of a projector is its file and the buffers of its largest image and sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.hardware.projector import projector_bytes
from localrun.store.store import embedded_models, embedded_projectors
from tests.engine.media.pairs import write_pair

if TYPE_CHECKING:
    from pathlib import Path

MIB = 2**20


@pytest.mark.parametrize(
    ("family", "least_mib", "most_mib"),
    [("janus", 0, 2), ("ultravox", 1, 8), ("qwen25vl", 1500, 1700), ("qwen3vl", 10, 64)],
)
def test_the_need_is_near_what_libmtmd_takes(
    tmp_path: Path, family: str, least_mib: int, most_mib: int
) -> None:
    _, projector = write_pair(tmp_path, family, embedded_models()["guide:latest"])

    need = projector_bytes(projector) - projector.stat().st_size

    assert least_mib * MIB <= need <= most_mib * MIB


def test_the_need_of_whole_sounds_is_near_what_libmtmd_takes() -> None:
    projector = embedded_projectors()["guide:latest"]

    need = projector_bytes(projector) - projector.stat().st_size

    assert 30 * MIB <= need <= 38 * MIB  # 34 of 30 seconds, besides the samples


def test_a_damaged_file_counts_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF????")

    assert projector_bytes(path) == 8
