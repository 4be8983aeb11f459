"""``/api/show`` of a large vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from benchmarks.stock import NUM_LAYERS, TENSORS, fill_store

from localrun.gguf.reader import Reader
from localrun.server.ollama.show import show_model
from localrun.services.workspace import Workspace
from localrun.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

NUM_TOKENS = 150_000


def test_a_vocabulary_is_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_store(tmp_path / "store", 1, NUM_TOKENS)
    settings = Settings(
        log_dir=tmp_path, models_dir=tmp_path / "store", prompts_dir=tmp_path / "cache" / "prompts"
    )
    first = show_model(Workspace(settings, {}), "model-0", is_verbose=False)
    monkeypatch.setattr(Reader, "skip_strings", lambda *_: pytest.fail("walked again"))

    shown = show_model(Workspace(settings, {}), "model-0", is_verbose=False)

    assert shown == first
    assert shown["model_info"]["tokenizer.ggml.tokens"] is None
    assert shown["model_info"]["general.parameter_count"] == NUM_LAYERS * len(TENSORS) * 1024**2
