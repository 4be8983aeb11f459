"""Answers to `Tokenize` and `Detokenize`.

Uses only the vocabulary and the templates, so it never waits for the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from localrun.errors import RequestTooCostlyError, UsageError
from localrun.runner.media.prompts import written_prompt
from localrun.runner.messages import Tokenize, Tokens
from localrun.runner.prompts.control_tokens import MARK, Tokenizer, mark, tokenize, tokenize_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.budget import Allowance
    from localrun.runner.messages import Detokenize
    from localrun.runner.prompts.templates import Templates

MAX_TOKENS = 256 * 1024  # in one answer, with their pieces; or as many as the context holds


class TextVocabulary(Tokenizer, Protocol):
    """The methods of a model that this module uses."""

    num_vocab: int

    @property
    def control_texts(self) -> list[str]:
        """Return the texts of the control tokens in a prompt."""

    def spelled_piece(self, token: int) -> bytes:
        """Return the bytes of a token as a prompt spells it."""


class TextTokenizer:
    """Converts text and tokens of one loaded model."""

    def __init__(
        self,
        vocabulary: TextVocabulary,
        templates: Templates,
        num_ctx: int,
    ) -> None:
        self._vocabulary = vocabulary
        self._templates = templates
        self._num_ctx = num_ctx

    def answer(self, request: Tokenize | Detokenize, allowance: Allowance) -> Tokens:
        """Return the answer to a request.

        Raises:
            UsageError: the request is invalid, or its answer is too long.
        """
        if isinstance(request, Tokenize):
            return self._tokens(request, allowance)
        return self._text(request)

    def _tokens(self, request: Tokenize, allowance: Allowance) -> Tokens:
        spec = request.prompt
        if spec.messages is None:
            text = spec.text
            write = tokenize if request.is_start else tokenize_on
            if not request.parses_special:
                text = mark(text, self._templates.control_texts, allowance)
            tokens = write(text, self._vocabulary, allowance)
        else:
            prompt = written_prompt(
                self._templates.render(spec, allowance), spec.messages, self._vocabulary, allowance
            )
            text, tokens = prompt.text, prompt.tokens
        return self._answer(request.request_id, tokens, text.replace(MARK, ""))

    def _text(self, request: Detokenize) -> Tokens:
        wrong = [token for token in request.tokens if not 0 <= token < self._vocabulary.num_vocab]
        if wrong:
            raise UsageError(
                f"{wrong[0]} is no token: they are 0 to {self._vocabulary.num_vocab - 1}"
            )
        self._check_length(request.tokens)
        content = b"".join(map(self._vocabulary.spelled_piece, request.tokens))
        return self._answer(request.request_id, request.tokens, content.decode(errors="replace"))

    def _answer(self, request_id: int, tokens: Sequence[int], text: str) -> Tokens:
        self._check_length(tokens)
        pieces = (self._vocabulary.spelled_piece(one) if one >= 0 else b"" for one in tokens)
        return Tokens(
            request_id=request_id,
            tokens=tuple(tokens),
            text=text,
            pieces=tuple(pieces),
            num_ctx=self._num_ctx,
        )

    def _check_length(self, tokens: Sequence[int]) -> None:
        most = max(MAX_TOKENS, self._num_ctx)
        if len(tokens) > most:
            raise RequestTooCostlyError(
                f"the text has {len(tokens)} tokens, an answer at most {most}",
                hint="send the text in parts",
            )
