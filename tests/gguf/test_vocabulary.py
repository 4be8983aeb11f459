"""One model can draft for another if its tokens are the first ones of the other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError
from localrun.gguf import vocabulary
from localrun.gguf.vocabulary import MAX_EXTRA_TOKENS, vocabulary_problem
from tests.gguf import builder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WORDS = tuple(f"word{n}" for n in range(3000))


def write(path: Path, words: Sequence[str] = WORDS, tokenizer: str = "gpt2") -> Path:
    pairs = [
        builder.pair("general.architecture", builder.STRING, "llama"),
        builder.pair(vocabulary.TOKENIZER, builder.STRING, tokenizer),
        builder.array("tokenizer.ggml.scores", builder.F32, [0.0] * len(words)),
        builder.array(vocabulary.TOKENS, builder.STRING, [*words]),
        builder.array("tokenizer.ggml.merges", builder.STRING, ["a b"] * 2000),
    ]
    path.write_bytes(builder.header(pairs))
    return path


@pytest.mark.parametrize("block", [7, 1024 * 1024])
def test_equal_tokens_are_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(vocabulary, "BLOCK_BYTES", block)
    target, draft = write(tmp_path / "target.gguf"), write(tmp_path / "draft.gguf")

    assert vocabulary_problem(target, draft) == ""


def test_the_model_may_have_a_few_tokens_more(tmp_path: Path) -> None:
    most = [*WORDS, *(f"<pad{n}>" for n in range(MAX_EXTRA_TOKENS))]
    draft = write(tmp_path / "draft.gguf")

    assert vocabulary_problem(write(tmp_path / "most.gguf", most), draft) == ""
    many = write(tmp_path / "many.gguf", [*most, "one more"])
    assert vocabulary_problem(many, draft) == "it has 3000 tokens, the model 3129"
    assert vocabulary_problem(draft, many) == "it has 3129 tokens, the model 3000"


@pytest.mark.parametrize("place", [0, 1500, 2999])
def test_one_other_token_is_a_problem(tmp_path: Path, place: int) -> None:
    words = [*WORDS]
    words[place] = "w" * len(words[place])  # of the same length

    problem = vocabulary_problem(
        write(tmp_path / "target.gguf"), write(tmp_path / "draft.gguf", words)
    )

    assert problem == "its tokens spell other text than the model's"


def test_a_shorter_vocabulary_in_bytes_is_not_read_beyond_its_end(tmp_path: Path) -> None:
    target = write(tmp_path / "target.gguf", ["w"] * 3000)

    problem = vocabulary_problem(target, write(tmp_path / "draft.gguf"))

    assert problem == "its tokens spell other text than the model's"


def test_another_tokenizer_spells_the_same_tokens_otherwise(tmp_path: Path) -> None:
    draft = write(tmp_path / "draft.gguf", tokenizer="llama")

    problem = vocabulary_problem(write(tmp_path / "target.gguf"), draft)

    assert problem == "its tokenizer is llama, the model's gpt2"


def test_a_vocabulary_that_is_too_large_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "MAX_VOCABULARY_BYTES", 1000)
    target, draft = write(tmp_path / "target.gguf"), write(tmp_path / "draft.gguf")

    assert vocabulary_problem(target, draft) == "its vocabulary takes more than 1000 bytes"


def test_a_file_without_a_vocabulary_drafts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "head.gguf"
    path.write_bytes(builder.header([]))

    assert vocabulary_problem(write(tmp_path / "a.gguf"), path) == "a file has no vocabulary"


def test_a_file_that_changed_is_compared_again(tmp_path: Path) -> None:
    target, draft = write(tmp_path / "target.gguf"), write(tmp_path / "draft.gguf", ["other"] * 9)
    before = vocabulary_problem(target, draft)

    os.utime(write(draft), ns=(1, 1))

    assert before
    assert vocabulary_problem(target, draft) == ""


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "draft.gguf").write_bytes(b"GGUF")

    with pytest.raises(IntegrityError, match=r"draft\.gguf"):
        vocabulary_problem(write(tmp_path / "target.gguf"), tmp_path / "draft.gguf")
