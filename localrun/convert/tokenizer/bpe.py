"""Vocabulary of byte-pair (BPE) tokenizers in ``tokenizer.json``, in both forms.

The byte-level form (GPT-2 and later) spells bytes as letters and first splits text by a pattern.
The sentencepiece form replaces spaces by a letter, and unknown letters by byte tokens. llama.cpp
merges the first by the list of merges, and the second by scores.

If the second form prepends a space to the text (``Metaspace``), llama.cpp also prepends one to a
text that begins with a space, and behind control tokens.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.convert.tokenizer.splitting import splitting_name
from localrun.convert.tokenizer.vocabulary import (
    BYTE,
    CONTROL,
    NORMAL,
    SPACE,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    TokenizerVocabulary,
    filled,
)
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.convert.config import Config
    from localrun.convert.tokenizer.description import Description

SHOWN = frozenset({"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>",
                   "<tool_response|>", '<|"|>'})  # fmt: skip
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")
SPACE_TO_LETTER = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
FIRST_LETTER = {"type": "Prepend", "prepend": SPACE}
PIECES_AT_SPACES = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"}


def read_bpe(description: Description) -> TokenizerVocabulary:
    """Return the vocabulary of a tokenizer whose model is BPE.

    Raises:
        UsageError: llama.cpp cannot do the same.
        IntegrityError: the file contradicts itself.
    """
    if any(step.raw("type") == "ByteLevel" for step in description.splitters):
        return _byte_level(description)
    return _pieces(description)


def _byte_level(description: Description) -> TokenizerVocabulary:
    texts = description.vocabulary()
    types = dict.fromkeys(texts, NORMAL)
    for token in description.added:
        texts[token.id] = token.text
        types[token.id] = CONTROL if token.is_special else USER_DEFINED
    tokens = filled(texts, description.where)
    merges = [f"{left} {right}" for left, right in _merges(description.model)]
    return TokenizerVocabulary(
        kind="gpt2",
        tokens=tuple(tokens),
        types=tuple(types.get(index, UNUSED) for index in range(len(tokens))),
        pre=splitting_name(description),
        merges=tuple(merges),
        flags={},
    )


def _pieces(description: Description) -> TokenizerVocabulary:
    has_prefix = _space_prefix(description)
    texts = description.vocabulary()
    unknown = description.model.text("unk_token", "")
    types = {index: _piece_type(text, unknown) for index, text in texts.items()}
    for token in description.added:
        is_unknown = token.text == unknown
        texts[token.id] = token.text
        types[token.id] = CONTROL if token.is_special else USER_DEFINED
        if is_unknown:
            types[token.id] = UNKNOWN
        elif not token.is_special:  # llama.cpp searches for these in the text, with its spaces
            texts[token.id] = token.text.replace(SPACE, " ")
    tokens = filled(texts, description.where)
    return TokenizerVocabulary(
        kind="llama",
        tokens=tuple(tokens),
        types=tuple(types.get(index, UNUSED) for index in range(len(tokens))),
        scores=tuple(_scores(tokens, _merges(description.model))),
        flags={"add_space_prefix": has_prefix},
        pairs=tuple(_merges(description.model)),
    )


def as_gemma4(vocabulary: TokenizerVocabulary) -> TokenizerVocabulary:
    """Return the pieces of Gemma 4, which llama.cpp merges by the list of merges.

    The tokens of thoughts and tool calls are shown, because the answer's reader looks for them.
    """
    types = [
        USER_DEFINED if text in SHOWN else kind
        for text, kind in zip(vocabulary.tokens, vocabulary.types, strict=True)
    ]
    merges = tuple(f"{left} {right}" for left, right in vocabulary.pairs)
    return replace(vocabulary, kind="gemma4", types=tuple(types), merges=merges)


def _piece_type(text: str, unknown: str) -> int:
    if text == unknown:
        return UNKNOWN
    return BYTE if BYTE_TOKEN.fullmatch(text) else NORMAL


def _scores(tokens: Sequence[str], merges: Sequence[tuple[str, str]]) -> list[float]:
    """Return scores that give the order of the merges if the best pair is merged first."""
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    return [-float(ranks.get(token, len(merges))) for token in tokens]


def _merges(model: Config) -> list[tuple[str, str]]:
    """Return the merges, best first; older files write a pair as one text."""
    merges = model.raw("merges")
    if not isinstance(merges, list):
        raise model.wrong("merges", "a list of pairs")
    pairs = [entry.split(" ") if isinstance(entry, str) else entry for entry in merges]
    for pair in pairs:
        if (
            not isinstance(pair, list)
            or len(pair) != 2  # noqa: PLR2004 - a pair
            or not all(isinstance(half, str) and half for half in pair)
        ):
            raise model.wrong("merges", "a list of pairs")
    return [(left, right) for left, right in pairs]


def _space_prefix(description: Description) -> bool:
    """Return whether a space is prepended to the text; refuse other changes of the text."""
    has_prefix = replaces = False
    for step in (*description.normalizers, *description.splitters):
        values = {key: value for key, value in step.values.items() if key != "invert"}
        if values == FIRST_LETTER:
            has_prefix = True
        elif values == SPACE_TO_LETTER:
            replaces = True
        elif step.raw("type") == "Metaspace" and step.text("replacement", SPACE) == SPACE:
            replaces = True
            has_prefix = _metaspace_prefix(step)
        elif values != PIECES_AT_SPACES:
            raise UsageError(
                f"{description.where} changes text by {step.raw('type')!r} in a way that "
                "llama.cpp does not do for this tokenizer"
            )
    if not replaces or not description.model.flag("byte_fallback", default=False):
        raise UsageError(f"{description.where} is not a tokenizer of a kind that llama.cpp has")
    return has_prefix


def _metaspace_prefix(step: Config) -> bool:
    if step.has("prepend_scheme"):
        return step.text("prepend_scheme") != "never"
    return step.flag("add_prefix_space", default=True)
