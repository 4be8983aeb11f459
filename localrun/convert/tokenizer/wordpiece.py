"""Vocabulary of WordPiece, BERT's tokenizer.

The files mark a piece inside a word, as in ``##ing``. llama.cpp marks a piece at the beginning of a
word, with a letter for the space before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.convert.tokenizer.vocabulary import (
    CONTROL,
    NORMAL,
    SPACE,
    UNUSED,
    TokenizerVocabulary,
    filled,
)
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localrun.convert.config import Config
    from localrun.convert.tokenizer.description import Description

CONTINUES = "##"
SPECIAL = frozenset({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})


def read_wordpiece(description: Description) -> TokenizerVocabulary:
    """Return the vocabulary of a ``tokenizer.json`` whose model is WordPiece.

    Raises:
        UsageError: llama.cpp cannot do the same.
        IntegrityError: the file contradicts itself.
    """
    model = description.model
    if model.text("continuing_subword_prefix", CONTINUES) != CONTINUES:
        raise UsageError(f"{description.where} has another sign than ## within words")
    kinds = [step.raw("type") for step in (*description.normalizers, *description.splitters)]
    if set(kinds) - {"BertNormalizer", "BertPreTokenizer"}:
        raise UsageError(f"{description.where} is not BERT's: it changes text by {kinds}")
    texts = description.vocabulary()
    texts.update({token.id: token.text for token in description.added})
    special = [token.text for token in description.added if token.is_special]
    flags: dict[str, bool] = {}
    for normalizer in description.normalizers:
        flags = _flags(normalizer, "lowercase")
    return _vocabulary(texts, special, flags, description.where)


def read_vocab_txt(
    lines: Iterable[str], tokenizer_config: Config, where: str
) -> TokenizerVocabulary:
    """Return the vocabulary of a ``vocab.txt``: one token a line, its line number is the id.

    Raises:
        IntegrityError: a token is repeated.
    """
    texts = dict(enumerate(line.rstrip("\r\n") for line in lines))
    return _vocabulary(texts, SPECIAL, _flags(tokenizer_config, "do_lower_case"), where)


def _flags(config: Config, lowercase_key: str) -> dict[str, bool]:
    """Return the flags for lower case and for accents, whose default follows lower case."""
    lowercase = config.flag(lowercase_key, default=True)
    return {
        "normalizer.lowercase": lowercase,
        "normalizer.strip_accents": config.flag("strip_accents", default=lowercase),
    }


def _vocabulary(
    texts: Mapping[int, str], special: Iterable[str], flags: Mapping[str, bool], where: str
) -> TokenizerVocabulary:
    filled(texts, where)
    controls = SPECIAL.union(special)
    named = {index: text if text in controls else _piece(text) for index, text in texts.items()}
    tokens = filled(named, where)
    types = {index: CONTROL if text in controls else NORMAL for index, text in texts.items()}
    return TokenizerVocabulary(
        kind="bert",
        tokens=tuple(tokens),
        types=tuple(types.get(index, UNUSED) for index in range(len(tokens))),
        flags=flags,
    )


def _piece(text: str) -> str:
    is_inner = text.startswith(CONTINUES) and text != CONTINUES
    return text.removeprefix(CONTINUES) if is_inner else SPACE + text
