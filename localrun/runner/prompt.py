"""Keep what people write apart from what a template writes.

Text of a user or a tool may spell a control token, such as ``<|im_end|>``. Put
into the prompt as it is, it would end their turn and begin another in somebody
else's name. So such text is cut by a mark before it is rendered, and the prompt
is tokenized in the pieces between marks, none of which spells a control token.
The model still reads the same characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.runner.messages import JsonObject

MARK = "\ufdd0"  # a noncharacter of Unicode: text never needs it
GUARDED_ROLES = frozenset({"user", "tool"})


class Tokenizer(Protocol):
    """What is needed of a model."""

    def tokenize(self, text: str, *, is_start: bool = True) -> list[int]:
        """Return token ids; control tokens that the text spells are taken as such."""

    def tokenize_inside(self, text: str) -> list[int]:
        """Return the token ids of a text that goes on where another one ended."""


def guard(messages: Sequence[JsonObject], control_texts: Sequence[str]) -> list[JsonObject]:
    """Return the messages with marks inside whatever spells a control token."""
    spelled = _spelling(control_texts)
    return [_guarded(message, spelled) for message in messages]


def mark(text: str, control_texts: Sequence[str]) -> str:
    """Return a text with marks inside whatever spells a control token."""
    return _marked(text, _spelling(control_texts))


def tokenize(prompt: str, tokenizer: Tokenizer) -> list[int]:
    """Return the token ids of a prompt with marks."""
    first, *others = prompt.split(MARK)
    return [*tokenizer.tokenize(first), *_inside(others, tokenizer)]


def tokenize_on(text: str, tokenizer: Tokenizer) -> list[int]:
    """Return the token ids of a text with marks that is not the beginning of a prompt."""
    first, *others = text.split(MARK)
    return [*tokenizer.tokenize(first, is_start=False), *_inside(others, tokenizer)]


def _inside(pieces: Sequence[str], tokenizer: Tokenizer) -> list[int]:
    return [token for piece in pieces for token in tokenizer.tokenize_inside(piece)]


def _guarded(message: JsonObject, spelled: re.Pattern[str]) -> JsonObject:
    content = message.get("content")
    if message.get("role") not in GUARDED_ROLES or not isinstance(content, str):
        return message
    return {**message, "content": _marked(content, spelled)}


def _spelling(control_texts: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted(filter(None, control_texts), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _marked(text: str, spelled: re.Pattern[str]) -> str:
    clean = text.replace(MARK, "")
    return spelled.sub(lambda match: match[0][0] + MARK + match[0][1:], clean)
