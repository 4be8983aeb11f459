"""Vocabulary of a model's folder: chooses the reader by the tokenizer's files and kind.

A module of its own, above the readers of each kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.convert import folder as folders
from localrun.convert.config import read_config
from localrun.convert.tokenizer.bpe import read_bpe
from localrun.convert.tokenizer.description import TOKENIZER_FILE
from localrun.convert.tokenizer.sentencepiece import read_sentencepiece
from localrun.convert.tokenizer.tiktoken import FILES as TIKTOKEN_FILES
from localrun.convert.tokenizer.tiktoken import is_tiktoken, read_tiktoken
from localrun.convert.tokenizer.unigram import read_unigram
from localrun.convert.tokenizer.wordpiece import read_vocab_txt, read_wordpiece
from localrun.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.convert.tokenizer.description import Description
    from localrun.convert.tokenizer.vocabulary import TokenizerVocabulary

PIECES_FILE = "tokenizer.model"
WORDS_FILE = "vocab.txt"
READERS = {"BPE": read_bpe, "WordPiece": read_wordpiece, "Unigram": read_unigram}


def read_vocabulary(
    folder: Path, description: Description | None, architecture: str
) -> TokenizerVocabulary:
    """Return the vocabulary of the folder's tokenizer.

    Raises:
        NotFoundError: the folder has no tokenizer.
        UsageError: its kind cannot be converted.
        IntegrityError: a file is damaged or contradicts itself.
    """
    if description is not None:
        return _described(description)
    settings = read_config(folder, "tokenizer_config.json")
    for name in TIKTOKEN_FILES:
        path = folders.find(folder, name)
        if path is not None:
            data = folders.read_bytes(path)
            if is_tiktoken(data):
                return read_tiktoken(data, settings, architecture, str(folder / name))
    pieces = folders.find(folder, PIECES_FILE)
    if pieces is not None:
        return read_sentencepiece(folders.read_bytes(pieces), str(folder / PIECES_FILE))
    words = folders.find(folder, WORDS_FILE)
    if words is not None:
        lines = folders.read_text(words).removesuffix("\n").split("\n")
        return read_vocab_txt(lines, settings, str(folder / WORDS_FILE))
    raise NotFoundError(
        f"{folder} has no {TOKENIZER_FILE}, {PIECES_FILE} or {WORDS_FILE}",
        hint=f"download {TOKENIZER_FILE} as well",
    )


def _described(description: Description) -> TokenizerVocabulary:
    kind = description.model.text("type", "BPE")
    if kind not in READERS:
        raise UsageError(
            f"{description.where} is of the kind {kind}; {', '.join(READERS)} can be converted"
        )
    return READERS[kind](description)
