"""A DFlash head drafts what its formula says, from rows that come in any pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import GGUFReader

from localrun.engine.scheduler import SchedulerLimits
from localrun.engine.speculation import head_context
from localrun.engine.speculation.dflash_context import DFlashContext
from localrun.engine.speculation.mtp_context import MtpInputs
from localrun.errors import LoadError
from tests.engine.speculation.running import loaded
from tests.engine.tiny import HEAD, HEADS, LAYERS, WIDTH, dflash, full_attention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.engine.llama.model import Model

LIMITS = SchedulerLimits(num_slots=2, num_cells=256, num_drafts=8)
TARGETS = (0, 2, LAYERS)
BLOCK, MASK = 8, 299
EPSILON, BASE = 1e-5, 10000.0


class Reference:
    """The head in numpy: rows become keys and values, a block attends to them and to itself."""

    def __init__(self, path: Path) -> None:
        self._tensors = {each.name: np.asarray(each.data) for each in GGUFReader(path).tensors}

    def draft(self, rows: np.ndarray, first: int, token: int, length: int) -> list[int]:
        """Return draft tokens behind a token, whose rows before it begin at a position."""
        fused = _norm(rows @ self._tensors["fc.weight"].T)
        known = np.arange(first, first + len(rows))
        places = np.arange(first + len(rows), first + len(rows) + length + 1)
        state = self._tensors["token_embd.weight"][[token] + [MASK] * length]
        for layer in range(2):
            normed = _norm(state)
            keys = np.concatenate(
                [self._keys(layer, fused, known), self._keys(layer, normed, places)]
            )
            values = np.concatenate(
                [self._heads(layer, "v", fused), self._heads(layer, "v", normed)]
            )
            queries = _rotated(_norm(self._heads(layer, "q", normed)), places)
            state = state + self._attended(layer, queries, keys, values)
            state = state + self._fed_forward(layer, _norm(state))
        logits = _norm(state) @ self._tensors["output.weight"].T
        return [int(row.argmax()) for row in logits[1:]]

    def _weight(self, layer: int, name: str) -> np.ndarray:
        return np.asarray(self._tensors[f"blk.{layer}.{name}.weight"])

    def _heads(self, layer: int, part: str, inputs: np.ndarray) -> np.ndarray:
        heads = inputs @ self._weight(layer, f"attn_{part}").T
        return np.asarray(heads.reshape(len(inputs), HEADS, HEAD))

    def _keys(self, layer: int, inputs: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return _rotated(_norm(self._heads(layer, "k", inputs)), positions)

    def _attended(
        self, layer: int, queries: np.ndarray, keys: np.ndarray, values: np.ndarray
    ) -> np.ndarray:
        scores = np.einsum("qhd,khd->hqk", queries, keys) / np.sqrt(HEAD)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", weights, values).reshape(len(queries), WIDTH)
        return np.asarray(mixed @ self._weight(layer, "attn_output").T)

    def _fed_forward(self, layer: int, inputs: np.ndarray) -> np.ndarray:
        gate = inputs @ self._weight(layer, "ffn_gate").T
        up = inputs @ self._weight(layer, "ffn_up").T
        return np.asarray((gate / (1 + np.exp(-gate)) * up) @ self._weight(layer, "ffn_down").T)


def _norm(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.sqrt((rows**2).mean(axis=-1, keepdims=True) + EPSILON))


def _rotated(heads: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return queries or keys at their positions; element i is rotated with i + half."""
    half = HEAD // 2
    angles = positions[:, None] * BASE ** (-np.arange(half) / half)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    low, high = heads[..., :half], heads[..., half:]
    return np.concatenate([low * cos - high * sin, low * sin + high * cos], axis=-1)


