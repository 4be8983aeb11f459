"""Vocabulary of a tokenizer, as llama.cpp reads it.

Token ids are contiguous: gaps are filled with unused tokens, and no two tokens have the same text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import gguf

from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["gpt2", "llama", "bert", "t5", "gemma4"]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = (
    int(kind)
    for kind in (
        gguf.TokenType.NORMAL,
        gguf.TokenType.UNKNOWN,
        gguf.TokenType.CONTROL,
        gguf.TokenType.USER_DEFINED,
        gguf.TokenType.UNUSED,
        gguf.TokenType.BYTE,
    )
)
MAX_TOKENS = 1 << 22
MAX_GAPS = 1 << 17  # ids without a token
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # replaces a space in pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerVocabulary:
    """Texts and types of the tokens by id. ``scores`` and ``merges`` are None if not used.

    ``pre`` is llama.cpp's name of the pre-tokenizer, ``flags`` are further boolean keys,
    ``charsmap`` is the compiled table by which sentencepiece normalizes characters, ``pairs`` are
    the merges that became scores.
    """

    kind: Kind
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    pre: str = "default"
    scores: tuple[float, ...] | None = None
    merges: tuple[str, ...] | None = None
    flags: Mapping[str, bool]
    charsmap: bytes = b""
    pairs: tuple[tuple[str, str], ...] = ()

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Write the keys of the tokenizer."""
        writer.add_tokenizer_model(self.kind)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.scores is not None:
            writer.add_token_scores(self.scores)
        if self.merges is not None:
            writer.add_token_merges(self.merges)
        if self.charsmap:
            writer.add_precompiled_charsmap(self.charsmap)
        for key, value in self.flags.items():
            writer.add_bool(f"tokenizer.ggml.{key}", value)

    def resized(self, num_tokens: int) -> TokenizerVocabulary:
        """Return the vocabulary with exactly one token for each row of the embeddings.

        Rows without a token get unused tokens. Added tokens without a row (Gemma 3 has one for
        images) can never be used and are dropped.

        Raises:
            IntegrityError: an ordinary token has no row.
        """
        if NORMAL in self.types[num_tokens:]:
            raise IntegrityError(
                f"the tokenizer has {len(self.tokens):,} tokens, the embeddings {num_tokens:,} rows"
            )
        missing = range(len(self.tokens), num_tokens)
        scores = self.scores
        return replace(
            self,
            tokens=(*self.tokens[:num_tokens], *(unused(index) for index in missing)),
            types=(*self.types[:num_tokens], *(UNUSED for _ in missing)),
            scores=scores and (*scores[:num_tokens], *(0.0 for _ in missing)),
        )


def unused(index: int) -> str:
    """Return the text of an unused token."""
    return f"[PAD{index}]"


def filled(texts: Mapping[int, str], where: str) -> list[str]:
    """Return the texts by id, with unused tokens in the gaps.

    Raises:
        IntegrityError: an id is out of range, or a text is repeated, which would make
            llama.cpp end the process.
    """
    highest = max(texts, default=-1)
    if highest - len(texts) > MAX_GAPS:
        raise IntegrityError(f"{where} has {len(texts):,} tokens, and one with the id {highest:,}")
    if highest >= MAX_TOKENS or min(texts, default=0) < 0:
        raise IntegrityError(f"{where} has a token with the id {highest:,}")
    tokens = [texts.get(index, unused(index)) for index in range(highest + 1)]
    if len(set(tokens)) < len(tokens) or "" in texts.values():
        raise IntegrityError(f"{where} has two tokens of the same text, or an empty one")
    return tokens
