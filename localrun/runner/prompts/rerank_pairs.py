"""How a reranker reads a query and a document: as one text.

A model that was trained with a prompt has it in its file (``rerank``, with ``{query}`` and
``{document}``); others take the two with separators between them, as the vocabulary wants:

    BOS query EOS SEP document EOS

Neither text becomes a control token, whatever it spells.
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

PLACES = re.compile(r"\{(query|document)\}")
BOS, EOS, SEP = "bos", "eos", "sep"


class PairVocabulary(Tokenizer, Protocol):
    """What is needed of a model."""

    @property
    def rerank_template(self) -> str | None:
        """Return the prompt for a pair."""

    @property
    def control_texts(self) -> list[str]:
        """Return what the control tokens look like in a prompt."""

    @property
    def separators(self) -> dict[str, int]:
        """Return the tokens that the vocabulary wants around texts: of bos, eos, sep."""


class RerankPairs:
    """Writes pairs for one vocabulary; any thread may ask."""

    def __init__(self, vocabulary: PairVocabulary) -> None:
        self._vocabulary = vocabulary

    def fitted(
        self, query: str, document: str, most_tokens: int | None, allowance: Allowance
    ) -> list[int]:
        """Return the tokens of a pair, the document cut until it has at most ``most_tokens``.

        Raises:
            RequestTooCostlyError: the allowance is used up.
        """
        tokens = self._pair(query, document, allowance)
        while most_tokens is not None and len(tokens) > most_tokens and document:
            kept = math.floor(len(document) * most_tokens / len(tokens))
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
        prompt = PLACES.sub(lambda place: texts[place[1]], self._template)
        return tokenize_on(prompt, self._vocabulary, allowance)

    def _separated(self, query: str, document: str, allowance: Allowance) -> list[int]:
        found = self._vocabulary.separators
        bos, eos, sep = ([found[name]] if name in found else [] for name in (BOS, EOS, SEP))
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
