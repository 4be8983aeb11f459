"""Text as chunks of equal length, as llama.cpp's tools for perplexity cut it.

The tokens of the whole text, with what tokenizing adds at its start, are cut into chunks without
overlap; the rest is left out. The first token of every chunk is replaced by BOS if the vocabulary
asks for one. The text of a control token is not that token: the text is data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.engine.llama.vocabulary import Vocabulary

MAX_TEXT_BYTES = 256 * 1024**2
SMALLEST_CHUNK, LARGEST_CHUNK = 32, 8192  # tokens
TOKEN_BYTES = 24  # of a token at most, in the first attempt to read only a part of a text
SPARE_BYTES = 8  # some vocabularies add tokens


def chunked(
    vocabulary: Vocabulary, text: bytes, chunk_size: int, most_chunks: int | None
) -> np.ndarray:
    """Return the chunks of a text, int32 of shape (chunks, chunk_size), with BOS where needed.

    Raises:
        UsageError: the text is too short for one chunk, or longer than `MAX_TEXT_BYTES`.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise UsageError(
            f"the text has {len(text)} bytes, more than {MAX_TEXT_BYTES}",
            hint="head -c 10000000 TEXT > part.txt   takes a part of it",
        )
    text = text.removesuffix(b"\n")  # as llama.cpp's tools read files
    tokens = _first_tokens(vocabulary, text, chunk_size, most_chunks)
    num_chunks = tokens.size // chunk_size
    if not num_chunks:
        raise UsageError(
            f"the text has {tokens.size} tokens, fewer than one chunk of {chunk_size}",
            hint="a longer text, of some ten thousand words at least, or a smaller --ctx",
        )
    chunks = tokens[: num_chunks * chunk_size].reshape(num_chunks, chunk_size)[:most_chunks].copy()
    if llama_cpp.llama_vocab_get_add_bos(vocabulary.vocab) and vocabulary.bos_token is not None:
        chunks[:, 0] = vocabulary.bos_token
    return chunks


def _first_tokens(
    vocabulary: Vocabulary, text: bytes, chunk_size: int, most_chunks: int | None
) -> np.ndarray:
    """Return the tokens of a text, or of a part that is long enough for the chunks."""
    if most_chunks is None:
        return _tokens(vocabulary, text)
    num_tokens = most_chunks * chunk_size
    num_bytes = num_tokens * TOKEN_BYTES
    while num_bytes < len(text):
        part = text[:num_bytes].decode(errors="ignore").encode()  # no half of a character
        tokens = _tokens(vocabulary, part)
        if tokens.size > num_tokens + chunk_size:  # tokens at the cut may differ
            return tokens
        num_bytes *= 2
    return _tokens(vocabulary, text)


def _tokens(vocabulary: Vocabulary, text: bytes) -> np.ndarray:
    add_special, parse_special = True, False
    capacity = len(text) + SPARE_BYTES
    buffer = (api.llama_token * capacity)()
    count = llama_cpp.llama_tokenize(
        vocabulary.vocab, text, len(text), buffer, capacity, add_special, parse_special
    )
    if count < 0:
        raise UsageError("the text cannot be tokenized")
    return np.frombuffer(buffer, np.int32, count)
