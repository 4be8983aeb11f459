"""Completions of a chat: commands of the table, models, parameters, adapters, kept chats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.commands.dispatch import COMMANDS
from localrun.cli.chatting.prompt.sources import ArgumentKind, Candidate, CommandForm
from localrun.errors import LocalrunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.conversations.store import ConversationStore
    from localrun.services.workspace import Workspace

LATEST = ":latest"
MAX_CHATS = 50


class ChatCompletions:
    """Completion source of one chat; callable in any thread."""

    def __init__(self, workspace: Workspace, store: ConversationStore | None) -> None:
        self._workspace = workspace
        self._store = store

    def commands(self) -> Sequence[CommandForm]:
        """Return all commands under all their names."""
        return [
            CommandForm(
                name=name, description=one.about, arguments=one.arguments, repeats=one.repeats
            )
            for one in COMMANDS
            for name in (one.name, *one.aliases)
        ]

    def values(self, kind: ArgumentKind) -> Sequence[Candidate]:
        """Return the values of an argument; nothing if they cannot be read."""
        try:
            return self._values(kind)
        except (LocalrunError, OSError):
            return []

    def _values(self, kind: ArgumentKind) -> Sequence[Candidate]:
        if kind in {ArgumentKind.MODEL, ArgumentKind.ADAPTER}:
            names = self._workspace.models.names()
            return [Candidate(name.removesuffix(LATEST)) for name in names]
        if kind is ArgumentKind.PARAMETER:
            return _parameters()
        if kind is ArgumentKind.CHAT and self._store is not None:
            listed = self._store.chats(MAX_CHATS)
            return [Candidate(one.id, one.title) for one in listed]
        return []


def _parameters() -> list[Candidate]:
    from localrun.modelfile.known import PARAMETERS

    return [
        Candidate(one.name, one.about) for one in PARAMETERS if not (one.deprecated or one.removed)
    ]
