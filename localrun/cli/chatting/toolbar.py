"""Toolbar of a chat: the line under the prompt while the user types.

    1,234 of 4,096 tokens (30 %) · guide · temperature 0.2 · kept · tools: ask

From `WARNING_SHARE` of the context on, it says what will happen at the end of the context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat

LATEST = ":latest"
SEPARATOR = " · "
Fragment = tuple[str, str]


def toolbar(chat: Chat) -> list[Fragment]:
    """Return the fragments of the toolbar: (style, text)."""
    session = chat.session
    fragments = [*_context(chat)]
    parts = [session.settings.request_model.removesuffix(LATEST)]
    temperature = session.settings.sampling.get("temperature")
    if temperature is not None:
        parts.append(f"temperature {temperature:g}")
    parts.append("kept" if chat.kept.is_kept else "not kept")
    if chat.compared_model:
        parts.append(f"compared with {chat.compared_model.removesuffix(LATEST)}")
    if chat.tools is not None:
        parts.append(f"tools: {chat.tools.mode}")
    return [*fragments, ("", SEPARATOR.join(parts))]


def _context(chat: Chat) -> list[Fragment]:
    context = chat.session.context
    if not context.total:
        return []
    percent = round(100 * context.share)
    text = f"{context.used:,} of {context.total:,} tokens ({percent} %)"
    if context.share < chat.compact_at:
        return [("", text + SEPARATOR)]
    if chat.session.settings.compacts:
        end = "the next message compacts older turns"
    else:
        end = "at 100 % the oldest messages are left out: /compact"
    return [("warning", f"{text}, {end}"), ("", SEPARATOR)]
