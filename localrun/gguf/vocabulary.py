"""Comparison of the vocabularies in two GGUF files: whether one model can draft for the other.

A draft model's tokens must be the first tokens of the other model, which may have a few more:
padding, or tokens that the draft model never generates. The bytes of both arrays are compared as
they are in the files, block by block; no token is decoded and nothing is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from localrun.gguf.header import SkippedArray, parse_header
from localrun.gguf.reader import Reader

if TYPE_CHECKING:
    from pathlib import Path

MAX_EXTRA_TOKENS = 128
MAX_VOCABULARY_BYTES = 64 * 1024 * 1024  # the largest take 5 MB
BLOCK_BYTES = 1024 * 1024
TOKENS, TOKENIZER = "tokenizer.ggml.tokens", "tokenizer.ggml.model"
ARRAY_HEAD_BYTES = 16  # u32 type, u32 type of the items, u64 length


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The tokens of a file: their number, and the bytes [start, end) of their texts."""

    path: Path
    tokenizer: str
    num_tokens: int
    start: int
    end: int


def vocabulary_problem(target: Path, draft: Path) -> str:
    """Return why the tokens of ``draft`` are not those of ``target``, "" if they are.

    Files that did not change are compared once.

    Raises:
        IntegrityError: a file is no readable GGUF file.
        OSError: a file cannot be opened.
    """
    return _compare(target, target.stat().st_mtime_ns, draft, draft.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _compare(target_path: Path, _target_time: int, draft_path: Path, _draft_time: int) -> str:
    target, draft = _read(target_path), _read(draft_path)
    if not (target.num_tokens and draft.num_tokens):
        return "a file has no vocabulary"
    if target.tokenizer != draft.tokenizer:
        return f"its tokenizer is {draft.tokenizer}, the model's {target.tokenizer}"
    if not 0 <= target.num_tokens - draft.num_tokens <= MAX_EXTRA_TOKENS:
        return f"it has {draft.num_tokens} tokens, the model {target.num_tokens}"
    size = draft.end - draft.start
    if size > MAX_VOCABULARY_BYTES:
        return f"its vocabulary takes more than {MAX_VOCABULARY_BYTES} bytes"
    if size > target.end - target.start or not _are_equal(target, draft, size):
        return "its tokens spell other text than the model's"
    return ""


def _read(path: Path) -> _Vocabulary:
    places: dict[str, tuple[int, int]] = {}
    with path.open("rb") as file:
        header = parse_header(Reader(file, path), longest_kept=0, places=places)
    tokens = header.metadata.get(TOKENS)
    if not isinstance(tokens, SkippedArray):
        return _Vocabulary(path, "", 0, 0, 0)
    start, end = places[TOKENS]
    tokenizer = (header.text(TOKENIZER) or "unknown")[:64]
    return _Vocabulary(path, tokenizer, tokens.length, start + ARRAY_HEAD_BYTES, end)


def _are_equal(target: _Vocabulary, draft: _Vocabulary, size: int) -> bool:
    """Return whether the first ``size`` bytes of both arrays are equal."""
    with target.path.open("rb") as ours, draft.path.open("rb") as theirs:
        ours.seek(target.start)
        theirs.seek(draft.start)
        for done in range(0, size, BLOCK_BYTES):
            count = min(BLOCK_BYTES, size - done)
            if ours.read(count) != theirs.read(count):
                return False
    return True
