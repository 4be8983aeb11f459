"""A file that was written to do harm is refused, or becomes a file without harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localrun.errors import LocalrunError
from localrun.gguf.header import read_header
from localrun.store.store import embedded_models
from localrun.translation.translate import translate
from tests.translation.families import FAMILIES
from tests.translation.projectors import PROJECTORS

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("gptoss", "mistral3", "qwen35moe", "qwen3vl", "gemma3n", "nemotron_h_omni", "deepseekocr")


@pytest.fixture(scope="module", params=NAMES)
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the content of an old file; the vocabulary is part of the header."""
    folder = tmp_path_factory.mktemp(request.param)
    family, projector = FAMILIES[request.param], PROJECTORS.get(request.param)
    ours, theirs = folder / "ours.gguf", folder / "theirs.gguf"
    family.make(ours, embedded_models()["guide:latest"])
    tensors = None if projector is None else projector.old_tensors()
    values = None if projector is None else projector.old_values(family.architecture)
    family.write_old(ours, theirs, tensors, values)
    return theirs.read_bytes()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_changed_headers_end_in_an_error_or_a_file(
    old: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "old.gguf"
    path.write_bytes(old)
    header = read_header(path)
    places = [*range(24), *range(header.data_start - 12_000, header.data_start)]
    content = bytearray(old)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from(places))
        content[place] = data.draw(st.sampled_from([0, 1, 2, 3, 7, 8, 9, 0x2E, 0x30, 0x7F, 0xFF]))
    path.write_bytes(content)

    try:
        translate(path, tmp_path / "new.gguf", tmp_path / "projector.gguf")
    except LocalrunError:
        return
    except ValueError as error:
        assert "needs no translation" in str(error)  # noqa: PT017 - the only one that may be
        return
    files = [tmp_path / "new.gguf", tmp_path / "projector.gguf"]
    assert sum(file.stat().st_size for file in files if file.exists()) <= 4 * len(old)
