"""Start of a chat: its parts from the options of ``run``, the load of its model, the first line."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.cli.chatting.chat import Chat, run_chat
from localrun.cli.chatting.kept_chat import KeptChat
from localrun.cli.chatting.loading import load
from localrun.cli.chatting.prompt.composer import ComposerOptions, open_composer
from localrun.cli.chatting.session import ChatSession, SessionSettings
from localrun.cli.chatting.transcript import Transcript
from localrun.cli.serving.answer import interruptible

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.cli.serving.answer import ChatOptions
    from localrun.client.api import LocalrunClient
    from localrun.services.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatStart:
    """Options of ``run`` that only a chat has."""

    is_plain: bool = False
    hides_thinking: bool = False
    is_kept: bool = True
    continues: bool = False  # the last chat
    chat_id: str | None = None  # of a kept chat to go on with
    compacts: bool = True


def start_chat(
    connect: Callable[[], LocalrunClient],
    options: ChatOptions,
    workspace: Workspace,
    start: ChatStart,
    on_open: Callable[[], None] = lambda: None,
) -> None:
    """Chat until the user leaves; ``on_open`` is called once, when the model is loaded."""
    settings = SessionSettings.from_options(options)
    session = ChatSession(settings=settings)
    composer = open_composer(ComposerOptions(is_plain=start.is_plain, environ=dict(os.environ)))
    with interruptible(), contextlib.closing(composer):
        transcript = Transcript(is_plain=is_plain)
        chat = Chat(
            session=session,
            composer=composer,
            transcript=transcript,
            kept=KeptChat(None, transcript.note),
            connect=connect,
            workspace=workspace,
        )
        load(chat)
        chat.show_recipe_messages()
        on_open()
        run_chat(chat)
