"""Converted tokenizers must give the tokens that the library of the original gives."""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tokenizers import Regex, normalizers, pre_tokenizers

from localrun.convert.model import convert_folder
from localrun.convert.tokenizer import splitting
from localrun.gguf.header import read_header
from tests.convert.loading import loaded
from tests.convert.tiny import decoder, encoder
from tests.convert.tokenizer.training import (
    SPACE,
    TEXTS,
    byte_level,
    ids,
    pieces,
    wordpiece,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.convert.tiny import Tiny

PREFIXED = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
GEMMA_LIKE = (
    normalizers.Replace(" ", SPACE),
    pre_tokenizers.Split(" ", "merged_with_previous"),
)
BYTE_LEVEL: dict[str, Callable[..., dict[str, Any]]] = {
    "qwen2": partial(byte_level, [splitting.QWEN2]),
    "qwen35": partial(byte_level, [splitting.QWEN35]),
    "llama-bpe": partial(byte_level, [splitting.LLAMA3], ignore_merges=True, starts=True),
    "dbrx": partial(byte_level, [splitting.LLAMA3]),
    "tekken": partial(byte_level, [splitting.TEKKEN], ignore_merges=True),
    "gpt-4o": partial(byte_level, [splitting.GPT4O]),
    "deepseek-llm": partial(byte_level, list(splitting.DEEPSEEK[:-1]), digits=True),
    "deepseek-v3": partial(byte_level, list(splitting.DEEPSEEK3)),
    "seed-coder": partial(byte_level, [splitting.SEED]),
    "gpt-2": partial(byte_level, None),
    "smollm": partial(byte_level, None, digits=True),
}
SPECIAL = {"bos_token": "<|start|>", "eos_token": {"content": "<|end|>"}}
PIECES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
WORDS = {f"{role}_token": f"[{role.upper()}]" for role in ("unk", "cls", "sep", "pad", "mask")}


def converted(
    tiny: Tiny, folder: Path, description: dict[str, Any], settings: dict[str, Any]
) -> Path:
    """Convert a model that has a row for each token of this tokenizer."""
    vocab = description["model"]["vocab"]
    numbers = vocab.values() if isinstance(vocab, dict) else range(len(vocab))
    highest = max(*numbers, *(token["id"] for token in description["added_tokens"]))
    for name, array in tiny.tensors.items():
        if "word_embeddings" in name or "embed_tokens" in name:
            tiny.tensors[name] = np.resize(array, (highest + 1, array.shape[1]))
    tiny.write(folder)
    write(folder, description, settings)
    convert_folder(folder, folder.with_suffix(".gguf"))
    return folder.with_suffix(".gguf")


def other_tokens(path: Path, description: dict[str, Any]) -> list[str]:
    """Return the texts that do not become the tokens that they should."""
    with loaded(path) as model:
        return [
            f"{text!r}: {model.tokenize(text)} is not {ids(description, text)}"
            for text in TEXTS
            if model.tokenize(text) != ids(description, text)
        ]


def tied(model_type: str, architecture: str) -> Tiny:
    return decoder(model_type, architecture, tie_word_embeddings=True)


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_byte_level_tokens_are_the_same(tmp_path: Path, name: str) -> None:
    description = BYTE_LEVEL[name]()

    path = converted(tied("qwen2", "Qwen2ForCausalLM"), tmp_path / "model", description, SPECIAL)

    assert read_header(path).text("tokenizer.ggml.pre") == name
    assert other_tokens(path, description) == []


@pytest.mark.parametrize(("normalizer", "splitter"), [(PREFIXED, None), GEMMA_LIKE])
def test_pieces_are_the_same(tmp_path: Path, normalizer: Any, splitter: Any) -> None:
    description = pieces(normalizer, splitter)

    path = converted(tied("llama", "LlamaForCausalLM"), tmp_path / "model", description, PIECES)

    assert other_tokens(path, description) == []


@pytest.mark.parametrize("scheme", ["first", "always"])
def test_newer_pieces_are_the_same_but_for_a_space_more(tmp_path: Path, scheme: Any) -> None:
    description = pieces(None, pre_tokenizers.Metaspace(SPACE, scheme, split=False))

    path = converted(tied("llama", "LlamaForCausalLM"), tmp_path / "model", description, PIECES)

    # llama.cpp puts a space in front of a text that has one, and after control tokens
    assert all("'  two" in text or "<|end|>" in text for text in other_tokens(path, description))


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_pieces_are_the_same(tmp_path: Path, *, lowercase: bool) -> None:
    description = wordpiece(lowercase=lowercase)

    path = converted(encoder("BertModel"), tmp_path / "model", description, WORDS)

    assert other_tokens(path, description) == []


def test_a_vocab_txt_gives_the_same_word_pieces(tmp_path: Path) -> None:
    description = wordpiece(lowercase=True)
    path = converted(encoder("BertModel"), tmp_path / "model", description, WORDS)
    vocab = description["model"]["vocab"]
    (tmp_path / "model" / "tokenizer.json").unlink()
    lines = "".join(f"{text}\n" for text in sorted(vocab, key=vocab.__getitem__))
    (tmp_path / "model" / "vocab.txt").write_text(lines)

    convert_folder(tmp_path / "model", path)

    assert other_tokens(path, description) == []


def test_a_tokenizer_model_gives_the_same_pieces(tmp_path: Path) -> None:
    description = pieces(PREFIXED)
    description["added_tokens"] = [t for t in description["added_tokens"] if t["id"] < 3]
    path = converted(tied("llama", "LlamaForCausalLM"), tmp_path / "model", description, PIECES)
    (tmp_path / "model" / "tokenizer.json").unlink()
    (tmp_path / "model" / "tokenizer.model").write_bytes(sentencepiece(description))

    convert_folder(tmp_path / "model", path)

    assert other_tokens(path, description) == []


def sentencepiece(description: dict[str, Any]) -> bytes:
    """Return a tokenizer.model with the pieces of a tokenizer.json."""
    vocab = description["model"]["vocab"]
    data = b""
    for text in sorted(vocab, key=vocab.__getitem__):
        kind = {"<unk>": 2, "<s>": 3, "</s>": 3}.get(text, 6 if text.startswith("<0x") else 1)
        score = -float(vocab[text])
        piece = (
            field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])
        )
        data += field(1, piece)
    return data + field(2, b"\x18\x02") + field(3, b"\x18\x01")


def field(number: int, data: bytes) -> bytes:
    assert len(data) < 0x80
    return bytes([number << 3 | 2, len(data)]) + data


def test_the_rules_are_regular_expressions() -> None:
    for rule in (splitting.LLAMA3, splitting.QWEN2, splitting.TEKKEN, splitting.GPT4O):
        parts = pre_tokenizers.Split(Regex(rule), "isolated").pre_tokenize_str("It's 12 of 'em")
        assert "".join(text for text, _ in parts) == "It's 12 of 'em"
