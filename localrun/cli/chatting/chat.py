"""Interactive chat in the terminal: all parts of a running chat, and its loop.

`Chat` is what commands, turns and tools act on. Invariant: whatever fails in a turn or a command is
printed, and the chat goes on; only leaving, and a closed terminal, end it.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from localrun.cli.chatting.commands.dispatch import run_command
from localrun.cli.chatting.session import WARNING_SHARE, ContextUse
from localrun.cli.chatting.turns import take_turn
from localrun.errors import LocalrunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.cli.chatting.attaching.documents import MediaFile, TextDocument
    from localrun.cli.chatting.kept_chat import KeptChat
    from localrun.cli.chatting.prompt.composer import Composer
    from localrun.cli.chatting.session import ChatSession, ToolUse
    from localrun.cli.chatting.transcript import ChatTranscript
    from localrun.client.api import LocalrunClient
    from localrun.services.workspace import Workspace

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Chat:
    """Parts of a running chat.

    ``connect`` returns a client of the running server and starts a server if none is running.
    """

    session: ChatSession
    composer: Composer
    transcript: ChatTranscript
    connect: Callable[[], LocalrunClient]
    workspace: Workspace
    kept: KeptChat
    tools: ToolUse | None = None
    compact_at: float = WARNING_SHARE  # of the context
    compared_model: str | None = None  # answers too
    documents: list[TextDocument] = field(default_factory=list)  # of the next message
    media: list[MediaFile] = field(default_factory=list)  # of the next message
    draft: str = ""  # text that the next prompt begins with
    is_over: bool = field(default=False, init=False)

    def keep(self) -> None:
        """Store what is new in the conversation."""
        self.kept.sync(self.session.messages, self.session.settings)

    def show_recipe_messages(self) -> None:
        """Print the messages of the model's recipe, with which every conversation begins."""
        model = self.workspace.models.find_model(self.session.settings.request_model)
        messages = [{"role": role, "content": text} for role, text in model.recipe.messages]
        self.transcript.history(messages)

    def go_on_with(self, chat_id: str) -> None:
        """Go on with a kept chat, and show its last turns.

        Raises:
            LocalrunError: there is no such chat, or the store cannot be read.
        """
        messages = self.kept.open(chat_id)
        self.session.clear()
        self.session.messages = list(messages)
        self.count_context()
        self.transcript.last_turns(messages)

    def count_context(self) -> None:
        """Count the tokens of the conversation anew, after messages were removed or loaded.

        The count stays as it was if the server does not answer: the next answer corrects it.
        """
        session = self.session
        if not session.messages:
            used = 0
        else:
            try:
                client, body = self.connect(), session.body(tools=self.definitions())
                used = client.num_tokens(session.settings.request_model, client.rendered(body))
            except LocalrunError as error:
                _log.debug("the context is not counted: %s", error.message)
                return
        session.context = ContextUse(used, session.context.total)

    def definitions(self) -> list[dict[str, Any]]:
        """Return the field ``tools`` of requests."""
        return [] if self.tools is None else self.tools.definitions()

    def next_tool_mode(self) -> None:
        """Change how calls of tools are permitted."""
        if self.tools is not None:
            self.tools.next_mode()


def run_chat(chat: Chat) -> None:
    """Chat until the user leaves."""
    while not chat.is_over:
        with contextlib.suppress(
            KeyboardInterrupt
        ):  # between two acts, or while an error is printed
            _converse(chat)


def _converse(chat: Chat) -> None:
    """Act on messages until the user leaves.

    Raises:
        KeyboardInterrupt: the user interrupts where nothing is to be stopped.
    """
    while not chat.is_over:
        draft, chat.draft = chat.draft, ""
        with _reported(chat):
            try:
                text = chat.composer.read(draft)
            except EOFError:
                chat.is_over = True
            else:
                act_on(chat, text)


def act_on(chat: Chat, text: str) -> None:
    """Execute a command or send a message; print what fails."""
    with _reported(chat):
        if not run_command(chat, text) and text.strip():
            take_turn(chat, text)


@contextlib.contextmanager
def _reported(chat: Chat) -> Iterator[None]:
    """Print what fails, and that the user has interrupted."""
    try:
        yield
    except LocalrunError as error:
        chat.transcript.error(error)
    except KeyboardInterrupt:
        chat.transcript.note("(stopped)")
