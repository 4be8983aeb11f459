"""Text and tokens of a model without generating: `Tokenize` and `Detokenize`.

Works on the vocabulary and the template only, so it never waits for the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from localrun.errors import LocalrunError, UsageError
from localrun.runner.messages import Detokenize, Failed, Tokenize, Tokens
from localrun.runner.prompt import MARK, tokenize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.runner.templates import Templates


class Vocabulary(Protocol):
    """What is needed of a model."""

    num_vocab: int

    def tokenize(self, text: str, *, is_start: bool = True) -> list[int]:
        """Return token ids."""

    def tokenize_inside(self, text: str) -> list[int]:
        """Return the token ids of a text that goes on where another one ended."""

    def tokenized_piece(self, token: int) -> bytes:
        """Return the bytes of a token."""


class TextTools:
    """Answers for one loaded model."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        templates: Templates,
        num_ctx: int,
    ) -> None:
        self._vocabulary = vocabulary
        self._templates = templates
        self._num_ctx = num_ctx

    def answer(self, request: Tokenize | Detokenize) -> Tokens | Failed:
        """Return the one answer to a request."""
        try:
            if isinstance(request, Tokenize):
                return self._tokens(request)
            return self._text(request)
        except LocalrunError as error:
            return Failed(
                request_id=request.request_id,
                code=error.code,
                message=error.message,
                hint=error.hint,
            )

    def _tokens(self, request: Tokenize) -> Tokens:
        if request.messages is None:
            text = request.text
            tokens = self._vocabulary.tokenize(text, is_start=request.is_start)
        else:
            text = self._templates.render(request)
            tokens = tokenize(text, self._vocabulary)
        return self._both(request.request_id, tokens, text.replace(MARK, ""))

    def _text(self, request: Detokenize) -> Tokens:
        wrong = [one for one in request.tokens if not 0 <= one < self._vocabulary.num_vocab]
        if wrong:
            raise UsageError(
                f"{wrong[0]} is no token: they are 0 to {self._vocabulary.num_vocab - 1}"
            )
        content = b"".join(map(self._vocabulary.tokenized_piece, request.tokens))
        return self._both(request.request_id, request.tokens, content.decode(errors="replace"))

    def _both(self, request_id: int, tokens: Sequence[int], text: str) -> Tokens:
        pieces = (self._vocabulary.tokenized_piece(token) for token in tokens)
        return Tokens(
            request_id=request_id,
            tokens=tuple(tokens),
            text=text,
            pieces=tuple(piece.decode(errors="replace") for piece in pieces),
            num_ctx=self._num_ctx,
        )
