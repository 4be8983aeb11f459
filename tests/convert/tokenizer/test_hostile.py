"""Every kind of tokenizer on text in 22 scripts, and on what lies between letters.

The tokens are those of the library that reads the same file elsewhere. Where llama.cpp computes
others whatever the file says, the text is listed with the reason; the list is exact, so that a
version of llama.cpp that does better is noticed.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import pytest

from localrun.convert.model import convert_folder
from localrun.convert.tokenizer import splitting
from localrun.errors import IntegrityError, UsageError
from tests.convert import oracle
from tests.convert.loading import loaded
from tests.convert.oracle.checkpoints import weights, write_checkpoint
from tests.convert.quantized.matrices import CONFIG, SHAPES
from tests.convert.tiny import encoder
from tests.convert.tokenizer.hostile import HOSTILE, ODD, SCRIPTS
from tests.convert.tokenizer.test_tokens import (
    BYTE_LEVEL,
    GEMMA_LIKE,
    PIECES,
    PREFIXED,
    SPECIAL,
    WORDS,
    converted,
    tied,
)
from tests.convert.tokenizer.training import (
    byte_level,
    ids,
    pieces,
    unigram,
    wordpiece,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = {text: name for name, text in SCRIPTS.items()}
NAMES |= {text: f"odd {index}" for index, text in enumerate(ODD)}
# llama.cpp's expression leaves marks out of words, and takes letters beyond ASCII for both cases
MARKS = frozenset({
    "Latin", "Hebrew", "Arabic", "Syriac", "Devanagari", "Bengali", "Tamil", "Telugu", "Thai",
    "Lao", "Tibetan", "Khmer", "odd 5", "odd 21", "odd 22",
})  # fmt: skip
KNOWN = {"tekken": MARKS, "gpt-4o": MARKS}
# llama.cpp has no longest word, other blank characters, and strips other marks than BERT does
WORD_PIECES = {
    False: frozenset({"odd 3", "odd 16"}),
    True: frozenset({
        "Devanagari", "Bengali", "Telugu", "Khmer", "Hangul", "odd 3", "odd 6", "odd 16", "odd 22",
    }),
}  # fmt: skip


# a space at the end, and one before the tokens of a dialogue
UNIGRAM = frozenset({"odd 11", "odd 20"})
ROLES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def different(path: Path, description: dict[str, Any]) -> frozenset[str]:
    """Return the names of the texts that become other tokens."""
    with loaded(path) as model:
        return frozenset(
            NAMES[text] for text in HOSTILE if model.tokenize(text) != ids(description, text)
        )


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_byte_level_tokenizers(tmp_path: Path, name: str) -> None:
    description = BYTE_LEVEL[name](texts=HOSTILE)

    path = converted(tied("qwen2", "Qwen2ForCausalLM"), tmp_path / "model", description, SPECIAL)

    assert different(path, description) == KNOWN.get(name, frozenset())


@pytest.mark.parametrize(("normalizer", "splitter"), [(PREFIXED, None), GEMMA_LIKE])
def test_pieces_of_sentencepiece(tmp_path: Path, normalizer: Any, splitter: Any) -> None:
    description = pieces(normalizer, splitter, HOSTILE)

    path = converted(tied("llama", "LlamaForCausalLM"), tmp_path / "model", description, PIECES)

    assert different(path, description) == frozenset()


@pytest.mark.parametrize("lowercase", [True, False])
def test_word_pieces(tmp_path: Path, *, lowercase: bool) -> None:
    description = wordpiece(lowercase=lowercase, texts=HOSTILE)

    path = converted(encoder("BertModel"), tmp_path / "model", description, WORDS)

    assert different(path, description) == WORD_PIECES[lowercase]


def test_pieces_of_gemma_4(tmp_path: Path) -> None:
    description = pieces(*GEMMA_LIKE, HOSTILE)
    known = json.loads((Path(oracle.__file__).parent / "golden" / "gemma4.json").read_text())
    count = 1 + max(
        *description["model"]["vocab"].values(), *(t["id"] for t in description["added_tokens"])
    )
    shapes = {
        name: [count, *shape[1:]] if "embed_tokens" in name else shape
        for name, shape in known["shapes"].items()
    }
    folder = write_checkpoint(
        tmp_path / "model", {**known["config"], "vocab_size": count}, weights(shapes)
    )
    write(folder, description, PIECES)

    convert_folder(folder, tmp_path / "made.gguf")

    assert different(tmp_path / "made.gguf", description) == frozenset()


def test_a_byte_level_tokenizer_of_an_encoder_adds_its_edges(tmp_path: Path) -> None:
    description = byte_level(None, texts=HOSTILE)
    description["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|start|>", "type_id": 0}},
                   {"Sequence": {"id": "A", "type_id": 0}},
                   {"SpecialToken": {"id": "<|end|>", "type_id": 0}}],
        "pair": [],
        "special_tokens": {text: {"id": text, "ids": [index], "tokens": [text]}
                           for index, text in enumerate(("<|start|>", "<|end|>"))},
    }  # fmt: skip
    known = json.loads((Path(oracle.__file__).parent / "golden" / "modernbert.json").read_text())
    count = 1 + max(description["model"]["vocab"].values()) + 2  # and two added tokens
    shapes = {
        name: [count, *shape[1:]] if "tok_embeddings" in name else shape
        for name, shape in known["shapes"].items()
    }
    config = {**known["config"], "vocab_size": count, "bos_token_id": 0, "eos_token_id": 1}
    folder = write_checkpoint(tmp_path / "model", config, weights(shapes))
    write(folder, description, {"cls_token": "<|start|>", "sep_token": "<|end|>"})

    convert_folder(folder, tmp_path / "made.gguf")

    assert different(tmp_path / "made.gguf", description) == frozenset()


def test_unigram_tokenizers(tmp_path: Path) -> None:
    description = unigram(HOSTILE)

    path = converted(encoder("BertModel"), tmp_path / "model", description, ROLES)

    assert different(path, description) == UNIGRAM


def test_the_table_of_characters_of_a_unigram_tokenizer_is_kept(tmp_path: Path) -> None:
    description, table = unigram(()), bytes(range(64))
    step = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}
    description["normalizer"]["normalizers"].insert(0, step)

    path = converted(encoder("BertModel"), tmp_path / "model", description, ROLES)

    field = gguf.GGUFReader(path).fields["tokenizer.ggml.precompiled_charsmap"]
    assert bytes(field.contents()) == table


def tiktoken(description: Mapping[str, Any]) -> bytes:
    """Return a tiktoken file with the tokens of a byte-level tokenizer.json."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    codes = {chr(byte): byte for byte in shown}
    codes |= {chr(256 + index): byte for index, byte in enumerate(hidden)}
    special = {token["content"] for token in description["added_tokens"]}
    lines = [
        base64.b64encode(bytes(codes[letter] for letter in text)) + f" {index}".encode()
        for text, index in description["model"]["vocab"].items()
        if text not in special
    ]
    return b"\n".join(lines) + b"\n"


