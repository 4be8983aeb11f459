from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.scheduler import SchedulerLimits
from localrun.errors import LoadError
from localrun.runner.messages import Load
from localrun.runner.speculation_setup import SpeculationSetup
from localrun.store.store import embedded_models
from tests.engine.tiny import full_attention, sliding_window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMITS = SchedulerLimits(num_slots=2, num_cells=256, num_drafts=8)
GUIDE = embedded_models()["guide:latest"]
native_log = start()


@pytest.fixture(scope="module")
def target() -> Iterator[Model]:
    found = load_model([GUIDE], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)
    yield found
    found.close()


def setup(target: Model, *draft: Path, limits: SchedulerLimits = LIMITS) -> SpeculationSetup:
    load = Load(
        model_paths=(str(GUIDE),),
        draft_paths=tuple(map(str, draft)),
        num_threads=1,
        num_gpu_layers=0,
    )
    return SpeculationSetup(load, target, limits, native_log, None)


def test_a_draft_model_with_the_same_tokens_is_loaded(target: Model, tmp_path: Path) -> None:
    full_attention(tmp_path / "draft.gguf", GUIDE)

    found = setup(target, tmp_path / "draft.gguf")

    assert found.speculation is not None
    assert found.has_draft_model
    found.close()


def test_an_incompatible_draft_model_is_not_used_and_the_reason_is_logged(
    target: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sliding_window(tmp_path / "draft.gguf", GUIDE)

    found = setup(target, tmp_path / "draft.gguf")

    assert "full attention" in caplog.text
    assert not found.has_draft_model
    found.close()


def test_a_draft_that_is_no_model_is_an_error(target: Model, tmp_path: Path) -> None:
    (tmp_path / "draft.gguf").write_bytes(b"GGUF")

    with pytest.raises(LoadError, match=r"draft\.gguf"):
        setup(target, tmp_path / "draft.gguf")


def test_without_outputs_for_drafts_there_is_no_speculator(target: Model) -> None:
    limits = SchedulerLimits(num_slots=2, num_cells=256)

    assert setup(target, limits=limits).speculation is None