@pytest.fixture(scope="module")
def folder(guide_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("dflash")
    full_attention(found / "model.gguf", guide_path)
    dflash(found / "head.gguf", guide_path, TARGETS, block_size=BLOCK, mask_token=MASK)
    dflash(found / "poor.gguf", guide_path, TARGETS, has_ends=False)
    dflash(found / "maskless.gguf", guide_path, TARGETS, mask_token=2**31 - 1)
    return found


@pytest.fixture(scope="module")
def target(folder: Path) -> Iterator[Model]:
    model = loaded(folder / "model.gguf")
    yield model
    model.close()


@pytest.fixture(scope="module")
def head(folder: Path) -> Iterator[Model]:
    model = loaded(folder / "head.gguf")
    yield model
    model.close()


@pytest.fixture
def context(head: Model, target: Model) -> Iterator[DFlashContext]:
    found = DFlashContext(head, target, LIMITS, num_threads=1)
    yield found
    found.close()


def rows(count: int, seed: int = 0) -> np.ndarray:
    shape = (count, WIDTH * len(TARGETS))
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def inputs(count: int, *, seq_id: int = 0, position: int = 1, token: int = 400) -> MtpInputs:
    """Return inputs of so many rows, behind which a token is pending."""
    tokens = [*range(300, 300 + count - 1), token]
    return MtpInputs(seq_id, position, tokens, rows(count, seq_id))


def test_a_block_is_drafted_as_the_formula_says(folder: Path, context: DFlashContext) -> None:
    reference = Reference(folder / "head.gguf")
    expected = [
        reference.draft(rows(13), 0, 400, 5),
        reference.draft(rows(70, 1), 4, 500, 5),  # in two parts
    ]

    found = context.draft([inputs(13), inputs(70, seq_id=1, position=5, token=500)], [5, 5])

    assert found == expected
    assert len({token for tokens in found for token in tokens}) > 2


def test_rows_that_come_later_are_added_and_the_block_is_forgotten(
    folder: Path, context: DFlashContext
) -> None:
    reference = Reference(folder / "head.gguf")
    given = rows(20)

    context.draft([MtpInputs(0, 1, list(range(301, 313)), given[:12])], [6])
    context.truncate(0, 13)
    found = context.draft([MtpInputs(0, 13, [*range(313, 320), 777], given[12:])], [4])

    assert found == [reference.draft(given, 0, 777, 4)]


@pytest.mark.parametrize(("lengths", "lengths_found"), [([3, 1], [3, 1]), ([30, 2], [7, 2])])
def test_drafts_are_as_long_as_wanted_up_to_the_block_of_the_head(
    context: DFlashContext, lengths: list[int], lengths_found: list[int]
) -> None:
    found = context.draft([inputs(3), inputs(4, seq_id=1)], lengths)

    assert [len(tokens) for tokens in found] == lengths_found


def test_a_call_is_divided_as_llama_cpp_takes_it(
    head: Model, target: Model, monkeypatch: pytest.MonkeyPatch, context: DFlashContext
) -> None:
    monkeypatch.setattr(head_context, "STEP_TOKENS", 5)
    small = DFlashContext(head, target, LIMITS, num_threads=1)

    found = small.draft([inputs(13)], [7])

    assert found == [tokens[:4] for tokens in context.draft([inputs(13)], [4])]
    small.truncate(0, 0)
    both = small.draft([inputs(13, seq_id=number) for number in range(2)], [7, 7])
    assert [len(tokens) for tokens in both] == [1, 1]
    small.close()


def test_a_head_without_embeddings_and_output_takes_those_of_the_model(
    folder: Path, target: Model
) -> None:
    poor = loaded(folder / "poor.gguf")
    context = DFlashContext(poor, target, LIMITS, num_threads=1)

    (tokens,) = context.draft([inputs(3)], [4])

    assert len(tokens) == 4
    assert all(0 <= token < target.num_vocab for token in tokens)
    context.close()
    poor.close()


def test_without_free_cells_nothing_is_drafted(context: DFlashContext) -> None:
    assert context.draft([inputs(LIMITS.num_cells)], [3]) == [[]]
    assert context.draft([inputs(LIMITS.num_cells + 1, seq_id=1)], [3]) == [[]]
    with pytest.raises(ValueError, match="rows of the head"):
        context.draft([], [])


def test_a_head_without_a_mask_token_is_refused(folder: Path, target: Model) -> None:
    maskless = loaded(folder / "maskless.gguf")

    with pytest.raises(LoadError, match="no mask token"):
        DFlashContext(maskless, target, LIMITS, num_threads=1)

    maskless.close()
