"""Bytes of the tokens of a vocabulary, spelled by llama.cpp when they are first needed.

A reply needs some hundred of the 150,000 tokens of a large vocabulary. All of them are spelled only
for structured output and for very long prompts.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import overload

from llama_cpp import llama_cpp as api

PIECE_BYTES = 256


class TokenSpeller:
    """Bytes of tokens in a prompt, also of control tokens; any thread may call."""

    def __init__(self, vocab: int, num_tokens: int) -> None:
        self._vocab = ctypes.c_void_p(vocab)
        self.num_tokens = num_tokens
        self._pieces: list[bytes | None] = [None] * num_tokens
        # without argument conversion, and without releasing the GIL: a fifth of the time
        library = ctypes.PyDLL(api._lib._name, handle=api._lib._handle)  # noqa: SLF001 - no public name
        self._token_to_piece = library.llama_token_to_piece

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token."""
        piece = self._pieces[token]
        if piece is None:
            piece = self._pieces[token] = self._spelled(
                token, ctypes.create_string_buffer(PIECE_BYTES)
            )
        return piece

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of every token."""
        buffer = ctypes.create_string_buffer(PIECE_BYTES)
        for token, known in enumerate(self._pieces):
            piece = self._spelled(token, buffer) if known is None else known
            self._pieces[token] = piece
            yield piece

    def _spelled(self, token: int, buffer: ctypes.Array[ctypes.c_char]) -> bytes:
        """Return the bytes of a token, written into the buffer if they fit."""
        is_special, size = True, len(buffer)
        length = self._token_to_piece(self._vocab, token, buffer, size, 0, is_special)
        if length < 0:
            return self._spelled(token, ctypes.create_string_buffer(-length))
        return buffer.raw[:length]


class TokenPieces(Sequence[bytes]):
    """Bytes of the tokens of a vocabulary in a reply, where the ``silent`` tokens have none."""

    def __init__(self, speller: TokenSpeller, silent: AbstractSet[int]) -> None:
        self._speller = speller
        self._silent = silent

    def __len__(self) -> int:
        return self._speller.num_tokens

    @overload
    def __getitem__(self, token: int) -> bytes: ...

    @overload
    def __getitem__(self, token: slice) -> list[bytes]: ...

    def __getitem__(self, token: int | slice) -> bytes | list[bytes]:
        """Return the bytes of a token, or of several."""
        if isinstance(token, slice):
            return [self[number] for number in range(len(self))[token]]
        return b"" if token in self._silent else self._speller.piece(token)

    def __iter__(self) -> Iterator[bytes]:
        silent = frozenset(self._silent)
        for token, piece in enumerate(self._speller.pieces()):
            yield b"" if token in silent else piece
