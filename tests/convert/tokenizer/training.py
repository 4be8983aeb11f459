"""Train small tokenizers of every kind by the library that reads them elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPACE = "\u2581"
UNKNOWN = "<unk>"
UNKNOWN_WORD = "[UNK]"
TEXTS = [
    "Hello world",
    "It's 3:45 p.m.; DON'T be late, we'll wait... they've left!",
    "Numbers 1 12 123 1234 12345678901 and 3.14",
    "  two  spaces,   three spaces \n\n newlines\n\tand\ttabs   ",
    "def f(x):\n    return x**2 + 1  # square\n",
    "Caf\xe9 na\xefve Gr\xfc\xdfe aus M\xfcnchen",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
    "\u4f60\u597d\uff0c\u4e16\u754c 123 \u3053\u3093\u306b\u3061\u306f",
    "emoji \U0001f642\U0001f680 and symbols \u20ac \xa7 \u2192",
    "https://example.com/a?b=c&d=e user@example.com",
    "<think>hm</think><|end|> <s> hello",
    "CamelCaseWords and UPPER lower mIxEd/path/to//file",
    "a",
    "",
]
CORPUS = [line for text in TEXTS for line in (text, text.lower())] * 3 + [
    "the quick brown fox jumps over the lazy dog and then returns to its den",
    "language models run on your own machine with one program and one command",
]
SPECIAL = ["<|start|>", "<|end|>"]


def byte_level(
    rule: list[str] | None,
    *,
    digits: bool = False,
    ignore_merges: bool = False,
    starts: bool = False,
    texts: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a byte-level tokenizer.json that splits by these expressions, or by its own.

    With ``texts``, it has long tokens of their words, so that each wrong split shows.
    """
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    steps: list[Any] = [pre_tokenizers.Split(Regex(each), "isolated") for each in rule or []]
    if digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=rule is None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=6000 if texts else 500,
        min_frequency=1 if texts else 0,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*CORPUS, *texts, *texts], trainer)
    tokenizer.add_tokens(["<think>", "</think>"])
    if starts:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|start|> $A", special_tokens=[("<|start|>", 0)]
        )
    return dict(json.loads(tokenizer.to_str()))


def pieces(normalizer: Any, splitter: Any = None, texts: Sequence[str] = ()) -> dict[str, Any]:
    """Return a tokenizer.json like those made from sentencepiece: every way to make a piece."""
    tokens, merges = _pieces_and_merges(texts)
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.BPE(vocab, merges, unk_token=UNKNOWN, byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizer
    if splitter is not None:
        tokenizer.pre_tokenizer = splitter
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<|end|>"])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return dict(json.loads(tokenizer.to_str()))


def wordpiece(*, lowercase: bool, texts: Sequence[str] = ()) -> dict[str, Any]:
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN_WORD))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    size = 4000 if texts else 400
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator([*CORPUS, *texts, *texts], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return dict(json.loads(tokenizer.to_str()))


def unigram(texts: Sequence[str]) -> dict[str, Any]:
    """Return a tokenizer.json like that of XLM-RoBERTa, with another score for each piece."""
    found, _ = _pieces_and_merges(texts)
    known = [piece for piece in found[3:] if not piece.startswith("<0x")]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    scored = [(piece, 0.0) for piece in special]
    known = [piece for piece in known if piece not in special]
    scored += [
        (piece, -5 - 0.0007 * index) for index, piece in enumerate(dict.fromkeys([*known, SPACE]))
    ]
    tokenizer = Tokenizer(models.Unigram(scored, 3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, "always")
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return dict(json.loads(tokenizer.to_str()))


def ids(description: dict[str, Any], text: str) -> list[int]:
    """Return what the library makes of a text."""
    return list(Tokenizer.from_str(json.dumps(description)).encode(text).ids)


def write(folder: Path, description: dict[str, Any], settings: dict[str, Any]) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps(description))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _pieces_and_merges(texts: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    words = [SPACE + word for text in (*CORPUS, *texts, *texts) for word in text.split()]
    trained = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=4000 if texts else 400, show_progress=False)
    trained.train_from_iterator(words, trainer)
    model = json.loads(trained.to_str())["model"]
    joined = ["".join(pair) for pair in model["merges"]]
    letters = [token for token in model["vocab"] if token not in set(joined)]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    known = {*joined, *letters}
    merges = [
        (token[:cut], token[cut:])
        for token in joined
        for cut in range(1, len(token))
        if token[:cut] in known and token[cut:] in known
    ]
    return ["<unk>", "<s>", "</s>", *bytes_, *joined, *letters], merges
