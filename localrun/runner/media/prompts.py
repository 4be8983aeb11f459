"""Prompts with media: the text of a rendered prompt, with what was read at its marks.

Text behind a medium is tokenized by itself, without a beginning of text, as libmtmd does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from localrun.chat.media_marks import READ, media_of, shown, split
from localrun.engine.media.chunk import MediaChunk
from localrun.engine.media.placement import PlacedChunk
from localrun.errors import UsageError
from localrun.runner.prompts.control_tokens import Tokenizer, mark, tokenize, tokenize_on
from localrun.runner.prompts.truncation import Prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.chat.budget import Allowance
    from localrun.runner.media.reading import PromptPart
    from localrun.runner.messages import JsonObject


class PromptTokenizer(Tokenizer, Protocol):
    """Tokenizer of a model that names its control tokens."""

    @property
    def control_texts(self) -> list[str]:
        """Return the texts of the control tokens in a prompt."""


def written_prompt(
    text: str, messages: Sequence[JsonObject], tokenizer: PromptTokenizer, allowance: Allowance
) -> Prompt:
    """Return the prompt of messages from the text that a template made of them.

    Raises:
        UsageError: the template left out a medium.
        RequestTooCostlyError: the text is too long, or the allowance is used up.
    """
    media = media_of(messages)
    if not media:
        return Prompt(text, tokenize(text, tokenizer, allowance))
    _check_shown(text, len(media))
    return marked_prompt(text, media, tokenizer, allowance)


def marked_prompt(
    text: str, media: Sequence[JsonObject], tokenizer: PromptTokenizer, allowance: Allowance
) -> Prompt:
    """Return the prompt of a text with numbered marks; documents are guarded like text of users.

    Raises:
        RequestTooCostlyError: the text is too long, or the allowance is used up.
    """
    read: list[tuple[PromptPart, ...]] = [medium[READ] for medium in media]
    pieces = _with_documents(split(text), read, tokenizer.control_texts, allowance)
    first = pieces[0] if isinstance(pieces[0], str) else ""
    tokens = tokenize(first, tokenizer, allowance)
    placed: list[PlacedChunk] = []
    for piece in pieces[1:] if isinstance(pieces[0], str) else pieces:
        if isinstance(piece, str):
            tokens += tokenize_on(piece, tokenizer, allowance) if piece else []
        elif isinstance(piece, MediaChunk):
            placed.append(PlacedChunk(len(tokens), piece))
            tokens += piece.ids
        else:
            tokens += piece
    return Prompt(shown(text), tokens, media=tuple(placed))


def _check_shown(text: str, num_media: int) -> None:
    """Check that a rendered prompt has all media of its messages.

    Raises:
        UsageError: the template left one out.
    """
    numbers = {piece for piece in split(text) if isinstance(piece, int)}
    missing = next((number for number in range(num_media) if number not in numbers), None)
    if missing is not None:
        raise UsageError(
            "the chat template of this model leaves out the message with"
            f" image or file number {missing + 1}",
            hint="put it into a message of the user",
        )


def _with_documents(
    pieces: list[str | int],
    read: Sequence[tuple[PromptPart, ...]],
    control_texts: Sequence[str],
    allowance: Allowance,
) -> list[PromptPart]:
    """Return texts and parts of media; texts of documents are joined with those around them."""
    whole: list[PromptPart] = []
    for piece in pieces:
        if isinstance(piece, str):
            parts: tuple[PromptPart, ...] = (piece,)
        elif piece < len(read):
            parts = tuple(
                mark(part, control_texts, allowance) if isinstance(part, str) else part
                for part in read[piece]
            )
        else:
            parts = ()
        for part in parts:
            if isinstance(part, str) and whole and isinstance(whole[-1], str):
                whole[-1] += part
            else:
                whole.append(part)
    return whole
