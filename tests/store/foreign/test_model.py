"""The values that stand for another tool's models."""

from __future__ import annotations

from pathlib import Path

from localrun.store.foreign.model import ForeignFile, ForeignModel


def test_the_size_of_a_model_is_that_of_all_its_files() -> None:
    files = tuple(
        ForeignFile(path=Path(name), name=name, role="weights", size_bytes=size)
        for name, size in (("a", 3), ("b", 4))
    )

    assert ForeignModel(tool="file", name="m", files=files).size_bytes == 7
