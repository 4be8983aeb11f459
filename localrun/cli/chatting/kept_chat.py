"""Kept chat: the conversation of the screen in the store of conversations, as it grows.

`KeptChat.sync` compares the messages of the chat with those that it has stored, by identity: what
is new is appended, and where the chat went back (regenerate, edit, undo) a branch begins. The
messages that a summary replaces stay: the summary is a child of the last of them, and the messages
behind it follow once more.

Invariant: no failure of the store reaches the chat; the first is reported, then nothing is kept.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from localrun.conversations.export import images_json
from localrun.conversations.message import ChatSummary, KeptMessage, title_of
from localrun.errors import LocalrunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from localrun.cli.chatting.session import ChatSession, Message, SessionSettings
    from localrun.conversations.store import ConversationStore


@dataclass(frozen=True, slots=True)
class ExportedChat:
    """A conversation as `to_json` and `to_markdown` take it."""

    summary: ChatSummary
    messages: Sequence[KeptMessage]
    images: Mapping[int, Sequence[bytes]]  # by the id of their message


class KeptChat:
    """One chat in the store; a chat begins there with its first message."""

    def __init__(
        self,
        store: ConversationStore | None,
        report: Callable[[str], None],
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._report = report
        self._clock_s = clock_s
        self._synced: list[tuple[Message, int]] = []
        self.chat_id: str | None = None

    @property
    def is_kept(self) -> bool:
        """Return whether messages are stored."""
        return self.store is not None

    def begin_new(self) -> None:
        """Begin another chat with the next message."""
        self.chat_id, self._synced = None, []

    def open(self, chat_id: str) -> list[Message]:
        """Go on with a kept chat; return its messages for the model.

        Raises:
            LocalrunError: there is no such chat, or the store cannot be read.
        """
        if self.store is None:
            return []
        path = self.store.path(chat_id)
        self.chat_id = chat_id
        summaries = [index for index, kept in enumerate(path) if kept.role == "summary"]
        remaining = path[summaries[-1] :] if summaries else path
        images = self.store.images(chat_id, [one.id for one in remaining if one.num_images])
        self._synced = [
            (message_of(kept, images.get(kept.id, ())), kept.id)
            for kept in remaining
            if kept.role != "system"
        ]
        return [message for message, _ in self._synced]

    def sync(self, messages: Sequence[Message], settings: SessionSettings) -> None:
        """Store the messages that are new, and the branch that the chat is on."""
        if self.store is None:
            return
        try:
            self._sync(self.store, messages, settings)
        except LocalrunError as error:
            self.store = None
            self._report(f"this chat is not kept any more: {error.message}")

    def exported(self, session: ChatSession) -> ExportedChat:
        """Return the conversation for an export: as it is kept, else as it is on the screen.

        Raises:
            LocalrunError: the store cannot be read.
        """
        if self.store is not None and self.chat_id is not None:
            kept = self.store.path(self.chat_id)
            images = self.store.images(self.chat_id, [one.id for one in kept if one.num_images])
            return ExportedChat(self.store.find(self.chat_id), kept, images)
        now_s, settings = self._clock_s(), session.settings
        messages = [
            replace(kept_message(one, settings, now_s), id=number, parent=number - 1 or None)
            for number, one in enumerate(session.messages, 1)
        ]
        title = next((title_of(one.content) for one in messages if one.role == "user"), "")
        summary = ChatSummary(
            id="",
            title=title,
            model=settings.request_model,
            created_s=now_s,
            updated_s=now_s,
            num_messages=len(messages),
            head=None,
        )
        shown = {number: _images(one) for number, one in enumerate(session.messages, 1)}
        return ExportedChat(summary, messages, shown)

    def _sync(
        self, store: ConversationStore, messages: Sequence[Message], settings: SessionSettings
    ) -> None:
        num_same = self._num_same(messages)
        is_shorter, is_longer = num_same < len(self._synced), num_same < len(messages)
        if not (is_shorter or is_longer):
            return
        if self.chat_id is None:
            self.chat_id = store.create(settings.request_model, settings=settings.to_json())
        parent = self._parent(messages, num_same)
        self._synced = self._synced[:num_same]
        for message in messages[num_same:]:
            kept = kept_message(message, settings, self._clock_s())
            parent = store.append(self.chat_id, kept, parent=parent, images=_images(message))
            self._synced.append((message, parent))
        if not is_longer:
            store.set_head(self.chat_id, parent)

    def _num_same(self, messages: Sequence[Message]) -> int:
        pairs = zip(messages, self._synced, strict=False)
        return next(
            (index for index, (one, (other, _)) in enumerate(pairs) if one is not other),
            min(len(messages), len(self._synced)),
        )

    def _parent(self, messages: Sequence[Message], num_same: int) -> int | None:
        """Return the message that the next one follows: for a summary, the last it replaces."""
        if num_same == 0 and messages and messages[0]["role"] == "summary":
            following = messages[1] if len(messages) > 1 else None
            ids = [number for _, number in self._synced]
            index = next(
                (at for at, (one, _) in enumerate(self._synced) if one is following), len(ids)
            )
            return ids[index - 1] if index else None
        return self._synced[num_same - 1][1] if num_same else None


def kept_message(message: Message, settings: SessionSettings, now_s: float) -> KeptMessage:
    """Return a message as the store keeps it."""
    is_answer = message["role"] == "assistant"
    return KeptMessage(
        role=message["role"],
        content=message.get("content") or "",
        thinking=message.get("thinking") or "",
        tool_calls=tuple(message.get("tool_calls") or ()),
        tool_name=message.get("tool_name") or "",
        attachments=tuple(message.get("attachments") or ()),
        model=settings.request_model if is_answer else "",
        created_s=now_s,
    )


def _images(message: Message) -> tuple[bytes, ...]:
    return tuple(base64.b64decode(image) for image in message.get("images") or ())


def message_of(kept: KeptMessage, images: Sequence[bytes] = ()) -> Message:
    """Return a kept message with its images as the chat has it."""
    fields: dict[str, Any] = {
        "thinking": kept.thinking,
        "tool_calls": list(kept.tool_calls),
        "tool_name": kept.tool_name,
        "attachments": list(kept.attachments),
        **images_json(images),
    }
    used = {name: value for name, value in fields.items() if value}
    return {"role": kept.role, "content": kept.content, **used}
