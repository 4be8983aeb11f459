"""Attachments of a running chat: documents that wait for the next message, and their tokens.

Invariant: documents that were added are sent with the next message that is sent, once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localrun.cli.chatting.attaching.attachments import (
    AttachmentRules,
    accepted_kinds,
    attach,
)
from localrun.cli.chatting.prompt.composer import KeyChoice
from localrun.cli.output import counted
from localrun.errors import LocalrunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.cli.chatting.attaching.documents import TextDocument
    from localrun.cli.chatting.chat import Chat
    from localrun.cli.chatting.session import Message

CONFIRM = (KeyChoice("y", "add them", is_default=True), KeyChoice("n", "add none"))
FULL = 0.5  # of the context: files that take more are warned about


def attached_message(chat: Chat, text: str) -> Message:
    """Return the message of a typed text with its attachments, and print what was attached.

    Its ``files`` and ``media`` are those that were added before, for an edit of the message.

    Raises:
        UsageError: a file cannot be attached; the text is typed into the next prompt.
        KeyboardInterrupt: the user interrupts; the text is typed into the next prompt.
    """
    waiting = {"files": chat.documents, "media": chat.media}
    num_waiting = len(chat.documents)
    try:
        attached = attach(text, rules_of(chat), chat.documents, chat.media)
        for note in attached.notes:
            chat.transcript.aside(f"({note})")
        if attached.documents[num_waiting:] or attached.media:
            chat.transcript.aside(f"({attached.text})")
        note_tokens(chat, attached.documents[num_waiting:])
    except (LocalrunError, KeyboardInterrupt):
        chat.draft = text
        raise
    chat.documents, chat.media = [], []
    return attached.message() | {name: files for name, files in waiting.items() if files}


def rules_of(chat: Chat) -> AttachmentRules:
    """Return what the next message may take along."""
    model = chat.session.settings.request_model
    models = chat.workspace.models
    return AttachmentRules(
        folder=Path.cwd(),
        accepts=lambda: accepted_kinds(models.find_model(model).details.capabilities),
        reason=f"{model} has no capability for them",
        confirm=lambda question: chat.composer.choose(question, CONFIRM) == CONFIRM[0].key,
    )


def note_tokens(chat: Chat, documents: Sequence[TextDocument]) -> None:
    """Print the tokens of documents, and a warning if they take much of the context."""
    if not documents:
        return
    client, model = chat.connect(), chat.session.settings.request_model
    counts = [client.num_tokens(model, one.block) for one in documents]
    for document, num_tokens in zip(documents, counts, strict=True):
        chat.transcript.aside(f"({document.name}: {num_tokens:,} tokens)")
    total = chat.session.context.total
    if total and sum(counts) > FULL * total:
        files = counted(len(documents), "file")
        chat.transcript.note(
            f"the context has {total:,} tokens, and the {files} {sum(counts):,}; /set parameter "
            "num_ctx   makes it larger"
        )
