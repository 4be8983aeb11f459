"""Control-token injection guard: text of users and tools never becomes a control token.

A user's text may spell a control token, such as ``<|im_end|>``; unguarded it would end the
user's turn and start another role's. The guard inserts a mark into each such spelling before
the template is rendered, and the prompt is tokenized in the pieces between marks, none of which
spells a control token. The model still reads the same characters.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from localrun.chat.sizes import MAX_SIZE
from localrun.engine.llama.text_search import MultiStringSearch
from localrun.errors import RequestTooCostlyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.chat.budget import Allowance
    from localrun.runner.messages import JsonObject

MARK = "\ufdd0"  # a noncharacter of Unicode, which no text uses
GUARDED_ROLES = frozenset({"user", "tool"})


class Tokenizer(Protocol):
    """Tokenizer of a model."""

    def tokenize(
        self, text: str, *, is_start: bool = True, tick: Callable[[], object] = ...
    ) -> list[int]:
        """Return token ids; control tokens that the text spells become these tokens.

        ``tick`` is called between the parts of a long text, and may raise.
        """

    def tokenize_inside(self, text: str, *, tick: Callable[[], object] = ...) -> list[int]:
        """Return the token ids of a text that continues another text."""


def prepare_guard(control_texts: Sequence[str]) -> None:
    """Compile the search for a model's control tokens, which its first prompt would wait for."""
    _search(tuple(control_texts))


def guard(
    messages: Sequence[JsonObject], control_texts: Sequence[str], allowance: Allowance
) -> list[JsonObject]:
    """Return the messages with marks inside the spellings of control tokens.

    Raises:
        RequestTooCostlyError: the allowance is used up.
    """
    search = _search(tuple(control_texts))
    return [_guarded(message, search, allowance) for message in messages]


def mark(text: str, control_texts: Sequence[str], allowance: Allowance) -> str:
    """Return the text with marks inside the spellings of control tokens.

    Raises:
        RequestTooCostlyError: the allowance is used up.
    """
    return _marked(text, _search(tuple(control_texts)), allowance)


def tokenize(prompt: str, tokenizer: Tokenizer, allowance: Allowance) -> list[int]:
    """Return the token ids of a prompt with marks.

    Raises:
        RequestTooCostlyError: the text is too long, or the allowance is used up.
    """
    first, *others = _pieces(prompt)
    tokens = tokenizer.tokenize(first, tick=allowance.tick)
    return _continued(tokens, others, tokenizer, allowance)


def tokenize_on(text: str, tokenizer: Tokenizer, allowance: Allowance) -> list[int]:
    """Return the token ids of a text with marks inside a prompt, without a BOS token.

    Raises:
        RequestTooCostlyError: the text is too long, or the allowance is used up.
    """
    first, *others = _pieces(text)
    tokens = tokenizer.tokenize(first, is_start=False, tick=allowance.tick)
    return _continued(tokens, others, tokenizer, allowance)


def _pieces(text: str) -> list[str]:
    if len(text) > MAX_SIZE:
        raise RequestTooCostlyError(
            f"the prompt has {len(text)} characters, at most {MAX_SIZE} are allowed",
            hint="send less text",
        )
    return text.split(MARK)


def _continued(
    tokens: list[int], pieces: Sequence[str], tokenizer: Tokenizer, allowance: Allowance
) -> list[int]:
    allowance.tick()
    for piece in pieces:
        tokens += tokenizer.tokenize_inside(piece, tick=allowance.tick)
        allowance.tick()
    return tokens


def _guarded(message: JsonObject, search: MultiStringSearch, allowance: Allowance) -> JsonObject:
    content = message.get("content")
    if message.get("role") not in GUARDED_ROLES or not isinstance(content, str):
        return message
    return {**message, "content": _marked(content, search, allowance)}


@lru_cache(8)
def _search(control_texts: tuple[str, ...]) -> MultiStringSearch:
    return MultiStringSearch(control_texts)


def _marked(text: str, search: MultiStringSearch, allowance: Allowance) -> str:
    """Insert a mark behind the first character of each control token."""
    clean = text.replace(MARK, "")
    cuts = []
    for match in search.find(clean):
        allowance.tick()
        cuts.append(match.start() + 1)
    allowance.tick()
    if not cuts:
        return clean
    return MARK.join(clean[start:end] for start, end in pairwise([0, *cuts, len(clean)]))
