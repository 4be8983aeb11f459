"""Special tokens of a vocabulary: control, user-defined, unknown and end-of-generation tokens.

llama.cpp reports them for one token at a time, and a large vocabulary has 150,000. So its
functions are called without argument conversion, and without releasing the GIL in each call: that
takes half of the time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as api

SPECIAL = (  # tokens that llama.cpp searches in a text before it splits words
    api.LLAMA_TOKEN_ATTR_CONTROL | api.LLAMA_TOKEN_ATTR_USER_DEFINED | api.LLAMA_TOKEN_ATTR_UNKNOWN
)
TOKENS_PER_HOLD = 4096  # for which the GIL is held, 0.5 ms


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The special tokens of one vocabulary, and their attributes in llama.cpp."""

    attributes: Mapping[int, int]  # by token, in the order of tokens

    def with_attribute(self, attribute: int) -> list[int]:
        """Return the special tokens that have an attribute."""
        return [token for token, own in self.attributes.items() if own & attribute]


class EndTokens(AbstractSet[int]):
    """End-of-generation tokens; llama.cpp is asked about all tokens only to list them.

    An answer asks about its own tokens.
    """

    def __init__(self, vocab: int, num_vocab: int) -> None:
        self._vocab, self._num_vocab = vocab, num_vocab
        self._pointer = ctypes.c_void_p(vocab)
        self._is_eog = _library().llama_vocab_is_eog
        self._is_eog.restype = ctypes.c_bool

    def __contains__(self, token: object) -> bool:
        if isinstance(token, (int, np.integer)):
            return bool(self._is_eog(self._pointer, int(token)))
        return False

    def __iter__(self) -> Iterator[int]:
        return iter(self._tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    @classmethod
    def _from_iterable(cls, tokens: Iterable[int]) -> frozenset[int]:  # type: ignore[override]
        """Return the result of an operator on sets."""
        return frozenset(tokens)

    @cached_property
    def _tokens(self) -> frozenset[int]:
        """Return all of them; takes 25 ms for a large vocabulary."""
        is_end = _of_each(self._is_eog, self._vocab, self._num_vocab)
        return frozenset(np.flatnonzero(is_end).tolist())


def read_special_tokens(vocab: int, num_vocab: int) -> SpecialTokens:
    """Return the special tokens of a vocabulary of llama.cpp; reads every token."""
    attributes = _of_each(_library().llama_vocab_get_attr, vocab, num_vocab)
    special = np.flatnonzero(attributes & SPECIAL)
    return SpecialTokens(dict(zip(special.tolist(), attributes[special].tolist(), strict=True)))


def _library() -> ctypes.PyDLL:
    """Return llama.cpp for calls that keep the GIL."""
    return ctypes.PyDLL(api._lib._name, handle=api._lib._handle)  # noqa: SLF001 - no public name


def _of_each(function: Callable[..., Any], vocab: int, num_vocab: int) -> np.ndarray:
    """Return what a function of llama.cpp returns for each token."""
    pointer = ctypes.c_void_p(vocab)
    values = np.empty(num_vocab, dtype=np.int32)
    for start in range(0, num_vocab, TOKENS_PER_HOLD):
        end = min(start + TOKENS_PER_HOLD, num_vocab)
        found = map(function, repeat(pointer), range(start, end))
        values[start:end] = np.fromiter(found, dtype=np.int32, count=end - start)
    return values
