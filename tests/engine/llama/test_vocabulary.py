"""A load reads a vocabulary in bulk, and spells the tokens that replies have."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
import pytest

from localrun.engine.context import LlamaContext
from localrun.engine.engine import Engine
from localrun.engine.llama import special_tokens
from localrun.engine.llama import vocabulary as module
from localrun.engine.llama.library import start
from localrun.engine.llama.model import load_model
from localrun.engine.llama.special_tokens import SPECIAL
from localrun.engine.llama.token_pieces import TokenSpeller
from localrun.engine.params import SamplingParams
from localrun.engine.scheduler import Scheduler
from localrun.engine.sequence import Sequence
from tests.engine.answering import CHAT, LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.engine.llama.model import Model


@pytest.fixture
def model(guide_path: Path) -> Iterator[Model]:
    model = load_model(
        [guide_path], native_log=start(), num_gpu_layers=0, on_progress=lambda _: None
    )
    yield model
    model.close()


class CountedSpeller(TokenSpeller):
    """Speller that counts what it asks llama.cpp for."""

    num_spelled = 0

    def _spelled(self, *arguments: object) -> bytes:
        type(self).num_spelled += 1
        return super()._spelled(*arguments)  # type: ignore[arg-type]


def spelled_one_by_one(model: Model, token: int) -> bytes:
    buffer, is_special = ctypes.create_string_buffer(256), True
    length = llama_cpp.llama_token_to_piece(model.vocab, token, buffer, 256, 0, is_special)
    return buffer.raw[:length]


def test_special_tokens_are_those_that_llama_cpp_reports(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(special_tokens, "TOKENS_PER_HOLD", 1000)  # they are read in several parts
    tokens = range(model.num_vocab)
    attributes = {token: llama_cpp.llama_vocab_get_attr(model.vocab, token) for token in tokens}

    special = model.special_tokens

    assert special.attributes == {
        token: attribute for token, attribute in attributes.items() if attribute & SPECIAL
    }
    assert model.control_texts


def test_end_tokens_are_those_that_llama_cpp_reports(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(special_tokens, "TOKENS_PER_HOLD", 1000)
    tokens = range(model.num_vocab)

    single = {token for token in [*tokens, -1, model.num_vocab] if token in model.eog}
    number = np.intp(min(single))

    assert single == {token for token in tokens if llama_cpp.llama_vocab_is_eog(model.vocab, token)}
    assert model.eog == single
    assert len(model.eog) == len(single)
    assert number in model.eog
    assert model.eog & {*single, 300} == single


def test_pieces_are_the_bytes_that_llama_cpp_writes(model: Model) -> None:
    expected = [spelled_one_by_one(model, token) for token in range(model.num_vocab)]
    single = model.pieces[300]

    pieces = list(model.pieces)

    assert single == expected[300]
    assert pieces == [b"" if n in model.eog else piece for n, piece in enumerate(expected)]
    assert model.pieces[5:9] == pieces[5:9]
    assert [model.spelled_piece(token) for token in model.eog] == [
        expected[token] for token in model.eog
    ]


def test_an_answer_spells_its_own_tokens_only(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CountedSpeller, "num_spelled", 0)
    model._speller = CountedSpeller(model.vocab, model.num_vocab)
    context = LlamaContext(model, LIMITS, num_threads=1)
    tokens = model.tokenize(CHAT)
    seq = Sequence(
        request_id=1,
        tokens=tokens,
        max_tokens=len(tokens) + 20,
        sampling=SamplingParams(temperature=0),
    )
    engine = Engine(
        context, Scheduler(LIMITS, context.open_cache()), pieces=model.pieces, eog=model.eog
    )
    engine.submit(seq)
    monkeypatch.setattr(special_tokens, "_of_each", None)  # which asks about every token

    text = "".join(output.text for _ in range(30) for output in engine.step())

    assert text
    assert CountedSpeller.num_spelled <= len(set(seq.tokens))
    context.close()


def test_special_tokens_are_read_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    read = special_tokens.read_special_tokens
    calls: list[int] = []

    def counted(vocab: int, num_vocab: int) -> object:
        calls.append(num_vocab)
        return read(vocab, num_vocab)

    monkeypatch.setattr(module, "read_special_tokens", counted)

    assert model.special_tokens.attributes
    assert model.control_texts
    assert model.tokenize("x" * 10_000)

    assert calls == [model.num_vocab]


def test_only_a_text_that_is_long_even_in_control_tokens_needs_all_pieces(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CountedSpeller, "num_spelled", 0)
    model._speller = CountedSpeller(model.vocab, model.num_vocab)
    longest = max(len(spelled_one_by_one(model, token)) for token in range(model.num_vocab))

    short = model.exceeds(100, 100)
    num_for_short = CountedSpeller.num_spelled
    fitting, too_long = model.exceeds(100 * longest, 100), model.exceeds(100 * longest + 1, 100)

    assert (short, fitting, too_long) == (False, False, True)
    assert num_for_short < model.num_vocab / 2
