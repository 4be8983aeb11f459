"""Turns of a chat: a message of the user, and the answer with its tool calls.

Invariants: what arrived of an answer stays in the conversation, however it ended; the user's
message of a turn that ended before the first piece of its answer is kept for ``/retry`` and is not
part of the next request.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from localrun.cli.chatting.attached import attached_message
from localrun.cli.chatting.attaching.request_media import media_names, naming_media, num_media
from localrun.cli.chatting.compacting import compact_if_due, limits_of
from localrun.cli.chatting.compaction import fit_results
from localrun.cli.output import counted, human_bytes
from localrun.cli.serving.answer import load_status
from localrun.conversations.images import MAX_MESSAGE_BYTES
from localrun.errors import LocalrunError

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat
    from localrun.cli.chatting.session import Message


def take_turn(chat: Chat, text: str) -> None:
    """Send a message of the user and print the answer.

    Raises:
        LocalrunError: a file cannot be attached, or the answer failed; what arrived stays in the
            conversation.
    """
    send(chat, attached_message(chat, text))


def send(chat: Chat, message: Message) -> None:
    """Append a message of the user, and print the answer.

    Raises:
        LocalrunError: as `take_turn`.
    """
    session = chat.session
    try:
        compact_if_due(chat, message)
    except (LocalrunError, KeyboardInterrupt):
        session.failed = message
        raise
    num_before = len(session.messages)
    session.failed = None
    try:
        session.messages.append(message)
        chat.keep()
        _answer(chat, message)
    except (LocalrunError, KeyboardInterrupt) as error:
        session.failed = message
        if len(session.messages) == num_before + 1:
            session.messages.pop()
        if isinstance(error, LocalrunError):
            raise
        chat.transcript.note("(stopped)")
    finally:
        chat.keep()


def _answer(chat: Chat, message: Message) -> None:
    """Print the answer to a message of the model, and of the model it is compared with."""
    messages = chat.session.request_messages()
    num_left_out = num_media(chat.session.messages) - num_media(messages)
    if num_left_out:
        left_out = counted(num_left_out, "image")
        size = human_bytes(MAX_MESSAGE_BYTES)
        chat.transcript.note(f"{left_out} of older messages left out: a request takes {size}")
    if chat.compared_model is not None:
        chat.transcript.heading(chat.session.settings.request_model)
    with naming_media(media_names(message), len(messages) - 1):
        _run_turn(chat, messages)
    if chat.compared_model is not None:
        _compare(chat, chat.compared_model, messages)


def _run_turn(chat: Chat, messages: list[Message]) -> None:
    """Take the model's answer into the conversation, with the calls of tools before it."""
    session = chat.session
    if chat.tools is None:
        session.messages.append(_ask(chat, messages))
        return

    def ask(messages: list[Message]) -> Message:
        return _ask(chat, fit_results(messages, limits_of(session)))

    def keep(message: Message) -> None:
        session.messages.append(message)
        chat.keep()

    chat.tools.answer(ask, messages, keep)


def _compare(chat: Chat, model: str, messages: list[Message]) -> None:
    """Print the answer of another model, which is not a part of the conversation."""
    chat.transcript.heading(model)
    answer: Message = {"role": "assistant", "content": ""}
    body = {**chat.session.body(messages), "model": model}
    try:
        with chat.composer.answering(chat.transcript.toggle_fold):
            figures = _receive(chat, body, answer)
    except LocalrunError as error:
        chat.transcript.error(error)
        return
    finally:
        chat.transcript.status("")
        chat.transcript.end_answer()
    if chat.session.settings.is_verbose:
        chat.transcript.figures(figures)


def _ask(chat: Chat, messages: list[Message]) -> Message:
    """Print and return the answer to messages; an answer that is cut is kept as far as it came.

    Raises:
        LocalrunError: the answer failed.
    """
    session = chat.session
    answer: Message = {"role": "assistant", "content": ""}
    body = session.body(messages, chat.definitions())
    try:
        with chat.composer.answering(chat.transcript.toggle_fold):
            figures = _receive(chat, body, answer)
        chat.transcript.end_answer()
        session.note_figures(figures)
        chat.transcript.dropped(figures)
        if session.settings.is_verbose:
            chat.transcript.figures(figures)
    except (LocalrunError, KeyboardInterrupt):
        chat.transcript.status("")
        chat.transcript.end_answer()
        if answer["content"] or answer.get("thinking"):
            answer.pop("tool_calls", None)
            session.messages.append(answer | {"is_stopped": True})
        raise
    return answer


def _receive(chat: Chat, body: dict[str, Any], answer: Message) -> dict[str, Any]:
    """Print the pieces of an answer as they arrive; return the final frame."""
    figures: dict[str, Any] = {}
    settings = chat.session.settings
    chat.transcript.begin_answer(
        hides_thoughts=settings.hides_thinking, wraps_words=settings.wraps_words
    )
    pieces: dict[str, list[str]] = {"thinking": [], "content": []}
    started_s, first_token_s = time.monotonic(), None
    try:
        with contextlib.closing(chat.connect().chat(body)) as frames:
            for frame in frames:
                is_status = "status" in frame
                chat.transcript.status(load_status(frame, body["model"]) if is_status else "")
                if is_status:
                    continue
                if first_token_s is None:
                    first_token_s = time.monotonic() - started_s
                _add(chat, frame.get("message", {}), pieces, answer)
                figures = frame if frame.get("done") else {}
    finally:
        _join(chat, pieces, answer)
    return {**figures, "first_token_s": first_token_s}


def _add(chat: Chat, message: Message, pieces: dict[str, list[str]], answer: Message) -> None:
    for name, parts in pieces.items():
        piece = message.get(name, "")
        if piece:
            parts.append(piece)
            if chat.session.settings.is_streamed:
                _show(chat, name, piece)
    if message.get("tool_calls"):
        answer.setdefault("tool_calls", []).extend(message["tool_calls"])


def _join(chat: Chat, pieces: dict[str, list[str]], answer: Message) -> None:
    """Put what arrived into the answer; print it, unless it was printed as it arrived."""
    for name, parts in pieces.items():
        if parts:
            answer[name] = "".join(parts)
            if not chat.session.settings.is_streamed:
                _show(chat, name, answer[name])


def _show(chat: Chat, name: str, text: str) -> None:
    (chat.transcript.content if name == "content" else chat.transcript.thought)(text)
