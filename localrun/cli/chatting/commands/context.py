"""Commands for the context: its text and tokens, files that are added, older turns compacted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.commands.table import ChatCommand
from localrun.cli.chatting.compacting import compact_now
from localrun.cli.chatting.prompt.sources import ArgumentKind
from localrun.cli.chatting.request_view import option_rows, prompt_view

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.cli.chatting.chat import Chat
    from localrun.cli.chatting.session import Message

KINDS = {
    "user": "your messages",
    "assistant": "answers",
    "tool": "results of tools",
    "summary": "summary",
}


def show_tokens(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    """Print how many tokens of the context each kind of message takes.

    Raises:
        LocalrunError: the model cannot be loaded.
    """
    session, client = chat.session, chat.connect()
    model = session.settings.request_model
    parts = {"system prompt": _system_text(chat)}
    for kind, label in KINDS.items():
        parts[label] = "\n".join(_texts(session.messages, kind))
    rows = [(label, str(client.num_tokens(model, text))) for label, text in parts.items() if text]
    whole = client.num_tokens(model, client.rendered(session.body(tools=chat.definitions())))
    total = session.context.total
    share = f" of {total:,} ({100 * whole / total:.0f} %)" if total else ""
    rows.append(("next request", f"{whole:,}{share}"))
    chat.transcript.table((), rows)


def show_prompt(chat: Chat, argument: str) -> None:
    """Print the options of the next request with their sources, and the prompt that it becomes.

    Raises:
        LocalrunError: the model cannot be loaded.
    """
    session = chat.session
    recipe = chat.workspace.models.find_model(session.settings.request_model).recipe
    messages = session.request_messages()
    if argument:
        messages.append({"role": "user", "content": argument})
    body = session.body(messages, chat.definitions())
    prompt = chat.connect().rendered(body)
    chat.transcript.table((), option_rows(body, recipe.parameters))
    chat.transcript.text(prompt_view(prompt))


def compact(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    """Replace the older turns by a summary at once.

    Raises:
        LocalrunError: the model does not answer.
    """
    if not compact_now(chat):
        chat.transcript.note("There are no older turns to compact.")


def _system_text(chat: Chat) -> str:
    settings = chat.session.settings
    recipe = chat.workspace.models.find_model(settings.request_model).recipe
    return settings.system or recipe.system or ""


def _texts(messages: Iterable[Message], role: str) -> list[str]:
    return [str(one.get("content") or "") for one in messages if one["role"] == role]


COMMANDS = (
    ChatCommand(name="/tokens", about="tokens of the context, by kind", execute=show_tokens),
    ChatCommand(
        name="/prompt",
        usage="[TEXT]",
        about="the whole request as the model gets it",
        execute=show_prompt,
        arguments=(ArgumentKind.TEXT,),
    ),
    ChatCommand(name="/compact", about="replace older turns by a summary", execute=compact),
)
