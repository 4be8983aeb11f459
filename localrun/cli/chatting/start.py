"""Start of a chat: its parts from the options of ``run``, and the chat that it goes on with.

Invariant: nothing is loaded and nothing is kept before the options are known to be right.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.cli.chatting.chat import Chat, run_chat
from localrun.cli.chatting.chat_variables import read_chat_variables
from localrun.cli.chatting.completions import ChatCompletions
from localrun.cli.chatting.kept_chat import KeptChat
from localrun.cli.chatting.loading import load
from localrun.cli.chatting.prompt.composer import (
    PLAIN_TERMINALS,
    ComposerOptions,
    open_composer,
)
from localrun.cli.chatting.remembered import LastChat, remember_chat
from localrun.cli.chatting.session import ChatSession, SessionSettings
from localrun.cli.chatting.toolbar import toolbar
from localrun.cli.chatting.transcript import ChatTranscript
from localrun.cli.rendering.look import TerminalLook
from localrun.cli.serving.answer import interruptible
from localrun.conversations.location import open_conversations
from localrun.folders import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.agent.configuration import ToolConfiguration
    from localrun.cli.chatting.tool_use import ChatTools
    from localrun.cli.serving.answer import ChatOptions
    from localrun.client.api import LocalrunClient
    from localrun.services.workspace import Workspace

HISTORY = "chat-history"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatStart:
    """Options of ``run`` that only a chat has."""

    is_plain: bool = False
    hides_thinking: bool = False
    wraps_words: bool = True
    is_kept: bool = True
    compacts: bool = True
    chat_id: str | None = None  # of the kept chat to go on with
    tools: ToolConfiguration | None = None


def start_chat(
    connect: Callable[[], LocalrunClient],
    options: ChatOptions,
    workspace: Workspace,
    start: ChatStart,
    on_open: Callable[[], None] = lambda: None,
) -> None:
    """Chat until the user leaves; ``on_open`` is called once, when the model is loaded.

    Raises:
        LocalrunError: the model does not load, or there is no such kept chat.
    """
    environ = dict(os.environ)
    variables = read_chat_variables(environ)
    if environ.get("TERM", "") in PLAIN_TERMINALS and os.name != "nt":
        start = replace(start, is_plain=True)
    store = open_conversations(os.environ) if start.is_kept and variables.keeps_chats else None
    transcript = ChatTranscript(is_plain=start.is_plain, look=TerminalLook.of(environ))
    composer_options = ComposerOptions(
        completion=ChatCompletions(workspace, store),
        toolbar=lambda: toolbar(chat),
        on_fold=transcript.unfold,
        on_mode=lambda: chat.next_tool_mode(),  # noqa: PLW0108 - the chat is made below
        history_file=state_folder() / HISTORY if variables.keeps_history else None,
        keeps_history=lambda: chat.session.settings.keeps_history,
        is_plain=start.is_plain,
        environ=environ,
    )
    session = ChatSession(settings=_settings(options, start))
    with contextlib.ExitStack() as stack:
        stack.enter_context(interruptible())
        chat = Chat(
            session=session,
            composer=stack.enter_context(contextlib.closing(open_composer(composer_options))),
            transcript=transcript,
            kept=KeptChat(store, transcript.note),
            connect=connect,
            workspace=workspace,
            compact_at=variables.compact_at,
        )
        if start.tools is not None:
            chat.tools = stack.enter_context(contextlib.closing(_tools(chat, start.tools, environ)))
        _open(chat, start)
        on_open()
        try:
            run_chat(chat)
        finally:
            _remember(chat)


def _settings(options: ChatOptions, start: ChatStart) -> SessionSettings:
    settings = SessionSettings.from_options(options)
    settings.hides_thinking = start.hides_thinking
    settings.wraps_words = start.wraps_words
    settings.compacts = start.compacts
    if start.chat_id is not None:
        return settings.over(open_conversations(os.environ).settings(start.chat_id))
    return settings


def _tools(chat: Chat, configuration: ToolConfiguration, environ: dict[str, str]) -> ChatTools:
    from localrun.cli.chatting.tool_use import open_chat_tools

    return open_chat_tools(
        configuration,
        environ,
        chat.composer,
        chat.transcript,
        lambda: chat.session.context.total,
    )


def _open(chat: Chat, start: ChatStart) -> None:
    """Load the model, and show what the conversation begins with."""
    load(chat)
    chat.transcript.aside("Type a message. /? lists the commands, /bye leaves.")
    chat.show_recipe_messages()
    if start.chat_id is not None:
        chat.go_on_with(start.chat_id)


def _remember(chat: Chat) -> None:
    settings = chat.session.settings
    remember_chat(
        LastChat(
            model=settings.request_model,
            settings=settings.to_json(),
            chat_id=chat.kept.chat_id,
        )
    )
