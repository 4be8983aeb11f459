"""Media marks: where images, sounds and documents stand in the text of a conversation.

    message    content "What is <mark>?" and media [image]: a mark for each, in their order
    prompt     "... What is <mark>0<mark>? ...": numbered through all messages of the prompt

A template renders marks like other text, so a medium stands where its message has it, whatever the
template reorders or leaves out. Text of clients has no marks: they are removed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MARK = "\ufdd3"  # a noncharacter of Unicode, which no text uses
MEDIA = "media"  # member of a message
READ = "read"  # member of a medium that a runner has read: its parts in a prompt
_NUMBERED = re.compile(rf"{MARK}([0-9]{{1,6}}){MARK}")


def without_marks(text: str) -> str:
    """Return a text of a client without marks."""
    return text.replace(MARK, "") if MARK in text else text


def joined(parts: Iterable[str | dict[str, Any]], separator: str) -> dict[str, Any]:
    """Return ``content``, and ``media`` if there are any, of texts and media in their order.

    The separator stands between two texts; a medium has none beside it.
    """
    content, media, was_text = [], list[dict[str, Any]](), False
    for part in parts:
        is_text = isinstance(part, str)
        if is_text and was_text:
            content.append(separator)
        if isinstance(part, str):
            content.append(without_marks(part))
        else:
            content.append(MARK)
            media.append(part)
        was_text = is_text
    made: dict[str, Any] = {"content": "".join(content)}
    return made | {MEDIA: media} if media else made


def media_of(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the media of a conversation in their order."""
    return [medium for message in messages for medium in message.get(MEDIA) or ()]


def numbered(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages without media, whose marks are numbered as `media_of` counts them."""
    plain: list[dict[str, Any]] = []
    number = 0
    for message in messages:
        media, content = message.get(MEDIA) or (), message.get("content")
        one = {key: value for key, value in message.items() if key != MEDIA}
        if isinstance(content, str) and MARK in content:
            first, *others = content.split(MARK)
            known = others[: len(media)]
            texts = [f"{MARK}{number + place}{MARK}{text}" for place, text in enumerate(known)]
            one["content"] = "".join([first, *texts, *others[len(media) :]])
        number += len(media)
        plain.append(one)
    return plain


def marked(text: str, placeholder: str) -> str:
    """Return a text of a client with numbered marks in place of each placeholder."""
    first, *others = without_marks(text).split(placeholder)
    return first + "".join(f"{MARK}{number}{MARK}{each}" for number, each in enumerate(others))


def split(prompt: str) -> list[str | int]:
    """Return the texts of a prompt and the numbers of the media between them, a text first."""
    if MARK not in prompt:
        return [prompt]
    pieces: list[str | int] = [*_NUMBERED.split(prompt)]
    pieces[1::2] = [int(number) for number in pieces[1::2]]
    return [without_marks(piece) if isinstance(piece, str) else piece for piece in pieces]


def shown(prompt: str) -> str:
    """Return a prompt as text, in which ``[media-0]`` stands for the first medium."""
    if MARK not in prompt:
        return prompt
    return without_marks(_NUMBERED.sub(r"[media-\1]", prompt))
