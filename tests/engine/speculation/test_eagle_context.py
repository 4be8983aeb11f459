"""An EAGLE-3 head gets inputs of the model's layers, and computes them in any pieces alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import GGUFReader

from localrun.engine.context import LlamaContext
from localrun.engine.params import CacheType, LoadOptions, SamplingParams
from localrun.engine.scheduler import ScheduledChunk, SchedulerLimits
from localrun.engine.sequence import Sequence
from localrun.engine.speculation import head_context
from localrun.engine.speculation.eagle_context import EagleContext
from localrun.engine.speculation.mtp_context import MtpInputs
from localrun.engine.speculation.mtp_layers import MtpLayers
from tests.engine.speculation.running import loaded
from tests.engine.tiny import LAYERS, WIDTH, eagle3, full_attention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.engine.llama.model import Model

LIMITS = SchedulerLimits(num_slots=2, num_cells=256, num_drafts=8)
EXACT = LoadOptions(cache_type=CacheType.F32, flash_attention=False)
TARGETS = (0, 2, LAYERS)  # the first input is the embedding, the last one is behind all layers
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def folder(guide_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("eagle")
    full_attention(found / "model.gguf", guide_path)
    eagle3(found / "head.gguf", guide_path, TARGETS)
    eagle3(found / "poor.gguf", guide_path, TARGETS, has_ends=False)
    return found


@pytest.fixture(scope="module")
def target(folder: Path) -> Iterator[Model]:
    model = loaded(folder / "model.gguf")
    yield model
    model.close()


@pytest.fixture(scope="module")
def eagle(folder: Path, target: Model) -> Iterator[EagleContext]:
    head = loaded(folder / "head.gguf")
    context = EagleContext(head, target, LIMITS, num_threads=1)
    yield context
    context.close()
    head.close()


def tensor(path: Path, name: str) -> np.ndarray:
    found = next(each for each in GGUFReader(path).tensors if each.name == name)
    return np.asarray(found.data)


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def test_the_features_are_the_inputs_of_the_layers_that_the_head_names(
    folder: Path, target: Model, eagle: EagleContext
) -> None:
    layers = MtpLayers(eagle, 2)
    context = LlamaContext(target, LIMITS, num_threads=1, options=EXACT, mtp=layers)
    seq = Sequence(request_id=1, tokens=[400, 500, 600], max_tokens=9, sampling=SamplingParams())
    cache = context.open_cache()
    assert cache.allocate(seq, 8)

    context.forward([ScheduledChunk(seq, 3, ())])
    found = eagle.features.read(context._unified.handle, 3)

    embeddings = tensor(folder / "model.gguf", "token_embd.weight")
    assert found.shape == (3, WIDTH * len(TARGETS))
    assert np.allclose(found[:, :WIDTH], embeddings[[400, 500, 600]], atol=TOLERANCE)
    assert not np.allclose(found[:, WIDTH : 2 * WIDTH], found[:, 2 * WIDTH :], atol=0.1)
    cache.free(seq)
    context.close()


def test_the_encoder_is_the_heads_matrix(folder: Path, eagle: EagleContext) -> None:
    given = rows(150, eagle.features.width)  # in three parts

    found = eagle.encode(given)

    assert found.shape == (150, eagle.width)
    assert np.allclose(found, given @ tensor(folder / "head.gguf", "fc.weight").T, atol=TOLERANCE)


@pytest.mark.parametrize("step", [2, 5, 64])
def test_inputs_of_several_sequences_are_computed_in_pieces_alike(
    folder: Path, target: Model, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(head_context, "STEP_TOKENS", step)
    head = loaded(folder / "head.gguf")
    context = EagleContext(head, target, LIMITS, num_threads=1)
    both = [
        MtpInputs(seq, 1, list(range(300, 300 + count)), rows(count, context.width, seq))
        for seq, count in ((0, 13), (1, 30))
    ]

    together = context.compute(both)
    for each in both:
        context.truncate(each.seq_id, 0)
    alone = [context.compute([each]) for each in both]

    assert together is not None
    for one, other in zip(together, alone, strict=True):
        assert other is not None
        assert one.token == other[0].token
        assert np.allclose(one.hidden, other[0].hidden, atol=TOLERANCE)
    context.close()
    head.close()


def test_a_head_without_embeddings_and_output_takes_those_of_the_model(
    folder: Path, target: Model
) -> None:
    head = loaded(folder / "poor.gguf")
    context = EagleContext(head, target, LIMITS, num_threads=1)

    outputs = context.compute([MtpInputs(0, 1, [300, 301], rows(2, context.width))])

    assert outputs is not None
    assert 0 <= outputs[0].token < target.num_vocab
    context.close()
    head.close()


def test_without_free_cells_nothing_is_drafted(eagle: EagleContext) -> None:
    count = LIMITS.num_cells + 1
    inputs = MtpInputs(0, 1, [300] * count, rows(count, eagle.width))

    assert eagle.compute([inputs]) is None
    eagle.truncate(0, 0)
    with pytest.raises(ValueError, match="inputs of the head"):
        eagle.compute([])
