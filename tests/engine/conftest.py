from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.engine.constraints.compiler import GrammarCompiler
from localrun.engine.context import LlamaContext
from localrun.engine.llama.library import start
from localrun.engine.llama.model import load_model
from localrun.store.store import embedded_models
from tests.engine.answering import LIMITS, Answerer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def guide_path() -> Path:
    return embedded_models()["guide:latest"]


@pytest.fixture(scope="session")
def pirate_path() -> Path:
    return Path(__file__).parents[2] / "modelfiles" / "adapters" / "pirate.gguf"


@pytest.fixture(scope="session")
def answerer(guide_path: Path) -> Iterator[Answerer]:
    native_log = start()
    model = load_model(
        [guide_path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None
    )
    context = LlamaContext(model, LIMITS, num_threads=1)
    yield Answerer(model, context, GrammarCompiler(model))
    context.close()
    model.close()
