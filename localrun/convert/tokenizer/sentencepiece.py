"""Reader of ``tokenizer.model``, sentencepiece's protobuf file, without its library.

Reads only the fields below; others are skipped by their type. The file is untrusted: each length is
checked against the remaining bytes before it is used.

    1: piece, repeated     1: text   2: score (float)   3: type (1 normal ... 6 byte)
    2: trainer             3: model (1 unigram, 2 BPE)
    3: normalizer          2: compiled table of characters   3: whether a space is prepended
                           4: whether spaces are joined (3 and 4 are true by default)

Format: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.convert.tokenizer.vocabulary import (
    MAX_TOKENS,
    NORMAL,
    SPACE,
    USER_DEFINED,
    TokenizerVocabulary,
    filled,
)
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10
PIECE, TRAINER, NORMALIZER = 1, 2, 3
TEXT, SCORE, TYPE = 1, 2, 3
MODEL_TYPE, UNIGRAM, BPE = 3, 1, 2
CHARSMAP, DUMMY_PREFIX, EXTRA_SPACES = 2, 3, 4
TYPES = range(1, 7)  # the numbers are the same in GGUF

FieldValue = int | bytes


@dataclass(frozen=True, slots=True)
class _SentencePiece:
    text: str
    score: float
    type: int


def read_sentencepiece(data: bytes, where: str) -> TokenizerVocabulary:
    """Return the vocabulary of a ``tokenizer.model``.

    Raises:
        IntegrityError: the file is malformed, or contradicts itself.
        UsageError: the model is not BPE.
    """
    pieces: list[_SentencePiece] = []
    has_prefix, removes, table, model_type = True, True, b"", UNIGRAM
    try:
        for number, value in _fields(data):
            if number == PIECE and isinstance(value, bytes):
                pieces.append(_piece(value))
            elif number == TRAINER and isinstance(value, bytes):
                model_type = _number(value, MODEL_TYPE, model_type)
            elif number == NORMALIZER and isinstance(value, bytes):
                has_prefix = bool(_number(value, DUMMY_PREFIX, 1))
                removes = bool(_number(value, EXTRA_SPACES, 1))
                table = _bytes(value, CHARSMAP)
    except (ValueError, struct.error) as error:
        raise IntegrityError(f"{where} is not a sentencepiece model: {error}") from error
    if not pieces or len(pieces) > MAX_TOKENS:
        raise IntegrityError(f"{where} has {len(pieces):,} pieces")
    if model_type not in {BPE, UNIGRAM}:
        raise UsageError(f"{where} is not of the kind BPE or unigram, which can be converted")
    texts = {index: _text(piece) for index, piece in enumerate(pieces)}
    is_unigram = model_type == UNIGRAM
    spaces = {"remove_extra_whitespaces": removes} if is_unigram else {}
    return TokenizerVocabulary(
        kind="t5" if is_unigram else "llama",
        tokens=tuple(filled(texts, where)),
        types=tuple(piece.type for piece in pieces),
        scores=tuple(piece.score for piece in pieces),
        flags={"add_space_prefix": has_prefix, **spaces},
        charsmap=table if is_unigram else b"",
    )


def _text(piece: _SentencePiece) -> str:
    """Return the text of a piece; llama.cpp searches for user-defined ones with their spaces."""
    return piece.text.replace(SPACE, " ") if piece.type == USER_DEFINED else piece.text


def _piece(data: bytes) -> _SentencePiece:
    text, score, kind = "", 0.0, NORMAL
    for number, value in _fields(data):
        if number == TEXT and isinstance(value, bytes):
            text = value.decode()
        elif number == SCORE and isinstance(value, bytes):
            score = struct.unpack("<f", value)[0]
        elif number == TYPE and isinstance(value, int):
            kind = value
    if kind not in TYPES or not text:
        raise ValueError(f"a piece {text!r} of type {kind}")
    return _SentencePiece(text, score, kind)


def _number(data: bytes, wanted: int, default: int) -> int:
    for number, value in _fields(data):
        if number == wanted and isinstance(value, int):
            default = value
    return default


def _bytes(data: bytes, wanted: int) -> bytes:
    """Return the bytes of a field, none without it."""
    values = [value for number, value in _fields(data) if number == wanted]
    return values[-1] if values and isinstance(values[-1], bytes) else b""


def _fields(data: bytes) -> Iterator[tuple[int, FieldValue]]:
    """Yield the number and value of each field: varints as integers, others as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        elif kind in {FIXED32, FIXED64}:
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"a field of type {kind} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"a field at byte {at} ends after the file")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a varint and the offset behind it."""
    value = 0
    for index, byte in enumerate(data[at : at + LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follows
            return value, at + index + 1
    raise ValueError(f"a number without an end at byte {at}")
