"""Prompts with images and sounds come back from the disk, behind the media too, and no others."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from localrun.engine.media.encoder import MediaEncoder
from localrun.runner.media.stable_ids import StableIds
from localrun.runner.prompt_saver import PromptSaver
from tests.engine.media.seeing import Pair, picture, tone
from tests.runner.test_prompt_saver import Serving
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from localrun.engine.sequence import Sequence

BEFORE, AFTER = "<|im_start|>user\nLook: ", " What is it?<|im_end|>\n<|im_start|>assistant\n"
LONG = "Once upon a time there was a fox who looked at pictures. " * 15  # nearly one segment


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a runner that ends wait for a busy disk."""
    monkeypatch.setattr(PromptSaver, "close", functools.partialmethod(PromptSaver.close, HANG_S))


@pytest.fixture
def medium(family: str) -> Callable[[int], np.ndarray]:
    return tone if family == "ultravox" else picture


class Run:
    """One life of a runner, which knows no medium at first; ``seen`` come before the prompts."""

    def __init__(self, pair: Pair, root: Path, *seen: np.ndarray) -> None:
        self.pair = Pair(pair.model, pair.projector)
        self._held = [self.pair.parts(one) for one in seen]  # they take the first ids
        self.encoder = MediaEncoder(pair.projector, self.pair.library)
        self._serving = Serving(pair.model, root, encoder=self.encoder)

    def ask(self, prompt: list[Any], more: list[int]) -> Sequence:
        asked = self.pair.sequence(prompt)
        return self._serving.ask([*asked.tokens, *more], media=asked.media)

    def close(self) -> None:
        self._serving.close()


def ask_once(
    pair: Pair, root: Path, prompt: list[Any], *seen: np.ndarray, more: tuple[int, ...] = ()
) -> tuple[Sequence, int]:
    """Return the sequence of a prompt and ``more`` tokens in a runner of its own.

    The second value is the number of chunks that it encoded.
    """
    run = Run(pair, root, *seen)
    seq = run.ask(prompt, [*more])
    run.close()
    return seq, run.encoder.num_encoded


def test_a_chat_with_media_goes_on_behind_them_after_a_restart(
    pair: Pair, medium: Callable[[int], np.ndarray], tmp_path: Path
) -> None:
    prompt = [LONG, BEFORE, medium(1), AFTER]
    first, num_encoded = ask_once(pair, tmp_path / "saved", prompt)
    more = (*first.tokens[first.num_prompt : -1], *pair.model.tokenize(" And?"))
    expected, _ = ask_once(pair, tmp_path / "other", prompt, more=more)

    second, num_again = ask_once(pair, tmp_path / "saved", prompt, medium(7), medium(8), more=more)

    assert num_encoded > 0
    assert num_again == 0
    assert second.num_cached > second.media.chunks[-1].end  # type: ignore[union-attr]
    assert second.tokens[second.num_prompt :] == expected.tokens[expected.num_prompt :]


def test_another_medium_of_equal_shape_does_not_come_back(
    pair: Pair, medium: Callable[[int], np.ndarray], tmp_path: Path
) -> None:
    ask_once(pair, tmp_path / "saved", [LONG, BEFORE, medium(1), AFTER])
    expected, _ = ask_once(pair, tmp_path / "other", [LONG, BEFORE, medium(2), AFTER])

    second, num_encoded = ask_once(pair, tmp_path / "saved", [LONG, BEFORE, medium(2), AFTER])

    assert num_encoded > 0
    assert second.num_cached <= second.media.chunks[0].start  # type: ignore[union-attr]
    assert second.tokens[second.num_prompt :] == expected.tokens[expected.num_prompt :]


def test_media_of_a_file_that_are_unknown_here_are_not_translated(
    pair: Pair, medium: Callable[[int], np.ndarray]
) -> None:
    here, there = Pair(pair.model, pair.projector), Pair(pair.model, pair.projector)
    there.parts(medium(3))
    ids, others = (StableIds(one.library, hash_of) for one in (here, there))
    sequences = [one.sequence([BEFORE, medium(1), AFTER]) for one in (here, there)]

    stable = ids.stable(sequences[0].tokens)

    assert others.local(stable) is None
    assert others.stable(sequences[1].tokens) == stable
    assert others.local(stable) == sequences[1].tokens
    assert sequences[0].tokens != sequences[1].tokens


def hash_of(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:7])