def write_tiktoken(folder: Path, description: Mapping[str, Any], data: bytes) -> Path:
    """Write a LLaMA whose tokenizer is a tiktoken file."""
    count = 1 + max(
        *description["model"]["vocab"].values(), *(t["id"] for t in description["added_tokens"])
    )
    shapes = {name: [count, *s[1:]] if s[0] == 300 else s for name, s in SHAPES.items()}
    write_checkpoint(folder, {**CONFIG, "vocab_size": count}, weights(shapes))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(data)
    decoder = {str(t["id"]): {"content": t["content"]} for t in description["added_tokens"]}
    settings = {"added_tokens_decoder": decoder, "bos_token": "<|start|>", "eos_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def test_tiktoken_files(tmp_path: Path) -> None:
    description = byte_level([splitting.LLAMA3], ignore_merges=True, texts=HOSTILE)
    folder = write_tiktoken(tmp_path / "model", description, tiktoken(description))

    convert_folder(folder, tmp_path / "made.gguf")

    assert different(tmp_path / "made.gguf", description) == frozenset()


@pytest.mark.parametrize(
    "line", [b"IQ==\n", b"I?== 900\n", b"IQ== x\n", b"IQ== 2\nIQ== 9\n", b"IQ== -1\n"]
)
def test_a_damaged_tiktoken_file_is_an_error(tmp_path: Path, line: bytes) -> None:
    description = byte_level([splitting.LLAMA3])
    folder = write_tiktoken(tmp_path / "model", description, tiktoken(description) + line)

    with pytest.raises(IntegrityError, match=r"tiktoken file|wrong or repeated"):
        convert_folder(folder, tmp_path / "made.gguf")


def test_a_tiktoken_file_that_would_take_hours_is_refused(tmp_path: Path) -> None:
    description = byte_level([splitting.LLAMA3])
    long = b"".join(
        base64.b64encode(index.to_bytes(1000, "big")) + b" %d\n" % (1000 + index)
        for index in range(1, 100)
    )
    folder = write_tiktoken(tmp_path / "model", description, tiktoken(description) + long)

    with pytest.raises(IntegrityError, match="too many long tokens"):
        convert_folder(folder, tmp_path / "made.gguf")


def test_a_tiktoken_file_of_another_architecture_is_refused(tmp_path: Path) -> None:
    description = byte_level([splitting.LLAMA3])
    folder = write_tiktoken(tmp_path / "model", description, tiktoken(description))
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["SmolLM3ForCausalLM"]
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(UsageError, match="that of smollm3 is not known"):
        convert_folder(folder, tmp_path / "made.gguf")
