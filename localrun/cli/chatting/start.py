"""Start of a chat: its parts from the options of ``run``, the load of its model, the first line."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.cli.chatting.chat import Chat, run_chat
from localrun.cli.chatting.prompt.composer import ComposerOptions, open_composer
from localrun.cli.chatting.session import ChatSession, ContextUse, SessionSettings
from localrun.cli.chatting.transcript import Transcript
from localrun.cli.serving.answer import interruptible, load_status

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
        chat = Chat(
            session=session,
            composer=composer,
            transcript=Transcript(),
            connect=connect,
            workspace=workspace,
        )
        load(chat)
        on_open()
        run_chat(chat)


def load(chat: Chat) -> None:
    """Load the model of a chat and print the first line.

    Raises:
        LocalrunError: the model does not load.
    """
    settings, client = chat.session.settings, chat.connect()
    model = settings.request_model
    fields = {"num_ctx": settings.sampling.get("num_ctx"), "keep_alive": settings.keep_alive}
    body = {key: value for key, value in fields.items() if value is not None}
    for frame in client.load({"model": model, **body}):
        chat.transcript.status("" if frame["done"] else load_status(frame, model))
    state = next((one for one in client.states() if one["name"] == model), {})
    chat.session.context = ContextUse(chat.session.context.used, state.get("context") or 0)
    note = f", {state['context_note']}" if state.get("context_note") else ""
    context = f" (context {state['context']} tokens{note})" if state else ""
    chat.transcript.note(f"{model}{context}: type a message, /help for help, /bye to exit")
