"""Vocabulary of tiktoken files: a line for each token, its bytes in base64 and its rank.

    IQ== 0
    Ig== 1

The rank is the id, and the order of merges. The file has no merges: a token's is the pair that is
left when its bytes are merged by all lower ranks. It has no rule for splitting either, which is
that of the architecture, and special tokens are in ``tokenizer_config.json``.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from localrun.convert.tokenizer.vocabulary import (
    CONTROL,
    MAX_TOKENS,
    NORMAL,
    UNUSED,
    TokenizerVocabulary,
    filled,
)
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.convert.config import Config

FILES = ("tokenizer.model", "tiktoken.model", "qwen.tiktoken", "tokenizer.tiktoken")
SPLITTING = {  # llama.cpp's names, by those of the architectures
    "llama": "llama-bpe",
    "llama4": "llama4",
    "qwen2": "qwen2",
    "chatglm": "chatglm-bpe",
    "glm4": "chatglm-bpe",
    "deepseek2": "kimi-k2",
}
LONGEST_TOKEN = 1024  # bytes
MOST_WORK = 60_000_000  # sum of the squares of tokens' lengths; Llama 3's are 10 million
FIRST = 8  # bytes of a file that are looked at


def is_tiktoken(data: bytes) -> bool:
    """Return whether a file begins like tiktoken's; sentencepiece's begins with a line feed."""
    first, _, rest = data[:FIRST].partition(b" ")
    return bool(first) and bool(rest) and first.isascii() and b"\n" not in first[:1]


def read_tiktoken(
    data: bytes, settings: Config, architecture: str, where: str
) -> TokenizerVocabulary:
    """Return the vocabulary of a tiktoken file.

    Raises:
        UsageError: the architecture's rule for splitting is not known.
        IntegrityError: the file is malformed, or contradicts itself.
    """
    if architecture not in SPLITTING:
        raise UsageError(
            f"{where} has no rule for splitting text, and that of {architecture} is not known here",
            hint="take the same model with a tokenizer.json",
        )
    ranks = _ranks(data, where)
    letters = _letters()
    texts = {rank: "".join(letters[byte] for byte in token) for token, rank in ranks.items()}
    types = dict.fromkeys(texts, NORMAL)
    for index, text in _special(settings).items():
        texts[index], types[index] = text, CONTROL
    tokens = filled(texts, where)
    return TokenizerVocabulary(
        kind="gpt2",
        tokens=tuple(tokens),
        types=tuple(types.get(index, UNUSED) for index in range(len(tokens))),
        pre=SPLITTING[architecture],
        merges=tuple(_merges(ranks, letters)),
        flags={},
    )


def _ranks(data: bytes, where: str) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        coded, _, rank = line.strip().partition(b" ")
        try:
            token, index = base64.b64decode(coded, validate=True), int(rank)
        except (binascii.Error, ValueError) as error:
            raise IntegrityError(f"{where} is not a tiktoken file: {line[:80]!r}") from error
        if not token or len(token) > LONGEST_TOKEN or token in ranks or not 0 <= index < MAX_TOKENS:
            raise IntegrityError(f"{where} has a wrong or repeated token: {line[:80]!r}")
        ranks[token] = index
    if len(set(ranks.values())) < len(ranks):
        raise IntegrityError(f"{where} has two tokens of one rank")
    if sum(len(token) ** 2 for token in ranks) > MOST_WORK:
        raise IntegrityError(f"{where} has too many long tokens")
    return ranks


def _merges(ranks: Mapping[bytes, int], letters: list[str]) -> list[str]:
    """Return the merges, best first; a token that no pair gives has none."""
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        pair = _last_pair(token, ranks)
        if pair is not None:
            left, right = ("".join(letters[byte] for byte in half) for half in pair)
            merges.append(f"{left} {right}")
    return merges


def _last_pair(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """Return the two parts that are left of a token's bytes, or None for one byte."""
    parts = [token[at : at + 1] for at in range(len(token))]
    limit = ranks[token]
    while len(parts) > 2:  # noqa: PLR2004 - a pair is left
        pairs = [ranks.get(parts[at] + parts[at + 1], limit) for at in range(len(parts) - 1)]
        best = min(pairs)
        if best >= limit:
            return None
        at = pairs.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return (parts[0], parts[1]) if len(parts) == 2 else None  # noqa: PLR2004


def _special(settings: Config) -> dict[int, str]:
    found = {}
    for key in settings.inner("added_tokens_decoder").values:
        entry = settings.inner("added_tokens_decoder").inner(key)
        if key.isdecimal():
            found[int(key)] = entry.text("content")
    return found


def _letters() -> list[str]:
    """Return the letter for each byte, as byte-level tokenizers write them (GPT-2)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in shown}
    for byte in range(256):
        letters.setdefault(byte, chr(256 + len(letters) - len(shown)))
    return [letters[byte] for byte in range(256)]
