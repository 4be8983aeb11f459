"""Vocabulary of unigram tokenizers, of T5 and XLM-RoBERTa, in ``tokenizer.json``.

A text is split so that the sum of the pieces' scores is largest. Before that, its characters are
normalized by a compiled table, which llama.cpp reads too.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from localrun.convert.tokenizer.vocabulary import (
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
    from localrun.convert.config import Config
    from localrun.convert.tokenizer.description import Description

ONE_SPACE = {"type": "Replace", "pattern": {"Regex": " {2,}"}}
STEPS = ("Precompiled", "Replace", "Strip", "WhitespaceSplit", "Metaspace")


def read_unigram(description: Description) -> TokenizerVocabulary:
    """Return the vocabulary of a tokenizer whose model is Unigram.

    Raises:
        UsageError: llama.cpp cannot do the same.
        IntegrityError: the file contradicts itself.
    """
    model = description.model
    if model.flag("byte_fallback", default=False):
        raise UsageError(
            f"{description.where} has bytes for unknown letters, which llama.cpp lacks"
        )
    texts, scores = _pieces(model)
    unknown = model.raw("unk_id")
    types = dict.fromkeys(texts, NORMAL)
    for token in description.added:
        texts[token.id] = token.text
        types[token.id] = CONTROL if token.is_special else USER_DEFINED
    if isinstance(unknown, int):
        types[unknown] = UNKNOWN
    tokens = filled(texts, description.where)
    flags, table = _normalization(description)
    return TokenizerVocabulary(
        kind="t5",
        tokens=tuple(tokens),
        types=tuple(types.get(index, UNUSED) for index in range(len(tokens))),
        scores=tuple(scores.get(index, 0.0) for index in range(len(tokens))),
        flags=flags,
        charsmap=table,
    )


def _pieces(model: Config) -> tuple[dict[int, str], dict[int, float]]:
    entries = model.raw("vocab")
    texts: dict[int, str] = {}
    scores: dict[int, float] = {}
    if not isinstance(entries, list):
        raise model.wrong("vocab", "a list of pieces with scores")
    for index, entry in enumerate(entries):
        is_pair = isinstance(entry, list) and len(entry) == 2  # noqa: PLR2004
        if not is_pair or not isinstance(entry[0], str) or type(entry[1]) not in {int, float}:
            raise model.wrong("vocab", "a list of pieces with scores")
        texts[index], scores[index] = entry[0], float(entry[1])
    return texts, scores


def _normalization(description: Description) -> tuple[dict[str, bool], bytes]:
    """Return the flags for spaces, and the table of characters."""
    prefix, removes, table = False, False, b""
    for step in (*description.normalizers, *description.splitters):
        kind = step.text("type")
        if kind not in STEPS or step.text("replacement", SPACE) != SPACE:
            raise UsageError(
                f"{description.where} changes text by {kind!r} in a way that llama.cpp does not do "
                "for this tokenizer"
            )
        if kind == "Precompiled":
            table = _table(step)
        elif kind == "Metaspace":
            prefix = step.text("prepend_scheme", "always") != "never"
        elif kind != "Replace" or step.raw("pattern") == ONE_SPACE["pattern"]:
            removes = True
    return {"add_space_prefix": prefix, "remove_extra_whitespaces": removes}, table


def _table(step: Config) -> bytes:
    text = step.text("precompiled_charsmap")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise step.wrong("precompiled_charsmap", "in base64") from error
