from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.scheduler import SchedulerLimits
from localrun.errors import LoadError
from localrun.hardware.mtp import MTP_ROLLBACK
from localrun.runner.messages import Load
from localrun.runner.speculation_setup import SpeculationSetup, max_drafts, num_rollback
from localrun.store.store import embedded_models
from tests.engine.tiny import dflash, eagle3, full_attention, sliding_window
from tests.translation.more_models import qwen35

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


def test_without_a_draft_model_the_sources_are_named(target: Model) -> None:
    found = setup(target)

    assert found.source_names == ("grammar", "prediction", "prompt lookup", "earlier answers")
    found.close()


def test_mtp_layers_of_the_file_draft_and_bound_what_a_state_takes_back(tmp_path: Path) -> None:
    path = tmp_path / "hybrid.gguf"
    qwen35(path, GUIDE)
    load = Load(model_paths=(str(path),), num_threads=1, num_gpu_layers=0, has_mtp=True)
    load = replace(load, num_parallel=2)
    model = load_model(
        [path], native_log=native_log, num_gpu_layers=0, has_mtp=True, on_progress=lambda _: None
    )
    num_drafts, rollback = max_drafts(model, load), num_rollback(model, load)
    limits = replace(LIMITS, num_drafts=num_drafts, num_rollback=rollback)

    found = SpeculationSetup(load, model, limits, native_log, None)

    assert (num_drafts, rollback) == (2 * MTP_ROLLBACK, MTP_ROLLBACK)
    assert found.source_names[-1] == "MTP layers"
    assert found.mtp is not None
    found.close()
    model.close()


def test_a_hybrid_model_without_mtp_layers_takes_nothing_back(tmp_path: Path) -> None:
    path = tmp_path / "hybrid.gguf"
    qwen35(path, GUIDE)
    load = Load(model_paths=(str(path),), num_threads=1, num_gpu_layers=0)
    model = load_model([path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None)

    assert max_drafts(model, load) == 0
    model.close()


@pytest.mark.parametrize(("make_head", "name"), [(eagle3, "EAGLE-3 head"), (dflash, "DFlash head")])
def test_a_draft_head_is_a_draft_source_that_gets_inputs_of_layers(
    target: Model, tmp_path: Path, make_head: Callable[..., None], name: str
) -> None:
    width = target.embedding_length
    make_head(tmp_path / "head.gguf", GUIDE, (1, 2, 3), target_width=width)

    found = setup(target, tmp_path / "head.gguf")

    assert found.source_names[-1] == name
    assert found.mtp is not None
    assert found.mtp.features.width == 3 * width
    found.close()


def test_a_draft_model_that_nobody_named_may_fail(
    target: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "draft.gguf").write_bytes(b"GGUF")
    load = Load(
        model_paths=(str(GUIDE),),
        draft_paths=(str(tmp_path / "draft.gguf"),),
        requires_draft=False,
        num_threads=1,
        num_gpu_layers=0,
    )

    found = SpeculationSetup(load, target, LIMITS, native_log, None)

    assert not found.has_draft_model
    assert "the draft model is not used" in caplog.text
    found.close()
