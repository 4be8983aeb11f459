"""Prompts of rerankers: one text from a query and a document.

A model that was trained with a prompt has a ``rerank`` template in its GGUF file, with
``{query}`` and ``{document}``. For other models the two texts are separated by the special
tokens that the vocabulary requests:

    BOS query EOS SEP document EOS

Control tokens that either text spells are guarded (control_tokens.py).
"""

from __future__ import annotations

import math
import re
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from localrun.runner.prompts.control_tokens import Tokenizer, mark, tokenize_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.budget import Allowance

PLACEHOLDERS = re.compile(r"\{(query|document)\}")
BOS, EOS, SEP = "bos", "eos", "sep"


class PairVocabulary(Tokenizer, Protocol):
    """Vocabulary and metadata of a reranker."""

    @property
    def rerank_template(self) -> str | None:
        """Return the template of a pair, or None."""

    @property
    def control_texts(self) -> list[str]:
        """Return the texts of the control tokens in a prompt."""

    @property
    def separators(self) -> dict[str, int]:
        """Return the special tokens by name (bos, eos, sep) that the vocabulary adds to texts."""


class RerankPairs:
    """Prompts of pairs for one vocabulary; any thread may call."""

    def __init__(self, vocabulary: PairVocabulary) -> None:
        self._vocabulary = vocabulary

    def fitted(
        self, query: str, document: str, max_tokens: int | None, allowance: Allowance
    ) -> list[int]:
        """Return the tokens of a pair, its document truncated to ``max_tokens`` in all.

        Raises:
            RequestTooCostlyError: the allowance is used up.
        """
        tokens = self._pair(query, document, allowance)
        while max_tokens is not None and len(tokens) > max_tokens and document:
            kept = math.floor(len(document) * max_tokens / len(tokens))
            document = document[: min(kept, len(document) - 1)]
            tokens = self._pair(query, document, allowance)
        return tokens

    def _pair(self, query: str, document: str, allowance: Allowance) -> list[int]:
        if self._template is None:
            return self._separated(query, document, allowance)
        texts = {
            "query": mark(query, self._control_texts, allowance),
            "document": mark(document, self._control_texts, allowance),
        }
        prompt = PLACEHOLDERS.sub(lambda placeholder: texts[placeholder[1]], self._template)
        return tokenize_on(prompt, self._vocabulary, allowance)

    def _separated(self, query: str, document: str, allowance: Allowance) -> list[int]:
        tokens = self._vocabulary.separators
        bos, eos, sep = ([tokens[name]] if name in tokens else [] for name in (BOS, EOS, SEP))
        first, second = (
            tokenize_on(mark(text, self._control_texts, allowance), self._vocabulary, allowance)
            for text in (query, document)
        )
        return [*bos, *first, *eos, *sep, *second, *eos]

    @cached_property
    def _template(self) -> str | None:
        return self._vocabulary.rerank_template

    @cached_property
    def _control_texts(self) -> Sequence[str]:
        return self._vocabulary.control_texts
