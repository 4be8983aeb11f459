"""Adapters are looked at before llama.cpp gets them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from localrun.errors import IntegrityError, LocalrunError, NotFoundError, UsageError
from localrun.runner.adapters import AdapterResolver
from localrun.store.store import embedded_models
from tests.engine.tiny import adapter

GUIDE = Path(embedded_models()["guide:latest"])
PIRATE = Path(__file__).parents[2] / "modelfiles" / "adapters" / "pirate.gguf"


@pytest.fixture
def resolver() -> AdapterResolver:
    return AdapterResolver([GUIDE])


def test_a_file_that_changed_is_another_adapter(resolver: AdapterResolver, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    shutil.copy(PIRATE, path)
    first = resolver.checked([(str(path), 0.5)])

    os.utime(path, ns=(1, 1))
    second = resolver.checked([(str(path), 0.5)])

    assert first != second
    assert [(file.path, scale) for file, scale in second] == [(str(path), 0.5)]


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("missing", NotFoundError, "the adapter bad.gguf: No such file"),
        ("garbage", IntegrityError, "bad.gguf: "),
        ("model", IntegrityError, "bad.gguf: it says that it is"),
        ("other base", UsageError, "bad.gguf: the adapter is for the architecture qwen2"),
    ],
)
def test_what_cannot_be_used_is_named(
    resolver: AdapterResolver, tmp_path: Path, kind: str, error: type[LocalrunError], words: str
) -> None:
    path = tmp_path / "bad.gguf"
    if kind == "garbage":
        path.write_bytes(b"GGUF" + b"\xff" * 100)
    elif kind == "model":
        shutil.copy(GUIDE, path)
    elif kind == "other base":
        adapter(path, "qwen2", 1)

    with pytest.raises(error) as caught:
        resolver.checked([(str(PIRATE), 1.0), (str(path), 1.0)])

    assert caught.value.message.startswith(words), caught.value.message
