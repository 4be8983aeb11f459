"""Special tokens of a vocabulary: control, user-defined, unknown and end-of-generation tokens.

llama.cpp reports them for one token at a time, and a large vocabulary has 150,000. So its
functions are called without argument conversion, and without releasing the GIL in each call: that
takes a third of the time.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_cpp import llama_cpp as api

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SPECIAL = (  # tokens that llama.cpp searches in a text before it splits words
    api.LLAMA_TOKEN_ATTR_CONTROL | api.LLAMA_TOKEN_ATTR_USER_DEFINED | api.LLAMA_TOKEN_ATTR_UNKNOWN
)
TOKENS_PER_HOLD = 4096  # for which the GIL is held, 0.5 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """The special tokens of one vocabulary."""

    attributes: Mapping[int, int]  # by token, in the order of tokens
    eog: frozenset[int]

    def with_attribute(self, attribute: int) -> list[int]:
        """Return the special tokens that have an attribute of llama.cpp."""
        return [token for token, own in self.attributes.items() if own & attribute]


def read_special_tokens(vocab: int, num_vocab: int) -> SpecialTokens:
    """Return the special tokens of a vocabulary of llama.cpp; reads every token."""
    library = ctypes.PyDLL(api._lib._name, handle=api._lib._handle)  # noqa: SLF001 - no public name
    get_attribute, is_eog = library.llama_vocab_get_attr, library.llama_vocab_is_eog
    is_eog.restype = ctypes.c_bool
    attributes = _of_each(get_attribute, vocab, num_vocab)
    special = np.flatnonzero(attributes & SPECIAL)
    return SpecialTokens(
        attributes=dict(zip(special.tolist(), attributes[special].tolist(), strict=True)),
        eog=frozenset(np.flatnonzero(_of_each(is_eog, vocab, num_vocab)).tolist()),
    )


def _of_each(function: Callable[..., Any], vocab: int, num_vocab: int) -> np.ndarray:
    """Return what a function of llama.cpp returns for each token."""
    pointer = ctypes.c_void_p(vocab)
    values = np.empty(num_vocab, dtype=np.int32)
    for start in range(0, num_vocab, TOKENS_PER_HOLD):
        end = min(start + TOKENS_PER_HOLD, num_vocab)
        found = map(function, repeat(pointer), range(start, end))
        values[start:end] = np.fromiter(found, dtype=np.int32, count=end - start)
    return values
