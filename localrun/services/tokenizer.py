"""Tokenizer details in a GGUF file, read without loading the model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from localrun.gguf.header import Header, read_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_TOKENS = 2_000_000  # of a vocabulary; the reader bounds its bytes
SPECIAL = {  # special tokens by their usual name, and their name in GGUF
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
ADDED = ("add_bos_token", "add_eos_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerInfo:
    """Tokenizer of a model; fields that the file lacks are left out of both mappings."""

    kind: str  # llama.cpp's name of the algorithm, such as gpt2
    num_tokens: int
    special: dict[str, str]  # text of a token by its name in `SPECIAL`
    added: dict[str, bool]  # whether a token is added to prompts, by its name in `ADDED`


def read_tokenizer(path: Path) -> TokenizerInfo:
    """Return the tokenizer of a GGUF file; for a split model, of its first shard.

    Blocks; an unchanged file is read once.

    Raises:
        IntegrityError: the file is damaged.
    """
    status = path.stat()
    return _read_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _read_version(path: Path, _size_bytes: int, _modified_ns: int) -> TokenizerInfo:
    header = read_header(path, longest_kept=MAX_TOKENS)
    values = header.metadata.get("tokenizer.ggml.tokens")
    tokens: Sequence[object] = values if isinstance(values, list) else ()
    texts = {name: _token(header, tokens, key) for name, key in SPECIAL.items()}
    flags = {name: header.metadata.get(f"tokenizer.ggml.{name}") for name in ADDED}
    return TokenizerInfo(
        kind=header.text("tokenizer.ggml.model") or "unknown",
        num_tokens=len(tokens),
        special={name: text for name, text in texts.items() if text is not None},
        added={name: flag for name, flag in flags.items() if isinstance(flag, bool)},
    )


def _token(header: Header, tokens: Sequence[object], key: str) -> str | None:
    number = header.metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(number, int) or not 0 <= number < len(tokens):
        return None
    text = tokens[number]
    return text if isinstance(text, str) else None
