"""Compaction in a running chat: when it is due, the request for the summary, the line about it."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from localrun.cli.chatting.compaction import CompactionLimits, bytes_per_token, compact
from localrun.cli.chatting.session import ContextUse
from localrun.cli.output import counted
from localrun.errors import LocalrunError

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat
    from localrun.cli.chatting.compaction import Compacted
    from localrun.cli.chatting.session import ChatSession, Message

_log = logging.getLogger(__name__)
CHARACTERS_PER_TOKEN = 4  # a guess for a message that was not sent yet
LEAST_SHARE = 0.1  # of the context: fewer older turns are not worth a summary
DEFAULT_CONTEXT = 4096  # tokens, if the server does not say


def compact_if_due(chat: Chat, message: Message) -> None:
    """Compact the older turns if the context is nearly used; a failure is only reported.

    Raises:
        KeyboardInterrupt: the user interrupts before it is known whether compaction is due.
    """
    session = chat.session
    if not session.settings.compacts:
        return
    _measure(chat)
    coming = len(str(message["content"])) // CHARACTERS_PER_TOKEN
    context = ContextUse(session.context.used + coming, session.context.total)
    if context.share < chat.compact_at:
        return
    try:
        compact_now(chat, least_share=LEAST_SHARE)
    except LocalrunError as error:
        chat.transcript.error(error)
    except KeyboardInterrupt:
        chat.transcript.note("(not compacted)")


def compact_now(chat: Chat, *, least_share: float = 0.0) -> bool:
    """Compact the older turns; return False if they take no more than a share of the context.

    Raises:
        LocalrunError: the model does not answer.
    """
    session = chat.session
    limits = limits_of(session, least_share=least_share)
    chat.transcript.status("compacting older turns")
    try:
        with chat.composer.answering(lambda: None):
            compacted = compact(
                session.messages, limits, lambda request, num: _summarize(chat, request, num)
            )
    finally:
        chat.transcript.status("")
    if compacted is None:
        return False
    saved = _saved(chat, compacted)
    session.messages = compacted.messages
    session.context = ContextUse(max(0, session.context.used - saved), session.context.total)
    chat.keep()
    chat.transcript.folded(_line(compacted, saved), compacted.summary)
    if compacted.is_too_long:
        chat.transcript.note(
            "the last turns alone take most of the context; /clear begins anew, "
            "/set parameter num_ctx enlarges it"
        )
    return True


def limits_of(session: ChatSession, *, least_share: float = 0.0) -> CompactionLimits:
    """Return the sizes that follow from the context and from the last request."""
    return CompactionLimits(
        num_context=session.context.total or DEFAULT_CONTEXT,
        least_share=least_share,
        bytes_per_token=bytes_per_token(session.messages, session.context.used),
    )


def _measure(chat: Chat) -> None:
    """Count the tokens of a conversation that began before this chat; a failure is ignored."""
    session = chat.session
    if session.context.used or not session.messages:
        return
    model = session.settings.request_model
    try:
        with chat.composer.answering(lambda: None):
            client = chat.connect()
            used = client.num_tokens(model, client.rendered(session.body(tools=chat.definitions())))
    except LocalrunError as error:  # of the model: the request that follows reports it
        _log.debug("the tokens of the chat are not counted: %s", error)
        return
    session.context = ContextUse(used, session.context.total)


def _summarize(chat: Chat, request: list[Message], num_predict: int) -> str:
    settings = chat.session.settings
    sampling = {
        name: value for name, value in settings.sampling.items() if name not in {"stop", "seed"}
    }
    body = {
        "model": settings.request_model,
        "messages": request,
        "options": {**sampling, "num_predict": num_predict},
        "think": False,
    }
    if settings.keep_alive is not None:
        body["keep_alive"] = settings.keep_alive
    with contextlib.closing(chat.connect().chat(body)) as frames:
        return "".join(frame.get("message", {}).get("content", "") for frame in frames)


def _saved(chat: Chat, compacted: Compacted) -> int:
    """Return the number of tokens that the conversation is shorter by."""
    client, model = chat.connect(), chat.session.settings.request_model
    before = client.num_tokens(model, compacted.replaced) if compacted.replaced else 0
    after = client.num_tokens(model, compacted.summary) if compacted.summary else 0
    return max(0, before - after)


def _line(compacted: Compacted, saved: int) -> str:
    parts = []
    if compacted.num_turns:
        parts.append(f"compacted {counted(compacted.num_turns, 'older turn')} into a summary")
    if compacted.num_shortened:
        parts.append(f"shortened {counted(compacted.num_shortened, 'result')} of tools")
    tokens = f", {saved:,} tokens saved" if saved else ""
    return f"({' and '.join(parts)}{tokens})"
