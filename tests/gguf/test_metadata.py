"""Metadata of a file that was read before: a vocabulary is not walked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError
from localrun.gguf.header import MIN_NOTED_ARRAY, SkippedArray, read_header, read_metadata
from localrun.gguf.reader import Reader
from tests.gguf import builder

if TYPE_CHECKING:
    from pathlib import Path

NUM_TOKENS = 150_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tokens: list[builder.Plain] = [f"token {number}" for number in range(NUM_TOKENS)]
    pairs = [
        builder.pair("general.architecture", builder.STRING, "llama"),
        builder.array("tokenizer.ggml.tokens", builder.STRING, tokens),
        builder.array("tokenizer.ggml.scores", builder.F32, [0.0] * NUM_TOKENS),
        builder.array("tokenizer.ggml.merges", builder.STRING, tokens[:MIN_NOTED_ARRAY]),
        builder.array("short", builder.STRING, list(tokens[: MIN_NOTED_ARRAY - 1])),
        builder.pair("tokenizer.chat_template", builder.STRING, "{{ messages }}"),
    ]
    path = tmp_path / "model.gguf"
    path.write_bytes(builder.header(pairs, [builder.tensor("output.weight", [4, 8])]))
    return path


def test_the_metadata_are_those_of_the_header(path: Path) -> None:
    header = read_header(path)

    metadata = read_metadata(path, header.array_ends)

    assert metadata == header.metadata
    assert metadata["tokenizer.ggml.tokens"] == SkippedArray(NUM_TOKENS)
    assert len(header.array_ends) == 2  # the short one is walked


def test_a_known_vocabulary_is_not_walked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, walked = read_header(path), []
    skip_strings = Reader.skip_strings

    def spy(reader: Reader, count: int) -> None:
        walked.append(count)
        skip_strings(reader, count)

    monkeypatch.setattr(Reader, "skip_strings", spy)
    read_metadata(path, header.array_ends)

    assert walked == [MIN_NOTED_ARRAY - 1]


def test_a_kept_vocabulary_is_read_although_its_end_is_known(path: Path) -> None:
    header = read_header(path)

    metadata = read_metadata(path, header.array_ends, longest_kept=NUM_TOKENS)

    tokens = metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, list)
    assert tokens[-1] == f"token {NUM_TOKENS - 1}"


@pytest.mark.parametrize("end", [-1, 0, 7, 10**18])
def test_the_ends_of_another_file_are_an_error(path: Path, end: int) -> None:
    ends = dict.fromkeys(read_header(path).array_ends, end)

    with pytest.raises(IntegrityError):
        read_metadata(path, ends)
