"""Vocabulary of a loaded model: tokenizer, bytes of tokens, special tokens.

Knows token ids and text, not weights. Any thread may call, since llama.cpp only reads the
vocabulary to tokenize.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.llama.special_tokens import EndTokens, SpecialTokens, read_special_tokens
from localrun.engine.llama.text_chunks import TextChunker
from localrun.engine.llama.token_pieces import TokenPieces, TokenSpeller

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

GUARD = "\x01"  # a single byte token in SentencePiece vocabularies
MISTRAL_INFILL = ("[PREFIX]", "[SUFFIX]")


class Vocabulary:
    """Tokens of a loaded model."""

    def __init__(self, model_handle: object) -> None:
        self.vocab: int = llama_cpp.llama_model_get_vocab(model_handle)
        self.num_vocab: int = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self._speller = TokenSpeller(self.vocab, self.num_vocab)
        self.bos = self._token_text(llama_cpp.llama_vocab_bos(self.vocab))  # "" without one
        self.eog: AbstractSet[int] = EndTokens(self.vocab, self.num_vocab)
        # Guards _special_tokens while they are read. No other lock is taken while it is held.
        self._lock = threading.Lock()
        self._special_tokens: SpecialTokens | None = None

    @property
    def special_tokens(self) -> SpecialTokens:
        """Return the special tokens; the first caller reads them, others wait for it.

        A large vocabulary takes 25 ms, so a load reads them while it does something else.
        """
        with self._lock:
            if self._special_tokens is None:
                self._special_tokens = read_special_tokens(self.vocab, self.num_vocab)
            return self._special_tokens

    @cached_property
    def pieces(self) -> Sequence[bytes]:
        """Return the bytes of the tokens in a reply, where end-of-generation tokens have none."""
        return TokenPieces(self._speller, silent=self.eog)

    def exceeds(self, num_chars: int, num_tokens: int) -> bool:
        """Return whether no text of so many characters can be so few tokens.

        Only a text that would be long even in control tokens needs the longest of all pieces.
        """
        return (
            num_chars > num_tokens * self._longest_control
            and num_chars > num_tokens * self._longest_piece
        )

    @property
    def separators(self) -> dict[str, int]:
        """Return the special tokens that tokenizing adds around texts: of bos, eos, sep."""
        vocab = self.vocab
        bos, sep = llama_cpp.llama_vocab_bos(vocab), llama_cpp.llama_vocab_sep(vocab)
        eos = llama_cpp.llama_vocab_eos(vocab)
        candidates = {
            "bos": (bos, llama_cpp.llama_vocab_get_add_bos(vocab)),
            "eos": (eos if eos >= 0 else sep, llama_cpp.llama_vocab_get_add_eos(vocab)),
            "sep": (sep, llama_cpp.llama_vocab_get_add_sep(vocab)),
        }
        return {name: token for name, (token, add) in candidates.items() if add and token >= 0}

    @property
    def ends_inputs(self) -> bool:
        """Return whether tokenizing appends a token."""
        return bool(self.separators.keys() & {"eos", "sep"})

    @property
    def bos_token(self) -> int | None:
        """Return the beginning-of-sequence token, whether or not tokenizing adds it."""
        token = int(llama_cpp.llama_vocab_bos(self.vocab))
        return token if token >= 0 else None

    @property
    def eos(self) -> str:
        """Return the text of the end-of-sequence token, "" without one."""
        return self._token_text(llama_cpp.llama_vocab_eos(self.vocab))

    @cached_property
    def control_texts(self) -> list[str]:
        """Return the texts of the control tokens in a prompt."""
        control = self.special_tokens.with_attribute(api.LLAMA_TOKEN_ATTR_CONTROL)
        return [self._token_text(token) for token in control]

    def control_token(self, text: str) -> int | None:
        """Return the token of a tag that no text in a grammar matches, or None.

        Follows llguidance: control tokens, and user-defined tokens between angle brackets.
        """
        tokens = self.tokenize(text, is_start=False)
        if len(tokens) != 1:
            return None
        attributes = llama_cpp.llama_vocab_get_attr(self.vocab, tokens[0])
        is_tag = text.startswith("<") and text.endswith(">")
        special = api.LLAMA_TOKEN_ATTR_CONTROL | is_tag * api.LLAMA_TOKEN_ATTR_USER_DEFINED
        return tokens[0] if attributes & special else None

    def tokenize(
        self, text: str, *, is_start: bool = True, tick: Callable[[], object] = bool
    ) -> list[int]:
        """Return the token ids of a rendered prompt, or of a later piece of a prompt.

        The text of a control token becomes that token. At the start, the BOS token is prepended
        if the vocabulary requests it and the text has none. ``tick`` is called between the
        chunks of a long text; an exception from it ends the tokenizing.
        """
        add_special = is_start and not (self.bos and text.startswith(self.bos))
        chunks = self._chunker.parts(text)
        tokens = self._tokenized(next(chunks), add_special=add_special)
        end: list[int] = []
        for chunk in chunks:
            if not end and add_special and self.ends_inputs:
                end.append(tokens.pop())
            tick()
            tokens += self._tokenized(chunk, add_special=False)
        return tokens + end

    def tokenize_inside(self, text: str, *, tick: Callable[[], object] = bool) -> list[int]:
        """Return the token ids of a text that continues another text.

        SentencePiece puts a blank before a text. Here the blank goes before a guard byte that
        merges with nothing, and the tokens of the guard are removed.
        """
        if not (text and self._adds_blank):
            return self.tokenize(text, is_start=False, tick=tick)
        guard = self.tokenize(GUARD, is_start=False)
        tokens = self.tokenize(GUARD + text, is_start=False, tick=tick)
        if tokens[: len(guard)] != guard:  # the vocabulary has no byte tokens
            return self.tokenize(text, is_start=False, tick=tick)
        return tokens[len(guard) :]

    def spelled_piece(self, token: int) -> bytes:
        """Return the bytes of a token in a prompt, also of an end-of-generation token."""
        return self._speller.piece(token)

    def _tokenized(self, text: str, *, add_special: bool) -> list[int]:
        data = text.encode(errors="replace")
        capacity = len(data) + 8  # a token is at least a byte; some vocabularies add a few
        buffer = (api.llama_token * capacity)()
        parse_special = True
        count = llama_cpp.llama_tokenize(
            self.vocab, data, len(data), buffer, capacity, add_special, parse_special
        )
        if count < 0:
            capacity = -count
            buffer = (api.llama_token * capacity)()
            count = llama_cpp.llama_tokenize(
                self.vocab, data, len(data), buffer, capacity, add_special, parse_special
            )
        return list(buffer[:count])

    @cached_property
    def _adds_blank(self) -> bool:
        first = self.tokenize("x", is_start=False)[:1]
        return any(self.spelled_piece(token).startswith(b" ") for token in first)

    def _token_text(self, token: int) -> str:
        return self.spelled_piece(token).decode(errors="replace") if token >= 0 else ""

    @cached_property
    def _longest_piece(self) -> int:
        """Return the bytes of the longest token; spells every token."""
        return max(map(len, self._speller.pieces()), default=1)

    @cached_property
    def _longest_control(self) -> int:
        control = self.special_tokens.with_attribute(api.LLAMA_TOKEN_ATTR_CONTROL)
        return max((len(self.spelled_piece(token)) for token in control), default=1)

    @cached_property
    def _chunker(self) -> TextChunker:
        special = self.special_tokens
        texts = {
            token: llama_cpp.llama_vocab_get_text(self.vocab, token).decode(errors="replace")
            for token in special.attributes
        }
        greedy = [texts[token] for token in special.with_attribute(api.LLAMA_TOKEN_ATTR_LSTRIP)]
        has_words = llama_cpp.llama_vocab_type(self.vocab) == api.LLAMA_VOCAB_TYPE_BPE
        return TextChunker(list(texts.values()), greedy, has_words=has_words)


@dataclass(frozen=True, slots=True)
class InfillTokens:
    """Special tokens of fill-in-the-middle prompts.

    before, prefix, behind, suffix, fill      most model families
    behind, suffix, before, prefix            Mistral: [SUFFIX] and [PREFIX]
    """

    before: int  # precedes the prefix
    behind: int  # precedes the suffix
    fill: int | None  # ends the prompt; None: the prefix comes last, and the reply continues it

    def around(self, prefix: list[int], suffix: list[int]) -> list[int]:
        """Return the prompt for the gap between prefix and suffix."""
        if self.fill is None:
            return [self.behind, *suffix, self.before, *prefix]
        return [self.before, *prefix, self.behind, *suffix, self.fill]


def infill_tokens(vocabulary: Vocabulary) -> InfillTokens | None:
    """Return the fill-in-the-middle tokens of a vocabulary, or None if it has none.

    llama.cpp finds them by metadata or by name, except those of Mistral's code models.
    """
    vocab = vocabulary.vocab
    before, behind, fill = (
        llama_cpp.llama_vocab_fim_pre(vocab),
        llama_cpp.llama_vocab_fim_suf(vocab),
        llama_cpp.llama_vocab_fim_mid(vocab),
    )
    if min(before, behind, fill) >= 0:
        return InfillTokens(before, behind, fill)
    mistral = [vocabulary.tokenize(text, is_start=False) for text in MISTRAL_INFILL]
    if all(len(tokens) == 1 for tokens in mistral):
        return InfillTokens(mistral[0][0], mistral[1][0], None)
    return None
