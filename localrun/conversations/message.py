"""Messages and chats as they are kept: values without a database.

A chat is a tree of messages: each names the message that it follows. The path from a root to the
head of the chat is the conversation as it was last seen; other leaves are branches that were left
by regenerating an answer or editing a message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from localrun.errors import UsageError

MAX_TEXT = 16 * 1024 * 1024  # characters of one message
ROLES = ("system", "user", "assistant", "tool", "summary")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMessage:
    """One message of a chat.

    A message of the role ``summary`` replaces, for the model, all messages before it on its path.
    """

    role: str  # one of `ROLES`
    content: str
    thinking: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    tool_name: str = ""  # of the role tool: whose result this is
    attachments: tuple[str, ...] = ()  # names of files, not their content
    model: str = ""  # that wrote it
    created_s: float = 0.0  # since the epoch
    id: int = 0  # 0 before it is kept
    parent: int | None = None  # None at the beginning of a chat
    num_images: int = 0  # that are kept with it: `ConversationStore.images` has them

    def to_json(self) -> dict[str, Any]:
        """Return the message as a JSON object; empty fields are left out, but not the content."""
        fields = {
            "id": self.id,
            "parent": self.parent,
            "role": self.role,
            "content": self.content,
            "thinking": self.thinking,
            "tool_calls": list(self.tool_calls),
            "tool_name": self.tool_name,
            "attachments": list(self.attachments),
            "num_images": self.num_images,
            "model": self.model,
            "created_s": self.created_s,
        }
        return {name: value for name, value in fields.items() if value or name == "content"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSummary:
    """One chat of a list."""

    id: str  # 8 hexadecimal digits
    title: str  # the first line of its first message
    model: str  # with which it began
    created_s: float
    updated_s: float
    num_messages: int  # of all branches
    head: int | None  # the last message of the path

    def to_json(self) -> dict[str, Any]:
        """Return the chat as a JSON object."""
        return {
            "id": self.id,
            "title": self.title,
            "model": self.model,
            "created_s": self.created_s,
            "updated_s": self.updated_s,
            "num_messages": self.num_messages,
            "head": self.head,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """Message that contains the text of a search, with its chat."""

    chat: ChatSummary
    message_id: int
    role: str
    excerpt: str  # one line around the text

    def to_json(self) -> dict[str, Any]:
        """Return the hit as a JSON object."""
        return {
            "chat": self.chat.to_json(),
            "message": self.message_id,
            "role": self.role,
            "excerpt": self.excerpt,
        }


def title_of(text: str, length: int = 80) -> str:
    """Return the first line of a text that has letters, cut to ``length`` characters."""
    start = storable(text[: 40 * length]).strip()
    line = " ".join(start.partition("\n")[0].split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def checked(message: KeptMessage) -> KeptMessage:
    """Return a message with texts that can be stored: halves of characters become "?".

    Raises:
        UsageError: the role is unknown, or the message is too long.
    """
    if message.role not in ROLES:
        raise UsageError(f"{message.role[:80]} is not a role of a message: {', '.join(ROLES)}")
    texts = [message.content, message.thinking, message.tool_name, message.model]
    lengths = map(len, [*texts, *message.attachments, *map(str, message.tool_calls)])
    if sum(lengths) > MAX_TEXT:
        raise UsageError(f"a message has more than {MAX_TEXT} characters")
    content, thinking, tool_name, model = map(storable, texts)
    return replace(message, content=content, thinking=thinking, tool_name=tool_name, model=model)


def storable(text: str) -> str:
    """Return a text with "?" for each half of a surrogate pair, which UTF-8 cannot encode."""
    return text.encode(errors="replace").decode()
