"""The tokens by which a model knows a gap in a text, and what stands around it.

llama.cpp finds them by their metadata or by their names. Mistral's code models have two
of another kind: the suffix comes first, and the answer goes on where the prefix ends.

    before, prefix, behind, suffix, fill      most families
    behind, suffix, before, prefix            [SUFFIX] and [PREFIX]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import llama_cpp

if TYPE_CHECKING:
    from localrun.engine.llama.model import Model

MISTRALS = ("[PREFIX]", "[SUFFIX]")


@dataclass(frozen=True, slots=True)
class InfillTokens:
    """Token ids."""

    before: int  # stands before the prefix
    behind: int  # stands before the suffix
    fill: int | None  # asks for the gap; None: the prefix is written last

    def around(self, prefix: list[int], suffix: list[int]) -> list[int]:
        """Return the prompt that asks for what stands between the two."""
        if self.fill is None:
            return [self.behind, *suffix, self.before, *prefix]
        return [self.before, *prefix, self.behind, *suffix, self.fill]


def gap_tokens(model: Model) -> InfillTokens | None:
    """Return the tokens of a model, None where it has not got them."""
    vocab = model.vocab
    before, behind, fill = (
        llama_cpp.llama_vocab_fim_pre(vocab),
        llama_cpp.llama_vocab_fim_suf(vocab),
        llama_cpp.llama_vocab_fim_mid(vocab),
    )
    if min(before, behind, fill) >= 0:
        return InfillTokens(before, behind, fill)
    mistrals = [model.tokenize(text, is_start=False) for text in MISTRALS]
    if all(len(tokens) == 1 for tokens in mistrals):
        return InfillTokens(mistrals[0][0], mistrals[1][0], None)
    return None
