"""Commands for answers: again, undone, edited, copied, compared.

Invariant: an answer that is replaced stays in the kept chat, as a branch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.attached import attached_message
from localrun.cli.chatting.commands.table import ChatCommand
from localrun.cli.chatting.prompt.sources import ArgumentKind
from localrun.cli.chatting.turns import send, take_turn
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat

OFF = ("off", "none")
LONGEST_NUMBER = 6  # digits of the number of a code block


def regenerate(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    """Answer the last message once more; the model does not see the answer before.

    Raises:
        LocalrunError: there is no message, or the answer failed.
    """
    message = chat.session.cut_last_turn()
    if message is None:
        raise UsageError("there is no message to answer", hint="type one, or /retry")
    send(chat, message)


def retry(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    """Send the message again whose answer failed or was stopped.

    Raises:
        LocalrunError: nothing failed, or the answer failed again.
    """
    session = chat.session
    message = session.failed
    if message is None:
        raise UsageError("nothing failed", hint="/regenerate   answers the last message once more")
    if any(one is message for one in session.messages):
        session.cut_last_turn()
    send(chat, message)


def undo(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    """Undo the last edit of a file in the last turn; else remove that turn.

    Raises:
        UsageError: there is nothing to undo.
    """
    session = chat.session
    start = session.last_user()
    used_tools = start is not None and any(
        one["role"] == "tool" for one in session.messages[start:]
    )
    undone = chat.tools.undo() if chat.tools is not None and used_tools else None
    if undone is not None:
        chat.transcript.note(undone)
        return
    message = session.cut_last_turn()
    if message is None:
        raise UsageError("there is nothing to undo")
    chat.keep()
    chat.count_context()
    chat.transcript.note(f"Removed: {_short(str(message['content']))}")


def edit(chat: Chat, argument: str) -> None:
    """Edit the last message in the editor and send it in the place of the old one.

    Raises:
        LocalrunError: the editor failed, or the answer.
    """
    session = chat.session
    start = session.last_user()
    source = session.failed or (session.messages[start] if start is not None else None)
    before = argument or (str(source.get("typed", source["content"])) if source else "")
    text = chat.composer.edit(before).strip()
    if not text:
        chat.transcript.note("The message is empty: nothing was sent.")
        return
    if source is None or argument:
        take_turn(chat, text)
        return
    chat.documents = [*source.get("files", ()), *chat.documents]
    chat.media = [*source.get("media", ()), *chat.media]
    message = attached_message(chat, text)  # before the old one is removed: it may fail
    if any(one is source for one in session.messages):
        session.cut_last_turn()
    send(chat, message)


def copy(chat: Chat, argument: str) -> None:
    """Copy the last answer, or one of its code blocks, to the clipboard.

    Raises:
        LocalrunError: there is no answer or no such block, or no way to a clipboard.
    """
    from localrun.cli.rendering.code_blocks import code_blocks

    answer = chat.session.last_answer()
    if answer is None:
        raise UsageError("there is no answer yet")
    if not argument:
        how = _copy_text(chat, answer)
        chat.transcript.note(f"Copied the answer ({how}).")
        return
    blocks = code_blocks(answer)
    is_number = argument.isdecimal() and len(argument) <= LONGEST_NUMBER
    if not is_number or not 0 < int(argument) <= len(blocks):
        raise UsageError(
            f"the answer has {len(blocks)} code blocks", hint="/copy N, or /copy for all of it"
        )
    how = _copy_text(chat, blocks[int(argument) - 1].text)
    chat.transcript.note(f"Copied code block {argument} ({how}).")


def _copy_text(chat: Chat, text: str) -> str:
    """Copy a text; return how, as the end of a sentence."""
    import os

    from localrun.cli.chatting.screen.clipboard import copy_text

    return copy_text(text, os.environ, chat.transcript.send)


def compare(chat: Chat, argument: str) -> None:
    """Let another model answer the next messages too; ``off`` ends it.

    Raises:
        LocalrunError: there is no such model.
    """
    from localrun.cli.chatting.commands.models import find

    if not argument:
        other = chat.compared_model
        chat.transcript.note(f"Comparing with {other}." if other else "/compare MODEL, or off")
    elif argument in OFF:
        chat.compared_model = None
        chat.transcript.note("Only one model answers.")
    else:
        chat.compared_model = find(chat, argument).name
        chat.transcript.note(f"{chat.compared_model} answers the next messages too; /compare off")


def stats(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    """Print token counts and rates of the last answer.

    Raises:
        UsageError: there is no answer yet.
    """
    if not chat.session.figures:
        raise UsageError("there is no answer yet")
    chat.transcript.figures(chat.session.figures)


def _short(text: str, longest: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest]}..."


COMMANDS = (
    ChatCommand(name="/regenerate", about="answer the last message once more", execute=regenerate),
    ChatCommand(name="/retry", about="send the message again whose answer failed", execute=retry),
    ChatCommand(name="/undo", about="undo the last edit of a file, or the last turn", execute=undo),
    ChatCommand(
        name="/edit",
        usage="[TEXT]",
        about="edit the last message in $EDITOR and send it instead",
        execute=edit,
        arguments=(ArgumentKind.TEXT,),
    ),
    ChatCommand(
        name="/copy", usage="[N]", about="copy the answer, or its code block N", execute=copy
    ),
    ChatCommand(
        name="/compare",
        usage="MODEL|off",
        about="let a second model answer too",
        execute=compare,
        arguments=(ArgumentKind.MODEL,),
    ),
    ChatCommand(name="/stats", about="token counts and rates of the last answer", execute=stats),
)
