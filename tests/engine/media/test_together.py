"""Answers about media beside a full machine, and with adapters, are those of each alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from localrun.engine.llama.lora_adapters import AdapterFile
from tests.engine.media.pairs import ARCHITECTURES, INNER, LAYERS, WIDTH
from tests.engine.media.seeing import LIMITS, Pair, Seeing, answer, picture, tone
from tests.engine.media.test_answers import AFTER, BEFORE, EXACT
from tests.engine.tiny import AdaptedShape, adapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from localrun.engine.llama.lora_adapters import AdapterSet

SHAPE = AdaptedShape(width=WIDTH, inner=INNER, layers=LAYERS)
FULL = replace(LIMITS, num_slots=16, num_cells=16384)
NUM_OTHERS = 15
STORY = "<|im_start|>user\nTell me story number {}.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
def medium(family: str) -> Callable[[int], np.ndarray]:
    return tone if family == "ultravox" else picture


@pytest.fixture
def adapters(family: str, tmp_path: Path) -> AdapterSet:
    path = tmp_path / "adapter.gguf"
    adapter(path, ARCHITECTURES.get(family, "llama"), 7, SHAPE)
    status = path.stat()
    return ((AdapterFile(str(path), status.st_size, status.st_mtime_ns), 1.0),)


def alone(pair: Pair, prompt: list[Any], adapters: AdapterSet = ()) -> list[int]:
    fresh = Seeing(pair, options=EXACT)
    (seq,) = fresh.ask(prompt, adapters=adapters)
    fresh.close()
    return answer(seq)


def test_an_answer_beside_fifteen_other_sequences_is_what_it_is_alone(
    pair: Pair, medium: Callable[[int], np.ndarray]
) -> None:
    question = [BEFORE, medium(1), AFTER]
    expected = alone(pair, question)
    pair.library.embeddings.clear()
    seeing = Seeing(pair, FULL, EXACT)
    others: list[list[Any]] = [[STORY.format(number)] for number in range(NUM_OTHERS - 2)]
    others += [[BEFORE, medium(2), AFTER], [STORY.format(99), medium(3), AFTER]]
    for seq in seeing.sequences(*others, new=40):
        seeing.engine.submit(seq)
    while len(seeing.scheduler.running) < NUM_OTHERS:
        seeing.step()

    (seq,) = seeing.ask(question)

    assert answer(seq) == expected
    seeing.close()


def test_an_adapter_changes_the_answer_and_shares_embeddings_but_no_cells(
    pair: Pair, medium: Callable[[int], np.ndarray], adapters: AdapterSet
) -> None:
    question = [BEFORE, medium(1), AFTER]
    expected = [alone(pair, question), alone(pair, question, adapters)]
    pair.library.embeddings.clear()
    seeing = Seeing(pair, options=EXACT)

    plain, adapted = seeing.sequences(question), seeing.sequences(question, adapters=adapters)
    for seq in (*plain, *adapted):
        seeing.engine.submit(seq)
    seeing.finish()
    (again,) = seeing.ask(question, adapters=adapters)

    assert [answer(plain[0]), answer(adapted[0])] == expected
    assert expected[0] != expected[1]
    assert seeing.encoder.num_encoded == len(plain[0].media.chunks)  # type: ignore[union-attr]
    assert adapted[0].num_cached == 0
    assert again.num_cached > 0
    assert answer(again) == expected[1]
    seeing.close()
